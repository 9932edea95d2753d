"""A core whose engine is a fake server, shared by the tests of a file; each test adds its own models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_engine import FakeEngine, fake_engine
from scripted_core import ScriptedCore, scripted_core


@pytest.fixture(scope="module")
def shared_engine() -> Iterator[FakeEngine]:
    with fake_engine() as engine:
        yield engine


@pytest.fixture(scope="module")
def shared_core(tmp_path_factory: pytest.TempPathFactory, shared_engine: FakeEngine) -> Iterator[ScriptedCore]:
    folder = tmp_path_factory.mktemp("core")
    with scripted_core(folder, engine_url=shared_engine.url, keep_alive_delay=0.05) as core:
        yield core


@pytest.fixture
def engine(shared_engine: FakeEngine) -> FakeEngine:
    shared_engine.reset()
    return shared_engine


@pytest.fixture
def core(shared_core: ScriptedCore, engine: FakeEngine) -> ScriptedCore:
    shared_core.backend.plan.clear()
    shared_core.until_settled()
    return shared_core


@pytest.fixture
def model(core: ScriptedCore) -> str:
    return core.add()

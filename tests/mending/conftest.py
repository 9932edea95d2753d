"""A core with a scripted engine whose loads fail as a test has written down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_engine import FakeEngine, fake_engine
from mender import Mender
from scripted_core import ScriptedCore, scripted_core


@pytest.fixture(scope="package")
def engine() -> Iterator[FakeEngine]:
    with fake_engine() as made:
        yield made


@pytest.fixture
def core(tmp_path: Path, engine: FakeEngine) -> Iterator[ScriptedCore]:
    engine.reset()
    with scripted_core(tmp_path, engine_url=engine.url) as made:
        yield made


@pytest.fixture
def mender(core: ScriptedCore) -> Mender:
    return Mender(core)

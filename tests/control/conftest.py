"""A core with a scripted engine, shared by the tests of a file; each test adds its own models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scripted_core import ScriptedCore, scripted_core


@pytest.fixture(scope="module")
def shared_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedCore]:
    folder = tmp_path_factory.mktemp("core")
    with scripted_core(folder, allowed_origins=["https://chat.example"], allowed_hosts=["Deck.lan"]) as core:
        yield core


@pytest.fixture
def core(shared_core: ScriptedCore) -> ScriptedCore:
    shared_core.backend.plan.clear()
    shared_core.until_settled()
    return shared_core


@pytest.fixture
def model(core: ScriptedCore) -> str:
    return core.add()

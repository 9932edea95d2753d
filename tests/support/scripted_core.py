"""A whole core on its own thread whose engine is scripted; the proxy forwards to an address of the test."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fake_backend import FakeBackend
from gguf_writer import CHAT_FACTS, gguf_bytes
from running_core import NOBODY_ELSE, RunningCore

from quarterdeck.backends.base import Backend
from quarterdeck.core import Core
from quarterdeck.core_thread import CoreThread
from quarterdeck.settings import Loaded, load_settings

NOTHING_LISTENS = "http://127.0.0.1:9"


class _Core(Core):
    def __init__(self, loaded: Loaded, engine_url: str, *, every_engine: bool) -> None:
        super().__init__(loaded)
        self._engine_url = engine_url
        self._every_engine = every_engine

    def _make_backends(self) -> dict[str, Backend]:
        self.backend = FakeBackend(self._log_for("embedded"), self._engine_url)
        others = super()._make_backends() if self._every_engine else {}
        return {**others, "embedded": self.backend}


class ScriptedCore(RunningCore):
    """A running core with models that are small files."""

    core: _Core

    def __init__(self, thread: CoreThread, folder: Path) -> None:
        super().__init__(thread)
        self.backend = self.core.backend
        self.folder = folder
        self._numbers = itertools.count(1)

    @property
    def public_url(self) -> str:
        assert self.core.public_url is not None
        return self.core.public_url

    def model_file(self) -> Path:
        path = self.folder / f"file-{next(self._numbers)}.gguf"
        path.write_bytes(gguf_bytes(facts=CHAT_FACTS))
        return path

    def add(self, name: str | None = None, **fields: Any) -> str:
        """Register a model of its own file; returns its name."""
        path = self.model_file()
        body = {"model_name": name or path.stem, "path": str(path), **fields}
        answer = self.http.post("/api/models", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["name"])

    def until_settled(self) -> None:
        """Until nothing loads, as when the model comes back that had made room for one that failed."""
        resting = {"unloaded", "loaded", "sleeping"}
        wait_for(lambda: all(model["phase"] in resting for model in self.http.get("/api/models").json()))

    def set_status(self, name: str, status: str, notes: str | None = None) -> None:
        body = {"compatibility_status": status} | ({} if notes is None else {"compatibility_notes": notes})
        self.http.patch(f"/api/models/{name}/config", json=body).raise_for_status()


@contextlib.contextmanager
def scripted_core(
    folder: Path, *, engine_url: str = NOTHING_LISTENS, every_engine: bool = False, **settings: Any
) -> Iterator[ScriptedCore]:
    """Start a core with `settings` over `folder`/data; free ports unless one is given.

    Its embedded engine is scripted; with `every_engine` it has all the others as they are.
    """
    at_once = {"minimum_residence": 0, "cooldown": 0}
    loaded = load_settings(folder / "data", {"port": 0, "nvml": False, **at_once, **NOBODY_ELSE, **settings})
    thread = CoreThread(loaded, public=True)
    thread.core = _Core(loaded, engine_url, every_engine=every_engine)
    thread.start()
    running = ScriptedCore(thread, folder)
    try:
        yield running
    finally:
        running.http.close()
        thread.stop()


def wait_for(condition: Callable[[], Any]) -> Any:
    """The first true result of `condition`."""
    deadline = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen within 20 s"
        time.sleep(0.01)
    return found

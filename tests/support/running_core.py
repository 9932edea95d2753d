"""A whole core on its own thread, for tests that speak HTTP to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from quarterdeck.core_thread import CoreThread
from quarterdeck.settings import load_settings

STARTER = "SmolLM2-135M-Instruct"
# Servers that happen to run on this machine are nobody's business in a test.
NOBODY_ELSE: dict[str, Any] = {
    "discover_at_start": False,
    "probe_ports": [],
    "ollama_url": "http://127.0.0.1:9",
    "litellm_url": "http://127.0.0.1:9",
}


class RunningCore:
    """The addresses of a running core, and an HTTP client that carries its token."""

    def __init__(self, thread: CoreThread) -> None:
        self.thread = thread
        self.core = thread.core
        self.url = thread.control_url
        headers = {"Authorization": f"Bearer {thread.token}"}
        self.http = httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def model(self, name: str = STARTER) -> dict[str, Any]:
        return dict(self.http.get(f"/api/models/{name}").json())

    def attempts(self, name: str = STARTER) -> list[dict[str, Any]]:
        return list(self.http.get(f"/api/models/{name}/attempts").json())

    def load(self, name: str = STARTER, **body: Any) -> httpx.Response:
        return self.http.post("/api/orchestrate/load", json={"model_name": name, **body})

    def engine_pid(self) -> int | None:
        return self.http.get("/api/backends").json()[0]["pid"]  # type: ignore[no-any-return]


@contextlib.contextmanager
def running_core(data_dir: Path | None = None, **settings: Any) -> Iterator[RunningCore]:
    """Start a core with `settings` over a data folder; a free public port unless one is given."""
    loaded = load_settings(data_dir, {"port": 0, "nvml": False, **NOBODY_ELSE, **settings})
    thread = CoreThread(loaded, public=True).start()
    running = RunningCore(thread)
    try:
        yield running
    finally:
        running.http.close()
        thread.stop()

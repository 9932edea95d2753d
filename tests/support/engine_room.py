"""A `serve` with every engine that can be had: two llama.cpp models, Ollama and, where it is installed, vLLM."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from real_engines import OLLAMA, VLLM, VLLM_MODEL
from serve_process import STARTER, Serve, serving, wait_for

from quarterdeck.backends.listeners import pids_by_port

SECOND = "second-llama"
OLLAMA_MODEL = "smol-on-ollama"
VLLM_NAME = "smol-on-vllm"
TAG = "smollm2:latest"
VLLM_CONFIG = {"max_model_len": 1024, "enforce_eager": True, "env": {"VLLM_CPU_KVCACHE_SPACE": "1"}}
QUESTION = [{"role": "user", "content": "Say yes."}]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end_listener(port: int) -> None:
    """End what listens on a loopback port, with all it started: an Ollama outlives a `serve` that is killed."""
    pid = pids_by_port().get(port)
    if pid is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        server = psutil.Process(pid)
        family = [*server.children(recursive=True), server]
        for process in family:
            process.kill()
        psutil.wait_procs(family, timeout=10)


@dataclass
class Watcher:
    """Reads the event stream and keeps account of which models hold memory; `overlaps` must stay empty."""

    serve: Serve
    holding: set[str] = field(default_factory=set)
    overlaps: list[set[str]] = field(default_factory=list)
    changes: list[tuple[float, str, str]] = field(default_factory=list)
    opened: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        client = httpx.Client(base_url=self.serve.url, headers=dict(self.serve.http.headers), trust_env=False)
        with contextlib.suppress(httpx.HTTPError), client, client.stream("GET", "/api/events", timeout=None) as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    self._take(json.loads(line.removeprefix("data: ")))

    def _take(self, event: dict[str, Any]) -> None:
        self.opened.set()
        if (event["topic"], event["type"]) != ("model", "changed"):
            return
        name, phase = event["data"]["name"], event["data"]["phase"]
        if phase in ("loading", "loaded", "unloading"):
            self.holding.add(name)
        else:
            self.holding.discard(name)
        if not self.changes or self.changes[-1][1:] != (name, phase):
            self.changes.append((time.monotonic(), name, phase))
        if len(self.holding) > 1:
            self.overlaps.append(set(self.holding))


class EngineRoom:
    """The running program and what was registered in it."""

    def __init__(self, serve: Serve, ollama_port: int, environment: Mapping[str, str] | None = None) -> None:
        """`environment` is what `again` needs."""
        self._environment = environment or {}
        self.ollama_port = ollama_port
        self.ollama_url = f"http://127.0.0.1:{ollama_port}"
        self.models = [STARTER, SECOND]
        self._watch(serve)

    @contextlib.contextmanager
    def again(self) -> Iterator[Serve]:
        """A further run over the same data folder, after the first one has ended."""
        with serving(self.serve.data_dir, **self._environment) as serve:
            self._watch(serve)
            yield serve

    def _watch(self, serve: Serve) -> None:
        self.serve = serve
        self.watcher = Watcher(serve)
        self._thread = threading.Thread(target=self.watcher.run, name="watcher", daemon=True)
        self._thread.start()
        assert self.watcher.opened.wait(20)

    def add_llama(self, file: Path) -> None:
        answer = self.serve.add(SECOND, file)
        assert answer.status_code == 201, answer.text

    def add_ollama(self, file: Path, folder: Path) -> None:
        """Let Quarterdeck start Ollama, make a model there with Ollama's own command, and register it."""
        self.serve.http.post("/api/backends/ollama/start", timeout=60).raise_for_status()
        modelfile = folder / "Modelfile"
        modelfile.write_text(f"FROM {file}\nPARAMETER num_ctx 1024\n")
        environment = {**os.environ, "OLLAMA_HOST": self.ollama_url}
        subprocess.run(
            [OLLAMA, "create", TAG, "-f", modelfile], env=environment, check=True, capture_output=True, timeout=120
        )
        self.register_ollama(OLLAMA_MODEL)
        self.models.append(OLLAMA_MODEL)

    def register_ollama(self, name: str) -> None:
        body = {"model_name": name, "url": self.ollama_url, "backend": "ollama", "served_name": TAG}
        answer = self.serve.http.post("/api/models", json=body)
        assert answer.status_code == 201, answer.text

    def add_vllm(self) -> None:
        self.register_vllm(VLLM_NAME)
        self.models.append(VLLM_NAME)

    def register_vllm(self, name: str) -> None:
        answer = self.serve.add(name, VLLM_MODEL, backend="vllm", load_config=VLLM_CONFIG)
        assert answer.status_code == 201, answer.text

    def loaded(self) -> list[str]:
        return [each["name"] for each in self.serve.http.get("/api/models").json() if each["loaded"]]

    def chat(self, model: str, **fields: Any) -> httpx.Response:
        body = {"model": model, "messages": QUESTION, "max_tokens": 4, **fields}
        return self.serve.http.post("/v1/chat/completions", json=body, timeout=300)

    def backend_of(self, answer: httpx.Response) -> str:
        """The backend that gave an answer, as the list of requests tells; it is told just after the answer."""

        def found() -> dict[str, Any] | None:
            requests = self.serve.http.get("/api/requests").json()
            return next((each for each in requests if each["id"] == answer.headers["x-request-id"]), None)

        request = wait_for(found, "the request is listed")
        assert request is not None
        return str(request["backend"])

    def resident_on_ollama(self) -> list[str]:
        answer = httpx.get(f"{self.ollama_url}/api/ps", trust_env=False, timeout=10)
        return [model["name"] for model in answer.json()["models"]]

    def backend(self, name: str) -> dict[str, Any]:
        backends = self.serve.http.get("/api/backends").json()
        return next(view for view in backends if view["name"] == name)

    def phase(self, name: str) -> str:
        return str(self.serve.model(name)["phase"])

    def until_phase(self, name: str, phase: str, seconds: float = 60) -> None:
        wait_for(lambda: self.phase(name) == phase, f"{name} is {phase}", seconds)


@contextlib.contextmanager
def engine_room(data_dir: Path, file: Path, *, vllm: bool, **environment: str) -> Iterator[EngineRoom]:
    """Start `serve` over `data_dir` and register a model on every engine."""
    port = free_port()
    settings = {
        "QUARTERDECK_OLLAMA_URL": f"http://127.0.0.1:{port}",
        "QUARTERDECK_OLLAMA_COMMAND": str(OLLAMA),
        "QUARTERDECK_VLLM_COMMAND": str(VLLM),
        "QUARTERDECK_VLLM_PORT": "0",
        "OLLAMA_MODELS": str(data_dir.with_name("ollama-models")),
        "HF_HUB_OFFLINE": "1",
        **environment,
    }
    try:
        with serving(data_dir, **settings) as serve:
            room = EngineRoom(serve, port, settings)
            room.add_llama(file)
            room.add_ollama(file, data_dir.parent)
            if vllm:
                room.add_vllm()
            yield room
    finally:
        end_listener(port)

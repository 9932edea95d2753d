"""Engines that are killed: which process to kill, when, and what a user must see afterwards."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import psutil
from engine_room import QUESTION, EngineRoom
from serve_process import wait_for

from quarterdeck.backends.listeners import pids_by_port

GONE_SECONDS = 20.0
START_SECONDS = 200.0
LONG_STORY = [{"role": "user", "content": "Tell a very long story."}]


class Victim:
    """A model with a name of its own, so that what one test does to its status is no matter in another."""

    backend: str
    killed_while_loading = (424, "incompatible", "SIGKILL")
    """What is told then: the status of the answer, the status of the model, a word of the error."""

    def __init__(self, room: EngineRoom, name: str, pool: ThreadPoolExecutor) -> None:
        self.room = room
        self.name = name
        self._pool = pool
        self.register()

    def register(self) -> None:
        raise NotImplementedError

    def family(self) -> list[psutil.Process]:
        """The processes that hold the model, the one to kill first; empty while there are none."""
        raise NotImplementedError

    def target(self) -> psutil.Process | None:
        return next(iter(self.family()), None)

    @property
    def model(self) -> dict[str, Any]:
        return self.room.serve.model(self.name)

    def load(self, **body: Any) -> httpx.Response:
        request = {"model_name": self.name, **body}
        return self.room.serve.http.post("/api/orchestrate/load", json=request, timeout=300)

    def begin_load(self) -> Future[httpx.Response]:
        return self._pool.submit(self.load)

    def kill_while_loading(self) -> httpx.Response:
        """Stop the engine as soon as it exists, so that the load cannot get past it, then kill it."""
        loading = self.begin_load()
        process = wait_for(self.target, "the engine is started", START_SECONDS)
        process.send_signal(signal.SIGSTOP)
        assert not loading.done(), "the load was over before the engine could be stopped"
        assert self.model["phase"] == "loading"
        family = self.family()
        process.kill()
        answer = loading.result(120)
        self.gone(family)
        return answer

    def kill_while_idle(self) -> None:
        self.load().raise_for_status()
        family = self.family()
        family[0].kill()
        self.room.until_phase(self.name, "unloaded")
        self.gone(family)

    def kill_while_streaming(self) -> list[str]:
        """The lines that a client got after the kill, until the stream ended properly."""
        rest, family = self._kill_while_streaming()
        self.gone(family)
        return rest

    def _kill_while_streaming(self) -> tuple[list[str], list[psutil.Process]]:
        self.load().raise_for_status()
        family = self.family()
        with self.stream() as lines:
            assert any(line.startswith("data: ") for line in lines)
            family[0].kill()
            rest = [line for line in lines if line]
        self.room.until_phase(self.name, "unloaded")
        return rest, family

    @contextlib.contextmanager
    def stream(self) -> Iterator[Iterator[str]]:
        body = {"model": self.name, "messages": LONG_STORY, "max_tokens": 900, "ignore_eos": True, "stream": True}
        http = self.room.serve.http
        with http.stream("POST", "/v1/chat/completions", json=body, timeout=300) as answer:
            assert answer.status_code == 200
            yield answer.iter_lines()

    def gone(self, family: list[psutil.Process]) -> None:
        """Nothing of it is left that could hold memory or a port."""
        wait_for(lambda: not any(map(_lives, family)), f"all processes of {self.name} are gone", GONE_SECONDS)

    def works_again(self) -> None:
        """The next load works, and so does a request; it is the only one that holds memory."""
        forced = self.model["status"] == "incompatible"
        self.load(force_load=forced).raise_for_status()
        body = {"model": self.name, "messages": QUESTION, "max_tokens": 3}
        answer = self.room.serve.http.post("/v1/chat/completions", json=body, timeout=120)
        assert answer.status_code == 200, answer.text
        assert self.model["phase"] == "loaded"
        assert self.room.loaded() == [self.name]


class EmbeddedVictim(Victim):
    """A model in an engine process of its own."""

    backend = "embedded"

    def register(self) -> None:
        path = self.room.serve.model()["path"]
        assert self.room.serve.add(self.name, path).status_code == 201

    def family(self) -> list[psutil.Process]:
        pid = self.room.backend("embedded")["pid"]
        return _with_children(pid)


class OllamaVictim(Victim):
    """A model whose Ollama server is killed."""

    backend = "ollama"

    def register(self) -> None:
        self.room.register_ollama(self.name)

    def server(self) -> int | None:
        return pids_by_port().get(self.room.ollama_port)

    def family(self) -> list[psutil.Process]:
        found = _with_children(self.server())
        return found if len(found) > 1 else []

    def target(self) -> psutil.Process | None:
        """Its runner: while that stands still, the server is loading."""
        found = self.family()
        return found[1] if found else None

    def kill_while_loading(self, *, orphans: bool = False) -> httpx.Response:
        """With `orphans` its runner stays behind, for somebody else's Ollama is not ours to clear away."""
        loading = self.begin_load()
        runner = wait_for(self.target, "the engine is started", START_SECONDS)
        runner.send_signal(signal.SIGSTOP)
        assert not loading.done(), "the load was over before the engine could be stopped"
        assert self.model["phase"] == "loading"
        family = self.family()
        family[0].kill()
        answer = loading.result(120)
        self._clear(family, orphans)
        return answer

    def kill_while_streaming(self, *, orphans: bool = False) -> list[str]:
        rest, family = self._kill_while_streaming()
        self._clear(family, orphans)
        return rest

    def _clear(self, family: list[psutil.Process], orphans: bool) -> None:
        if orphans:
            for process in family[1:]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self.gone(family)


class RunnerVictim(OllamaVictim):
    """A model whose runner is killed, while Ollama's server goes on, which tells of it as of a lack of memory."""

    killed_while_loading = (507, "unknown", "memory")

    def family(self) -> list[psutil.Process]:
        return super().family()[1:]

    def target(self) -> psutil.Process | None:
        return next(iter(self.family()), None)

    kill_while_loading = Victim.kill_while_loading


class VllmVictim(Victim):
    """A vLLM whose first process, the one that answers, is killed."""

    backend = "vllm"

    def register(self) -> None:
        self.room.register_vllm(self.name)

    def family(self) -> list[psutil.Process]:
        """While it starts it has few processes; they count once the one that holds the weights is there."""
        pid = self.room.backend("vllm")["pid"]
        found = _with_children(pid)
        return found if any(map(_is_worker, found)) else []


class WorkerVictim(VllmVictim):
    """A vLLM whose process that holds the weights is killed."""

    def family(self) -> list[psutil.Process]:
        found = super().family()
        return sorted(found, key=lambda process: not _is_worker(process))


def _is_worker(process: psutil.Process) -> bool:
    """The processes of vLLM name themselves."""
    try:
        return process.cmdline()[0].startswith("VLLM::Worker")
    except (psutil.NoSuchProcess, IndexError):
        return False


def ended_in_order(lines: list[str]) -> dict[str, Any]:
    """The error with which a broken stream ended; fails unless it is the last event before the end mark."""
    assert lines[-1] == "data: [DONE]", lines[-3:]
    last = json.loads(lines[-2].removeprefix("data: "))
    assert "error" in last, lines[-3:]
    return dict(last["error"])


def _with_children(pid: int | None) -> list[psutil.Process]:
    if pid is None:
        return []
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

"""Engines that do not start as they should: one that hangs, one that will not end, one whose port is taken from it."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from running_core import STARTER, RunningCore, running_core
from safetensors_writer import write_folder
from serve_process import wait_for

from quarterdeck.backends import embedded, vllm
from quarterdeck.backends.process import free_port
from quarterdeck.processes import is_alive

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="vLLM does not run there")

FAKE = Path(__file__).parents[1] / "support" / "fake_vllm.py"
NAME = "coder"


class Thief:
    """A program that has taken a port and even answers as if it were well."""

    def __init__(self) -> None:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Answer)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def thief() -> Iterator[Thief]:
    made = Thief()
    yield made
    made.stop()


class Bench:
    """A core whose vLLM is a stand-in; `how` steers it."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / "bin" / "vllm"
        self.program.parent.mkdir()
        self.program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n', encoding="utf-8")
        self.program.chmod(0o755)
        self.model = write_folder(folder / NAME)

    def how(self, **how: object) -> None:
        (self.model / "how.json").write_text(json.dumps(how), encoding="utf-8")

    def add(self, core: RunningCore) -> None:
        body = {"model_name": NAME, "path": str(self.model), "backend": "vllm"}
        assert core.http.post("/api/models", json=body).status_code == 201

    def gone(self) -> None:
        """Nothing is left; the guard beside an engine goes a moment after it."""
        wait_for(lambda: not self.engines(), "nothing is left of the engine", 5)

    def engines(self) -> list[psutil.Process]:
        """The processes of the stand-in that run: all that name its model folder or come from one that does."""
        named = [p for p in psutil.process_iter(["cmdline"]) if str(self.model) in (p.info["cmdline"] or [])]
        return [process for each in named for process in (each, *each.children(recursive=True))]

    @property
    def settings(self) -> dict[str, Any]:
        return {"vllm_command": str(self.program), "vllm_port": 0, "stop_timeout": 0.5}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def state(core: RunningCore) -> dict[str, Any]:
    views = core.http.get("/api/backends").json()
    return dict(next(view for view in views if view["name"] == "vllm"))


def test_an_engine_that_hangs_at_its_start_is_ended_when_its_time_is_over(bench: Bench) -> None:
    bench.how(steps=True)
    with running_core(**bench.settings, load_timeout=5) as core:
        bench.add(core)
        answer = core.load(NAME)
        assert answer.status_code == 424, answer.text
        told = answer.json()
        assert (told["code"], told["compatibility_status"]) == ("timeout_loading", "unknown")
        assert told["detail"] == "The engine was not ready after 5 seconds."
        assert told["diagnosis"]["kind"] == "environment"
        bench.gone()
        attempt = core.attempts(NAME)[0]
        assert (attempt["outcome"], attempt["failure_class"], attempt["status_after"]) == (
            "failed", "timeout_loading", "unknown",
        )  # fmt: skip
        model = core.model(NAME)
        assert (model["phase"], model["status"]) == ("unloaded", "unknown")
        assert "5 seconds" in model["notes"]
        assert state(core)["state"] == "failed"
        (bench.model / "go").touch()
        assert core.load(NAME).status_code == 200


def test_an_engine_that_ignores_the_wish_to_end_is_killed(bench: Bench) -> None:
    bench.how(stubborn=True)
    with running_core(**bench.settings) as core:
        bench.add(core)
        core.load(NAME).raise_for_status()
        family = [(process.pid, process.create_time()) for process in bench.engines()]
        assert len(family) >= 2
        core.http.post("/api/orchestrate/unload", json={"model_name": NAME}).raise_for_status()
        bench.gone()
        wait_for(lambda: not any(is_alive(pid, created) for pid, created in family), "the whole family is gone")
        assert (core.model(NAME)["phase"], core.model(NAME)["status"]) == ("unloaded", "compatible")
        core.load(NAME).raise_for_status()
    bench.gone()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells what a process holds open")
def test_the_guard_beside_an_engine_does_not_hold_its_output_open(bench: Bench) -> None:
    with running_core(**bench.settings) as core:
        bench.add(core)
        core.load(NAME).raise_for_status()
        [guard] = [process for process in bench.engines() if "launcher.py" in " ".join(process.cmdline())]
        held = {each.name: str(each.readlink()) for each in Path(f"/proc/{guard.pid}/fd").iterdir()}
        assert not [where for number, where in held.items() if number != "0" and where.startswith(("socket", "pipe"))]


def test_a_fixed_port_that_is_taken_names_who_has_it(bench: Bench, thief: Thief) -> None:
    with running_core(**{**bench.settings, "vllm_port": thief.port}) as core:
        bench.add(core)
        refused_for_its_port(core, thief)
        thief.stop()
        core.load(NAME).raise_for_status()


def test_a_fixed_port_that_is_taken_at_the_last_moment_names_who_has_it(
    bench: Bench, thief: Thief, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm, "_is_taken", lambda _port: False)
    with running_core(**{**bench.settings, "vllm_port": thief.port}) as core:
        bench.add(core)
        refused_for_its_port(core, thief)
        bench.gone()


def refused_for_its_port(core: RunningCore, thief: Thief) -> None:
    answer = core.load(NAME)
    assert (answer.status_code, answer.json()["code"]) == (424, "port_in_use")
    assert f"Port {thief.port}" in answer.json()["detail"]
    assert f"(process {os.getpid()})" in answer.json()["detail"]
    assert answer.json()["compatibility_status"] == "unknown"
    attempt = core.attempts(NAME)[0]
    assert (attempt["outcome"], attempt["status_after"]) == ("failed", "unknown")
    assert (core.model(NAME)["phase"], core.model(NAME)["status"]) == ("unloaded", "unknown")


def test_a_free_port_that_is_taken_at_the_last_moment_is_replaced(
    bench: Bench, thief: Thief, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = iter([thief.port])
    monkeypatch.setattr(vllm, "free_port", lambda: next(ports, None) or free_port())
    with running_core(**bench.settings) as core:
        bench.add(core)
        core.load(NAME).raise_for_status()
        assert state(core)["address"] not in (None, f"http://127.0.0.1:{thief.port}")
        assert [attempt["outcome"] for attempt in core.attempts(NAME)] == ["loaded"]


@pytest.mark.engine
def test_the_built_in_engine_finds_another_port_too(
    starter_file: Path, thief: Thief, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = iter([thief.port])
    monkeypatch.setattr(embedded, "free_port", lambda: next(ports, None) or free_port())
    with running_core() as core:
        core.load(STARTER).raise_for_status()
        body = {"model": STARTER, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
        assert core.http.post("/v1/chat/completions", json=body).status_code == 200

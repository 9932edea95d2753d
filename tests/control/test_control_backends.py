"""`/api/backends` with servers of others, units of systemd, and a LiteLLM of ours."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_openai
import httpx
import pytest
from event_reader import listen
from fake_tools import FakeTools
from recorded_server import models, serve
from scripted_core import ScriptedCore, scripted_core

from quarterdeck.backends.process import free_port

GIB = 1024**3
UNIT = "vllm-phi.service"


def error_of(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert body["detail"]
    assert body["hint"]
    return answer.status_code, body["code"]


def act(core: ScriptedCore, name: str, action: str) -> httpx.Response:
    return core.http.post(f"/api/backends/{name}/{action}")


def view(core: ScriptedCore, name: str) -> dict[str, Any]:
    return next(dict(each) for each in core.http.get("/api/backends").json() if each["name"] == name)


@pytest.fixture(scope="module")
def shared_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedCore]:
    with scripted_core(tmp_path_factory.mktemp("core"), every_engine=True) as core:
        yield core


@pytest.mark.parametrize(
    ("name", "action", "code", "words"),
    [
        ("llama-server", "start", "backend_not_running", "Load a model"),
        ("vllm", "restart", "backend_not_running", "when a model is loaded"),
        ("ollama", "start", "engine_missing", "Install Ollama"),
        ("litellm", "start", "no_configuration", "LiteLLM configuration"),
        ("openai-compatible", "start", "backend_not_running", "Start commands"),
        ("litellm", "reload", "not_ours", ""),
        ("vllm", "reload", "cannot_reload", "Restart"),
    ],
)
def test_what_cannot_be_done_says_what_to_do(
    core: ScriptedCore, monkeypatch: pytest.MonkeyPatch, name: str, action: str, code: str, words: str
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    answer = act(core, name, action)
    assert error_of(answer)[1] == code
    assert answer.status_code in (409, 424)
    assert words in answer.json()["hint"]


def test_the_memory_of_a_model_is_shown_with_its_engine(core: ScriptedCore, model: str) -> None:
    core.load(model)
    with listen(core, topics="model") as events:
        assert core.thread._loop
        core.thread._loop.call_soon_threadsafe(
            core.core._scheduler.catalog.set_memory, model, 3 * GIB, "It runs on the processor."
        )
        told = events.until("model", name=model, vram_bytes=3 * GIB)["data"]
    assert told["alarm"] == "It runs on the processor."
    shown = view(core, "embedded")
    assert shown["vram_bytes"] == 3 * GIB
    [instance] = shown["instances"]
    assert (instance["model"], instance["vram_bytes"]) == (model, 3 * GIB)
    assert instance["alarm"] == "It runs on the processor."


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    made = FakeTools(tmp_path / "tools")
    for action in ("start", "stop", "restart"):
        made.answer("systemctl", action)
    made.unit(UNIT)
    monkeypatch.setenv("PATH", made.path)
    return made


async def test_a_unit_is_stopped_and_its_log_is_read(tmp_path: Path, tools: FakeTools) -> None:
    tools.answer(
        "journalctl",
        stdout='{"__REALTIME_TIMESTAMP":"1795200000000000","PRIORITY":"6","MESSAGE":"Application startup complete."}\n',
    )
    async with serve({"/v1/models": models("phi-4", owned_by="vllm")}) as server:
        starting = scripted_core(tmp_path, every_engine=True)
        core = await asyncio.to_thread(starting.__enter__)
        try:
            body = {"url": server.url, "name": "phi", "kind": "vllm", "owner": {"kind": "systemd", "name": UNIT}}
            tools.unit(UNIT, ActiveState="active", MainPID=1)
            added = await asyncio.to_thread(core.http.post, "/api/servers", json=body)
            assert added.json()["owner"] == {"kind": "systemd", "name": UNIT}
            assert {"stop", "restart"} <= set(added.json()["actions"])
            restarted = await asyncio.to_thread(act, core, "phi", "restart")
            assert (restarted.status_code, restarted.json()["state"]) == (200, "running")
            assert any({"restart", UNIT} <= set(call) for call in tools.calls)
            [line] = (await asyncio.to_thread(core.http.get, "/api/backends/phi/logs")).json()
            assert line["text"] == "Application startup complete."
            assert error_of(await asyncio.to_thread(act, core, "phi", "reload")) == (409, "cannot_reload")
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)


ENTRY = "  - model_name: {}\n    litellm_params: {{model: openai/x, api_base: http://127.0.0.1:9/v1, api_key: x}}\n"


class Gateway:
    """A core whose LiteLLM is a stand-in that serves the models of its configuration."""

    def __init__(self, core: ScriptedCore, config: Path) -> None:
        self.core = core
        self.config = config

    def configure(self, *names: str) -> None:
        self.config.write_text("model_list:\n" + "".join(map(ENTRY.format, names)), encoding="utf-8")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    program = tmp_path / "litellm"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{fake_openai.__file__}" --product litellm "$@"\n')
    program.chmod(0o755)
    config = tmp_path / "litellm.yaml"
    settings = {
        "litellm_url": f"http://127.0.0.1:{free_port()}",
        "litellm_command": str(program),
        "litellm_config": str(config),
    }
    with scripted_core(tmp_path, every_engine=True, **settings) as core:
        made = Gateway(core, config)
        made.configure("a", "b")
        yield made


def test_a_gateway_of_ours_reads_its_configuration_again(gateway: Gateway) -> None:
    core = gateway.core
    assert "reload" not in view(core, "litellm")["actions"]
    started = act(core, "litellm", "start").json()
    assert (started["state"], started["owner"]["kind"]) == ("running", "quarterdeck")
    assert {"stop", "restart", "reload"} <= set(started["actions"])
    same = act(core, "litellm", "reload").json()
    assert (same["pid"], same["detail"]) == (started["pid"], "Its configuration has not changed.")
    gateway.configure("a", "c")
    reloaded = act(core, "litellm", "reload").json()
    assert (reloaded["state"], reloaded["pid"] == started["pid"]) == ("running", False)
    assert core.model("c")["backend"] == "litellm"
    assert act(core, "litellm", "stop").json()["state"] == "stopped"


async def test_a_gateway_is_asked_with_the_master_key_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITELLM_MASTER_KEY", "sk-of-the-environment")
    async with serve({"/v1/models": models("gw")}) as server:

        def look() -> str:
            with scripted_core(tmp_path, every_engine=True, litellm_url=server.url) as core:
                core.http.post("/api/scan").raise_for_status()
                return core.http.get("/api/backends").text

        shown = await asyncio.to_thread(look)
    assert "Bearer sk-of-the-environment" in server.keys
    assert "sk-of-the-environment" not in shown


def test_a_gateway_that_cannot_start_says_why(gateway: Gateway) -> None:
    program = gateway.config.parent / "litellm"
    program.write_text("#!/bin/sh\necho 'yaml: line 3: mapping values are not allowed here' >&2\nexit 1\n")
    answer = act(gateway.core, "litellm", "start")
    assert error_of(answer) == (424, "backend_failed")
    assert view(gateway.core, "litellm")["last_error"] == "yaml: line 3: mapping values are not allowed here"

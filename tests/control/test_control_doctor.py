"""The doctor through the control API and the command: what is examined, and steps as they end."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from fault_wall import Server, serving, talking
from recorded_server import RecordedServer, models, serve
from scripted_core import ScriptedCore

from quarterdeck.cli import main
from quarterdeck.client.api import ApiClient
from quarterdeck.control.doctor import MOST_AT_ONCE, router
from quarterdeck.control.services import Services
from quarterdeck.diagnosis.doctor.doctor import Doctor
from quarterdeck.diagnosis.doctor.machine import Machine
from quarterdeck.errors import AppError
from quarterdeck.schemas.doctor import DoctorReport, DoctorRequest, DoctorStep


@pytest.fixture
async def client(core: ScriptedCore) -> AsyncIterator[ApiClient]:
    made = ApiClient(core.url, core.thread.token)
    yield made
    await made.aclose()


async def walk(api: ApiClient, **asked: Any) -> list[DoctorStep | DoctorReport]:
    return [step async for step in api.doctor(DoctorRequest(**asked))]


async def test_steps_come_one_by_one_and_then_the_report(client: ApiClient) -> None:
    async with serving(Server()) as port:
        told = await walk(client, url=f"http://127.0.0.1:{port}/v1")
    report = told[-1]
    assert isinstance(report, DoctorReport)
    assert report.steps == told[:-1]
    assert report.sentence == "Everything works."


async def test_steps_do_not_wait_for_the_end(client: ApiClient) -> None:
    server = Server(hangs=True)
    async with serving(server) as port:
        steps = client.doctor(DoctorRequest(url=f"http://127.0.0.1:{port}/v1"))
        first = await anext(aiter(steps))
        assert isinstance(first, DoctorStep)
        assert first.name == "address"
        await steps.aclose()  # type: ignore[attr-defined]


async def test_the_answer_in_one_document(core: ScriptedCore) -> None:
    async with serving(Server(models=[])) as port:
        body = {"url": f"http://127.0.0.1:{port}/v1"}
        answer = await asyncio.to_thread(core.http.post, "/api/doctor", json=body)
    assert [report["state"] for report in answer.json()] == ["failed"]
    assert "no_models" in answer.json()[0]["text"]


async def test_our_own_address_as_a_client_uses_it_loads_nothing(
    client: ApiClient, core: ScriptedCore, model: str
) -> None:
    for name in ("openai", "open-webui-ollama"):
        report = (await walk(client, client=name))[-1]
        assert isinstance(report, DoctorReport)
        chat = next(step for step in report.steps if step.name == "chat")
        assert chat.code == "nothing_loaded", report.text
    assert core.model(model)["loaded"] is False


async def test_a_server_by_its_name_with_its_key(client: ApiClient, core: ScriptedCore) -> None:
    async with serve({"/v1/models": models("phi-4"), "/health": models()}) as server:
        await _add(core, server)
        report = (await walk(client, backend="study"))[-1]
        assert isinstance(report, DoctorReport)
        assert report.target
        assert "Bearer sk-study-secret-1" in server.keys
        assert "sk-study-secret-1" not in report.model_dump_json()
        await asyncio.to_thread(core.http.delete, "/api/servers/study")


async def _add(core: ScriptedCore, server: RecordedServer) -> None:
    body = {"url": f"{server.url}/v1", "name": "study", "api_key": "sk-study-secret-1"}
    answer = await asyncio.to_thread(core.http.post, "/api/servers", json=body)
    assert answer.status_code == 201, answer.text


async def test_all_that_is_known_begins_with_this_machine(client: ApiClient) -> None:
    reports = [step for step in await walk(client) if isinstance(step, DoctorReport)]
    assert [report.target for report in reports[:2]] == ["This machine", "Quarterdeck"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"client": "nobody"}, "unknown_client"),
        ({"backend": "nobody"}, "unknown_backend"),
        ({"url": "http://127.0.0.1:1", "client": "openai"}, "bad_request"),
    ],
)
async def test_what_cannot_be_examined(client: ApiClient, asked: dict[str, str], code: str) -> None:
    with pytest.raises(AppError) as caught:
        await walk(client, **asked)
    assert caught.value.code == code


async def test_the_command(
    core: ScriptedCore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        code = main(["doctor", "--url", core.url, "--token", core.thread.token, *arguments])
        return code, capsys.readouterr().out

    async with serving(Server(tools="ignored")) as port:
        code, out = await asyncio.to_thread(run, f"http://127.0.0.1:{port}/v1")
        assert code == 0
        assert "! Tool calls" in out
        assert "→" in out
        monkeypatch.setenv("http_proxy", "http://me:secret-of-proxy@proxy.corp:3128")
        monkeypatch.setenv("no_proxy", "127.0.0.0/8")
        _, out = await asyncio.to_thread(run, f"http://127.0.0.1:{port}/v1")
        assert "A proxy is set in the environment, and this address is left out" in out
        monkeypatch.delenv("no_proxy")
        _, out = await asyncio.to_thread(run, f"http://127.0.0.1:{port}/v1")
        assert "NO_PROXY=" in out
        code, out = await asyncio.to_thread(run, f"http://127.0.0.1:{port}/v1", "--model", "gone", "--json")
    assert code == 1
    assert json.loads(out)[0]["state"] == "failed"


async def test_ctrl_c_ends_the_command_and_the_examination(core: ScriptedCore) -> None:
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            asked.set()
        if asked.is_set():
            gone.set()

    asked = asyncio.Event()
    async with talking(silent) as port:
        command = [sys.executable, "-m", "quarterdeck", "doctor", "--url", core.url, "--token", core.thread.token]
        process = await asyncio.create_subprocess_exec(
            *command, f"http://127.0.0.1:{port}", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        await asyncio.wait_for(asked.wait(), 60)
        process.send_signal(signal.SIGINT)
        out, errors = await asyncio.wait_for(process.communicate(), 60)
        await asyncio.wait_for(gone.wait(), 10)
    assert process.returncode == 130
    assert errors == b"Stopped.\n"
    assert b"Connection" in out


async def test_an_examination_ends_with_its_caller_and_there_are_not_too_many(core: ScriptedCore) -> None:
    server = Server(hangs=True)
    headers = {"Authorization": f"Bearer {core.thread.token}"}
    async with (
        serving(server) as port,
        httpx.AsyncClient(base_url=core.url, headers=headers, timeout=30, trust_env=False) as api,
    ):
        body = {"url": f"http://127.0.0.1:{port}"}
        asked = [asyncio.ensure_future(api.post("/api/doctor", json=body)) for _ in range(MOST_AT_ONCE)]
        while len(server.asked) < MOST_AT_ONCE:
            await asyncio.sleep(0.01)
        for kind in ("application/json", "application/x-ndjson"):
            refused = await api.post("/api/doctor", json=body, headers={"Accept": kind})
            assert (refused.status_code, refused.json()["code"]) == (409, "doctor_busy")
        for call in asked:
            call.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        nothing = {"url": "no address"}
        while (await api.post("/api/doctor", json=nothing)).status_code == 409:
            await asyncio.sleep(0.01)


async def test_where_the_environment_sends_programs() -> None:
    async with serving(Server(key="sk-of-environment-1")) as port:
        environment = {
            "OPENAI_BASE_URL": f"http://127.0.0.1:{port}",
            "OPENAI_API_KEY": "sk-of-environment-1",
            "OPENAI_API_BASE": "https://api.example.org/v1",
            "OLLAMA_API_BASE": "http://",
        }
        app = FastAPI()
        nothing = SimpleNamespace(
            landscape=SimpleNamespace(views=list), servers=SimpleNamespace(found=list), public_url=lambda: None
        )
        quick = Doctor(environment={}, machine=Machine({}, root=Path("/nowhere"), find=lambda _name: None))
        app.include_router(router(cast("Services", nothing), quick, environment))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://core") as api:
            reports = (await api.post("/api/doctor", json={})).json()
    told = {report["target"]: report for report in reports}
    assert "The address in OPENAI_API_BASE" not in told
    assert told["The address in OLLAMA_API_BASE"]["state"] == "failed"
    assert told["The address in OPENAI_BASE_URL"]["repaired_url"] == f"http://127.0.0.1:{port}/v1"
    assert "The key is accepted" in told["The address in OPENAI_BASE_URL"]["text"]

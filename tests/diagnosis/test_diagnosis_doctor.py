"""The doctor against a wall of prepared faults: each is named right, and everything before it is found well."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from examined import QUICK, examine, faults, step
from fault_wall import ANYBODY, CORS, ORIGIN, PREFLIGHT_ONLY, Server, forwarding, serving, talking

from quarterdeck.diagnosis.doctor.doctor import Doctor
from quarterdeck.diagnosis.doctor.machine import Machine
from quarterdeck.diagnosis.doctor.targets import Target
from quarterdeck.schemas.doctor import DoctorStep, StepState

HEADERS, METHODS = "Access-Control-Allow-Headers", "Access-Control-Allow-Methods"
IMPATIENT = replace(QUICK, quiet=0.5, websocket=0.5)
LIVE: dict[str, Any] = {"websocket": "/live"}
SOCKETIO: dict[str, Any] = {"websocket": "/ws/socket.io"}
SECRET = "sk-very-secret-1234567890"


async def test_nothing_is_wrong_with_a_good_server() -> None:
    server = Server(key=SECRET, cors=CORS, websocket="good", pause=0.01)
    async with serving(server) as port:
        report = await examine(f"http://127.0.0.1:{port}/v1", key=SECRET, origin=ORIGIN, websocket="/ws/socket.io")
    assert faults(report) == {}
    assert report.state is StepState.OK
    assert report.repaired_url is None
    assert [each.name for each in report.steps] == [
        "address", "proxies", "dns", "tcp", "tls", "http", "front", "path", "key", "models", "chat", "stream", "tools",
        "cors", "websocket", "balance", "health",
    ]  # fmt: skip
    assert SECRET not in report.model_dump_json()


@pytest.mark.parametrize(
    ("server", "asked", "where", "code"),
    [
        (Server(key=SECRET), {}, "key", "key_missing"),
        (Server(key=SECRET), {"key": "another-key"}, "key", "key_refused"),
        (Server(key=SECRET), {"key": f' "Bearer {SECRET}" '}, "key", "key_form"),
        (Server(key=SECRET, refusal=(400, "No connected db.")), {"key": "another-key"}, "key", "key_refused"),
        (Server(key=SECRET, front={"WWW-Authenticate": 'Basic realm="x"'}), {}, "key", "front_password"),
        (Server(root="/v1/v1"), {}, "path", "front_takes_v1"),
        (Server(models=[]), {}, "models", "no_models"),
        (Server(), {"model": "tiney"}, "models", "model_unknown"),
        (Server(page=True), {}, "path", "page_not_json"),
        (Server(root="/engine/v1"), {}, "path", "no_api"),
        (Server(root="/api/v1"), {}, "path", "wrong_path"),
        (Server(chat="context"), {}, "chat", "context_full"),
        (Server(stream="no done"), {}, "stream", "stream_no_done"),
        (Server(chat="other"), {}, "chat", "chat_not_openai"),
        (Server(stream="empty"), {}, "stream", "stream_empty"),
        (Server(stream="wrong type"), {}, "stream", "stream_wrong_type"),
        (Server(stream="compressed"), {}, "stream", "stream_compressed"),
        (Server(stream="ignored"), {}, "stream", "stream_ignored"),
        (Server(stream="ndjson"), {}, "stream", "stream_ndjson"),
        (Server(stream="cut"), {}, "stream", "stream_cut"),
        (Server(stream="stalled"), {"limits": IMPATIENT}, "stream", "stream_stalled"),
        (Server(tools="off"), {}, "tools", "tools_off"),
        (Server(tools="malformed"), {}, "tools", "tools_malformed"),
        (Server(tools="unsupported"), {}, "tools", "tools_unsupported"),
        (Server(tools="ignored"), {}, "tools", "tools_ignored"),
        (Server(tools="text"), {}, "tools", "tools_as_text"),
        (Server(), {"origin": ORIGIN}, "cors", "cors_off"),
        (Server(cors=CORS), {"origin": "http://localhost:8080"}, "cors", "cors_other_origin"),
        (Server(cors=CORS), {"origin": "localhost"}, "cors", "bad_origin"),
        (Server(cors=CORS | {HEADERS: "content-type"}), {"origin": ORIGIN}, "cors", "cors_headers"),
        (Server(cors=CORS | {METHODS: "GET"}), {"origin": ORIGIN}, "cors", "cors_method"),
        (Server(cors=CORS | {HEADERS: "*"}), {"origin": ORIGIN, "key": "some-key"}, "cors", "cors_key_by_star"),
        (Server(cors=CORS, front={"Access-Control-Allow-Origin": "*"}), {"origin": ORIGIN}, "cors", "cors_twice"),
        (Server(preflight=(400, "Disallowed CORS origin")), {"origin": ORIGIN}, "cors", "cors_other_origin"),
        (Server(preflight=(400, "Disallowed CORS method")), {"origin": ORIGIN}, "cors", "cors_method"),
        (Server(preflight=(400, "Disallowed CORS headers")), {"origin": ORIGIN}, "cors", "cors_headers"),
        (Server(cors=PREFLIGHT_ONLY), {"origin": ORIGIN}, "cors", "cors_answer"),
        (Server(cors=ANYBODY), {"origin": ORIGIN}, "cors", "cors_open"),
        (Server(preflight=(403, "")), {"origin": ORIGIN}, "cors", "cors_other_origin"),
        (Server(preflight=(401, "")), {"origin": ORIGIN}, "cors", "cors_preflight_refused"),
        (Server(preflight=(400, ""), cors=CORS), {"origin": ORIGIN}, "cors", "cors_preflight_status"),
        (Server(key=SECRET, open_list=True), {}, "chat", "key_missing"),
        (Server(websocket="none"), SOCKETIO, "websocket", "websocket_path"),
        (Server(websocket="dropped"), LIVE, "websocket", "websocket_not_upgraded"),
        (Server(websocket="origin"), LIVE, "websocket", "websocket_origin"),
        (Server(websocket="refused"), LIVE, "websocket", "websocket_origin"),
        (Server(websocket="redirect"), LIVE, "websocket", "websocket_redirect"),
        (Server(websocket="scattered"), SOCKETIO, "balance", "balance_not_sticky"),
        (Server(websocket="silent"), SOCKETIO | {"limits": IMPATIENT}, "websocket", "websocket_silent"),
        (Server(listing="uneven"), {}, "balance", "balance_different"),
        (Server(listing="partly down"), {}, "balance", "balance_partly_down"),
        (Server(listing="once"), {}, "balance", "unsteady"),
        (Server(listing="strange"), {}, "path", "not_an_api"),
        (Server(health_status=503), {}, "health", "unhealthy"),
        (Server(health_status=401), {}, "health", "health_needs_key"),
        (Server(health="/nowhere"), {}, "health", "no_health_path"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
async def test_a_fault_of_the_server_is_named(server: Server, asked: dict[str, Any], where: str, code: str) -> None:
    async with serving(server) as port:
        report = await examine(f"http://127.0.0.1:{port}/v1", **asked)
    found = step(report, where)
    assert found.code == code, report.text
    assert found.fix
    before = [each for each in report.steps[: report.steps.index(found)] if each.state is StepState.FAILED]
    assert before == [], report.text


@pytest.mark.parametrize(
    ("end", "code", "better"),
    [
        ("", "missing_v1", "/v1"),
        ("/v1/v1", "double_v1", "/v1"),
        ("//v1", "double_slash", "/v1"),
        ("/v1/chat/completions", "endpoint_in_address", "/v1"),
        ("/openai/v2", "wrong_path", "/v1"),
    ],
)
async def test_the_address_is_repaired(end: str, code: str, better: str) -> None:
    async with serving(Server()) as port:
        report = await examine(f"http://127.0.0.1:{port}{end}")
    assert code in faults(report).values(), report.text
    assert report.repaired_url == f"http://127.0.0.1:{port}{better}"
    assert step(report, "chat").state is StepState.OK


async def test_an_ollama_is_known_by_its_own_address_and_loads_nothing() -> None:
    server = Server(ollama=True, loaded=[])
    async with serving(server) as port:
        report = await examine(f"http://127.0.0.1:{port}")
    assert faults(report) == {}
    assert step(report, "chat").code == "nothing_loaded"
    assert report.sentence.startswith("What was tried works. No model is loaded")
    assert step(report, "stream").state is StepState.SKIPPED
    assert not any(asked.startswith("POST") for asked in server.asked)


async def test_no_health_check_that_asks_every_model() -> None:
    server = Server(health="/health/liveliness")
    async with serving(server) as port:
        report = await examine(f"http://127.0.0.1:{port}/v1")
    assert "/health/liveliness" in step(report, "health").finding
    assert "GET /health" not in server.asked


async def test_a_web_server_in_front_takes_the_key_away() -> None:
    async with serving(Server(key=SECRET)) as behind, talking(forwarding(behind, drops=["authorization"])) as port:
        report = await examine(f"http://127.0.0.1:{port}/v1", key=SECRET)
    assert faults(report) == {"key": "key_lost"}
    assert "Authorization" in step(report, "key").fix


async def test_the_loaded_model_is_asked() -> None:
    models = [{"id": "big", "loaded": False}, {"id": "small", "loaded": True}]
    async with serving(Server(models=models)) as port:
        report = await examine(f"http://127.0.0.1:{port}/v1")
    assert "small" in step(report, "chat").finding


async def test_a_redirect_and_a_login_page() -> None:
    async with serving(Server()) as other, serving(Server(redirect=f"http://127.0.0.1:{other}")) as port:
        report = await examine(f"http://127.0.0.1:{port}/v1")
        assert faults(report) == {"path": "redirect"}
        assert report.repaired_url == f"http://127.0.0.1:{other}/v1"
    server = Server()
    async with serving(server) as port:
        server.redirect = f"https://127.0.0.1:{port}"
        report = await examine(f"http://127.0.0.1:{port}/v1")
        assert faults(report) == {"path": "redirect_https"}
        assert report.repaired_url == f"https://127.0.0.1:{port}/v1"
    async with serving(Server(redirect="http://127.0.0.1:1/login")) as port:
        assert faults(await examine(f"http://127.0.0.1:{port}/v1")) == {"path": "redirect_login"}


async def test_a_proxy_that_collects_streams() -> None:
    async with serving(Server(pause=0.06)) as behind, talking(forwarding(behind, buffers=True)) as port:
        report = await examine(f"http://127.0.0.1:{port}/v1")
        assert faults(report) == {"stream": "stream_buffered"}, report.text
        assert "proxy_buffering off" in step(report, "stream").fix
    async with serving(Server(pause=0.06)) as behind, talking(forwarding(behind)) as port:
        assert faults(await examine(f"http://127.0.0.1:{port}/v1")) == {}


async def test_a_proxy_of_http_1_0_that_loses_the_upgrade() -> None:
    server = Server(websocket="good")
    async with serving(server) as behind, talking(forwarding(behind, http10=True, drops=["upgrade"])) as port:
        report = await examine(f"http://127.0.0.1:{port}/v1", websocket="/live")
    assert faults(report) == {"front": "http_1_0", "websocket": "websocket_not_upgraded"}, report.text


async def test_a_web_server_in_front_makes_itself_known() -> None:
    async with serving(Server(front={"Server": "nginx/1.26.0"})) as port:
        report = await examine(f"http://127.0.0.1:{port}/v1")
    assert step(report, "front").finding == "nginx stands in front."


async def test_a_proxy_of_the_environment_catches_localhost() -> None:
    async with serving(Server()) as port:
        report = await examine(f"http://127.0.0.1:{port}/v1", environment={"http_proxy": "http://proxy.corp:3128"})
    assert faults(report) == {"proxies": "proxy_catches_local"}
    assert "proxy.corp" not in report.text


async def test_it_stops_at_any_moment() -> None:
    async with serving(Server(hangs=True)) as port:
        steps = Doctor(machine=Machine({}, root=Path("/nowhere"))).examine(Target("x", f"http://127.0.0.1:{port}"))
        async with aclosing(steps):
            first = await anext(steps)
            assert isinstance(first, DoctorStep)
            while first.name != "tls":
                first = await anext(steps)
                assert isinstance(first, DoctorStep)
            waiting = asyncio.ensure_future(anext(steps))
            await asyncio.wait({waiting}, timeout=0.05)
            assert not waiting.done()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting


async def test_secrets_are_masked_wherever_they_stand() -> None:
    async with serving(Server(key=SECRET, refusal=(401, "Incorrect API key provided: mine-abcdefgh1234"))) as port:
        report = await examine(
            f"http://user:hunter2pass@127.0.0.1:{port}/v1?code=of-query-99", key='"mine-abcdefgh1234"'
        )
    told = report.model_dump_json()
    assert "Incorrect API key" in told
    assert not any(secret in told for secret in ("hunter2pass", SECRET, "of-query-99", "mine-abcdefgh1234"))

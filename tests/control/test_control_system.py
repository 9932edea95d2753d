"""Events, settings, backends, status, health and the description of it all."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from event_reader import Events, listen
from scripted_core import ScriptedCore, wait_for


def test_changes_of_models_are_told_in_order(core: ScriptedCore, model: str) -> None:
    with listen(core) as events:
        assert events.answer.headers["content-type"] == "text/event-stream"
        opened = events.next()
        assert (opened["topic"], opened["type"]) == ("stream", "opened")
        core.load(model)
        phases, last = [], opened["id"]
        while phases[-1:] != ["loaded"]:
            event = events.until("model", name=model)
            assert event["id"] > last
            last = event["id"]
            if phases[-1:] != [event["data"]["phase"]]:
                phases.append(event["data"]["phase"])
        assert phases == ["queued", "loading", "loaded"]


def test_a_stream_is_resumed_after_the_last_event(core: ScriptedCore, model: str) -> None:
    with listen(core) as events:
        core.set_status(model, "degraded", "first")
        seen = events.until("model", name=model, notes="first")["id"]
    core.set_status(model, "degraded", "second")
    core.set_status(model, "degraded", "third")
    with listen(core, last_id=seen) as events:
        assert events.next()["id"] == seen
        notes = [events.until("model", name=model)["data"]["notes"] for _ in range(2)]
    assert notes == ["second", "third"]


@pytest.mark.parametrize("last_id", ["0", "1"])
def test_a_stream_that_missed_too_much_is_told_to_read_anew(core: ScriptedCore, last_id: str) -> None:
    with listen(core, last_id=last_id) as events:
        events.next()
        reset = events.next()
    assert (reset["topic"], reset["type"]) == ("stream", "reset")


@pytest.mark.parametrize("last_id", ["x", "-1", "1.5", "9" * 5000, "\u00b2".encode("latin-1").decode("latin-1")])
def test_an_id_that_is_none_is_no_harm(core: ScriptedCore, model: str, last_id: str) -> None:
    headers = [(name.encode(), value.encode()) for name, value in core.http.headers.items()]
    headers.append((b"last-event-id", last_id.encode("latin-1")))
    with httpx.stream("GET", core.url + "/api/events", headers=headers, timeout=20, trust_env=False) as answer:
        events = Events(answer)
        assert events.next()["type"] == "opened"
        core.set_status(model, "degraded")
        assert events.next()["data"]["name"] == model


def test_only_the_topics_asked_for_are_sent(core: ScriptedCore, model: str) -> None:
    with listen(core, topics="attempt") as events:
        core.load(model)
        events.next()
        event = events.next()
    assert (event["topic"], event["type"], event["data"]["model_name"]) == ("attempt", "finished", model)


def test_log_lines_are_sent_to_those_who_ask(core: ScriptedCore, model: str) -> None:
    with listen(core, topics="log") as events:
        core.load(model)
        lines = events.until("log", source="embedded")["data"]["lines"]
        assert f"serving {model}" in [line["text"] for line in lines]


def test_samples_are_sent_to_those_who_ask(core: ScriptedCore) -> None:
    with listen(core, topics="gpu") as events:
        assert events.until("gpu")["data"]["host"]["memory_total"] > 0


def test_the_public_address_has_the_events_too(core: ScriptedCore, model: str) -> None:
    with listen(core, base=core.public_url) as events:
        core.set_status(model, "degraded")
        assert events.until("model", name=model)["data"]["status"] == "degraded"


def test_requests_and_backends_are_told(core: ScriptedCore, model: str) -> None:
    with listen(core, topics="request,backend") as events:
        ping = [{"role": "user", "content": "hello"}]
        core.http.post("/v1/chat/completions", json={"model": model, "messages": ping})
        assert events.until("backend", name="embedded")["data"]["title"] == "Scripted engine"
        assert events.until("request", model=model)["data"]["status"] == 502


def test_backends_and_their_logs(core: ScriptedCore, model: str) -> None:
    core.load(model)
    [backend] = core.http.get("/api/backends").json()
    assert (backend["name"], backend["state"], backend["models"]) == ("embedded", "running", [model])
    lines = core.http.get("/api/backends/embedded/logs", params={"tail": 1}).json()
    assert [line["text"] for line in lines] == [f"serving {model}"]
    assert core.http.get("/api/backends/embedded/logs", params={"tail": 0}).json() == []
    own = core.http.get("/api/backends/quarterdeck/logs").json()
    assert any(f"loaded {model}" in line["text"] for line in own)


def test_a_backend_is_stopped_started_and_restarted(core: ScriptedCore, model: str) -> None:
    core.load(model)
    assert core.http.post("/api/backends/embedded/stop").json()["models"] == []
    stopped = core.http.post("/api/backends/embedded/stop")
    assert (stopped.status_code, stopped.json()["code"]) == (409, "backend_not_running")
    assert core.http.post("/api/backends/embedded/start").json()["models"] == [model]
    before = core.http.get("/api/backends").json()[0]["pid"]
    assert core.http.post("/api/backends/embedded/restart").json()["pid"] != before


@pytest.mark.parametrize("path", ["nobody/restart", "nobody/start", "nobody/stop"])
def test_an_unknown_backend_is_not_found(core: ScriptedCore, path: str) -> None:
    answer = core.http.post(f"/api/backends/{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_backend")
    assert "embedded" in answer.json()["hint"]
    logs = core.http.get("/api/backends/nobody/logs")
    assert (logs.status_code, logs.json()["code"]) == (404, "unknown_backend")


def test_the_status_of_the_whole(core: ScriptedCore) -> None:
    status = core.http.get("/api/status").json()
    assert (status["public_url"], status["control_url"]) == (core.public_url, core.url)
    assert status["data_dir"] == str(core.folder / "data")
    assert status["uptime_seconds"] > 0
    assert status["versions"]["quarterdeck"]
    assert (status["gpu_available"], status["gpu_memory_allocated_mb"]) == (False, None)
    assert status["hardware"]["nvml"]["reason"]
    assert status["issues"] == []
    assert len(core.http.get("/api/hardware").json()) >= 1


@pytest.mark.parametrize("address", ["private", "public"])
def test_health_needs_no_token(core: ScriptedCore, address: str) -> None:
    base = core.url if address == "private" else core.public_url
    with httpx.Client(base_url=base, trust_env=False) as stranger:
        for path in ("/health", "/v1/health"):
            body = stranger.get(path).json()
            assert body["status"] == "ok"
            assert body["uptime_seconds"] >= 0
        assert stranger.get("/version").json()["version"]
        head = stranger.head("/")
        assert (head.status_code, head.content) == (200, b"")
        assert stranger.get("/").status_code == 200


DOCUMENTED = {
    "/": "get", "/health": "get", "/v1/health": "get", "/version": "get", "/v1/models": "get", "/v1/models/{id}": "get",
    "/v1/chat/completions": "post", "/v1/completions": "post", "/v1/embeddings": "post", "/api/models": "get post",
    "/api/models/{name}": "get delete", "/api/models/{name}/config": "patch", "/api/models/{name}/attempts": "get",
    "/api/orchestrate/load": "post", "/api/orchestrate/unload": "post", "/api/orchestrate/cancel": "post",
    "/api/status": "get", "/api/hardware": "get", "/api/requests": "get", "/api/events": "get",
    "/api/settings": "get patch", "/api/backends": "get", "/api/backends/{name}/logs": "get",
    "/api/backends/{name}/restart": "post", "/api/backends/{name}/start": "post", "/api/backends/{name}/stop": "post",
    "/api/backends/{name}/reload": "post", "/api/models/{name}/lock": "post", "/api/models/{name}/unlock": "post",
    "/api/models/{name}/verify": "post", "/api/estimate": "post", "/api/import": "post", "/api/follows": "get delete",
    "/api/scan": "post", "/api/absences": "get", "/api/servers": "post", "/api/servers/presets": "get",
    "/api/servers/{name}": "delete", "/api/ollama/pull": "post", "/api/ollama/create": "post",
    "/api/ollama/delete": "post", "/api/gpu/processes/{pid}/stop": "post",
}  # fmt: skip


def test_openapi_describes_the_whole(core: ScriptedCore) -> None:
    described = core.http.get("/openapi.json").json()
    found = {path: " ".join(operations) for path, operations in described["paths"].items()}
    assert found | DOCUMENTED == found
    assert all(
        operation["summary"] and operation["responses"]
        for operations in described["paths"].values()
        for operation in operations.values()
    )
    assert described["paths"]["/v1/completions"]["post"]["requestBody"]
    assert described == core.http.get("/openapi.json").json()


def test_a_stream_ends_when_the_core_stops(tmp_path: Any) -> None:
    from scripted_core import scripted_core

    with scripted_core(tmp_path) as own:
        url, headers = own.url, dict(own.http.headers)
        stream = httpx.Client(timeout=20, trust_env=False)
        context = stream.stream("GET", url + "/api/events", headers=headers)
        events = Events(context.__enter__())
        events.next()
    with pytest.raises(EOFError):
        events.next()
    context.__exit__(None, None, None)
    stream.close()
    wait_for(lambda: not (tmp_path / "data" / "core.json").exists())

"""The description in /openapi.json is true: every operation is tried with what it allows and with what it does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from described import ENDS_PROGRAMS, Trials
from malformed_room import MalformedRoom, malformed_room
from real_engines import LONG
from scripted_core import ScriptedCore

OPEN = {"/", "/health", "/v1/health", "/version", "/api/version"}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MalformedRoom]:
    with malformed_room(tmp_path_factory.mktemp("room")) as made:
        yield made


@pytest.fixture(scope="module")
def document(shared_core: ScriptedCore) -> dict[str, Any]:
    return dict(shared_core.http.get("/openapi.json").json())


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, described in document["paths"].items():
        for method, operation in described.items():
            yield method.upper(), path, operation


def filled(path: str) -> str:
    return path.replace("{pid}", "0").replace("{", "no-").replace("}", "")


@pytest.mark.timeout(400)
def test_every_operation_keeps_to_what_is_written(room: MalformedRoom) -> None:
    trials = Trials(room, examples=5)
    faults = list(trials.run())
    assert faults == [], "\n".join(map(str, faults))
    documented = {f"{method} {path}" for method, path, _ in operations(room.core.http.get("/openapi.json").json())}
    assert documented - trials.operations == {f"POST {ENDS_PROGRAMS}"}
    assert trials.count > 2000


@pytest.mark.skipif(not LONG, reason="takes minutes: set LONG_TESTS=1 for the long run")
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_operation_keeps_to_what_is_written_a_hundred_times(room: MalformedRoom) -> None:
    faults = list(Trials(room, examples=100).run())
    assert faults == [], "\n".join(map(str, faults))


def test_without_a_key_nothing_is_done(core: ScriptedCore, document: dict[str, Any]) -> None:
    core.http.post("/api/keys", json={"name": "somebody"}).raise_for_status()
    with httpx.Client(base_url=core.url, trust_env=False) as nobody:
        for method, path, operation in operations(document):
            answer = nobody.request(method, filled(path))
            assert answer.status_code == (200 if path in OPEN else 401), (method, path)
            assert (operation["security"] == []) == (path in OPEN)
    core.http.delete("/api/keys/somebody").raise_for_status()


def test_other_methods_are_refused(core: ScriptedCore, document: dict[str, Any]) -> None:
    for path, described in document["paths"].items():
        known = {method.upper() for method in described}
        for method in {*METHODS, "PROPFIND"} - known:
            # Below a name that may hold slashes there are names.
            if path.startswith(("/api/models/", "/api/backends/", "/api/servers/", "/api/known-issues/")):
                continue
            answer = core.http.request(method, filled(path))
            assert answer.status_code == 405, (method, path)
            assert known <= set(answer.headers["allow"].split(", ")), (method, path)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    references = [line.split('"')[3] for line in json.dumps(document, indent=0).splitlines() if '"$ref"' in line]
    assert {reference.rpartition("/")[2] for reference in references} <= set(schemas)
    assert "HTTPValidationError" not in schemas


def test_errors_are_described_in_the_words_of_their_callers(document: dict[str, Any]) -> None:
    forms = {
        "/v1/chat/completions": "OpenAIError", "/v1/models": "OpenAIError", "/v1/responses": "OpenAIError",
        "/v1/messages": "AnthropicError", "/v1/messages/count_tokens": "AnthropicError", "/api/chat": "OllamaError",
        "/api/tags": "OllamaError", "/api/blobs/{digest}": "OllamaError", "/api/models": "Error", "/metrics": "Error",
    }  # fmt: skip
    for path, form in forms.items():
        operation = next(iter(document["paths"][path].values()))
        schema = operation["responses"]["401"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": f"#/components/schemas/{form}"}, path


def test_streams_are_described(document: dict[str, Any]) -> None:
    for path, kind in (
        ("/v1/chat/completions", "text/event-stream"), ("/api/chat", "application/x-ndjson"),
        ("/api/ollama/pull", "application/x-ndjson"), ("/v1/messages", "text/event-stream"),
    ):  # fmt: skip
        assert kind in document["paths"][path]["post"]["responses"]["200"]["content"]
    assert list(document["paths"]["/api/events"]["get"]["responses"]["200"]["content"]) == ["text/event-stream"]

"""Whatever clients send: an answer in their words comes, nothing is told that is nobody's business, nothing breaks."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from malformed import Sent, requests
from malformed_room import MODELS, MalformedRoom, malformed_room
from malformed_verdict import faults
from real_engines import LONG
from scripted_core import wait_for
from valid_requests import ASKING, OTHERS, body_of

SHARED = settings(
    phases=[Phase.generate, Phase.shrink], database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
EVERYTHING = requests((*ASKING, *OTHERS), MODELS)
MIB = 1024 * 1024
MOST_MORE_MIB = 256


@pytest.fixture(scope="module")
def shared_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MalformedRoom]:
    with malformed_room(tmp_path_factory.mktemp("room")) as room:
        yield room


@pytest.fixture
def room(shared_room: MalformedRoom) -> Iterator[MalformedRoom]:
    """Afterwards the core must be as well as before."""
    before = _memory()
    yield shared_room
    wait_for(lambda: shared_room.running == 0)
    http = shared_room.core.http
    assert http.post("/v1/chat/completions", json={"model": "plain", "messages": []}).status_code == 200
    assert http.get("/metrics").status_code == 200
    assert http.get("/api/requests").status_code == 200
    assert _memory() - before < MOST_MORE_MIB * MIB


def _memory() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


@pytest.mark.parametrize("model", MODELS)
def test_the_requests_to_begin_with_are_well(room: MalformedRoom, model: str) -> None:
    for valid in (*ASKING, *OTHERS):
        headers = [(b"content-type", valid.content_type.encode())]
        sent = Sent(valid.method, valid.path.replace("{model}", model).encode(), headers, [body_of(valid, model)])
        answer = room.call(sent)
        # Some engines cannot do some things at all, and only Ollama's models are managed with its words.
        assert answer.status in {200, 400, 409, 501}, (valid, answer.body[:300])
        assert faults(sent.method, sent.path, *answer, room.secrets) == []
    assert room.engine.complaints == []


@given(sent=EVERYTHING)
@settings(SHARED, max_examples=3000, derandomize=True)
def test_malformed_requests_are_answered(room: MalformedRoom, sent: Sent) -> None:
    assert room.faults(sent) == []


@pytest.mark.skipif(not LONG, reason="takes minutes: set LONG_TESTS=1 for the long run")
@pytest.mark.slow
@pytest.mark.timeout(900)
@given(sent=EVERYTHING)
@settings(SHARED, max_examples=20_000, derandomize=False)
def test_very_many_malformed_requests_are_answered(room: MalformedRoom, sent: Sent) -> None:
    assert room.faults(sent) == []


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat", "/v1/messages", "/v1/embeddings"])
def test_half_a_character_spoils_no_list_of_requests(room: MalformedRoom, path: str) -> None:
    half = "\\ud800"
    http = room.core.http
    for model in ("plain", half):
        message = f'{{"role": "user", "content": "{half}"}}'
        body = f'{{"model": "{model}", "max_tokens": 5, "{half}": 1, "messages": [{message}]}}'
        answer = http.post(path, content=body, headers={"content-type": "application/json", "user-agent": "half"})
        assert answer.status_code in {200, 400, 404, 409}
        assert http.get("/api/requests", params={"limit": 1}).json()[0]["path"] == path

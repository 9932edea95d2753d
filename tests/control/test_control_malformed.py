"""Malformed requests to the control API, from somebody who may use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from malformed import Sent, requests
from malformed_room import MalformedRoom, malformed_room
from malformed_verdict import faults
from valid_requests import CONTROL


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MalformedRoom]:
    with malformed_room(tmp_path_factory.mktemp("room")) as made:
        yield made


@given(sent=requests(CONTROL, ("plain", "llama", "gate"), heads=False))
@settings(
    max_examples=1000,
    derandomize=True,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_malformed_orders_are_answered(room: MalformedRoom, sent: Sent) -> None:
    token = (b"authorization", f"Bearer {room.core.thread.token}".encode())
    answer = room.call(sent._replace(headers=[*sent.headers, token]))
    # Whoever may use this may know where models lie.
    assert faults(sent.method, sent.path, *answer, secrets=[room.core.thread.token]) == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"default_model": "a\\ud83d"}',
        b'{"a\\ud83d": 1}',
        b'{"default_model": NaN}',
        b'{"default_model": 1e999}',
        b'{"default_model": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        '{"default_model": "a"}'.encode("utf-16"),
        b'{"default_model": "\xff"}',
    ],
    ids=["half a value", "half a name", "no number", "too large", "too deep", "UTF-16", "no UTF-8"],
)
def test_what_cannot_be_stored_is_not_read(room: MalformedRoom, body: bytes) -> None:
    answer = room.core.http.patch("/api/settings", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert "not valid JSON" in answer.json()["detail"]


def test_a_character_that_is_written_as_two_halves_is_whole(room: MalformedRoom) -> None:
    body = b'\xef\xbb\xbf{"model": "\\ud83d\\ude42"}'
    answer = room.core.http.post("/api/routing/test", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["asked"]) == (200, "🙂")


@pytest.mark.parametrize("name", ["x" * 5000, "\0", "x/" * 3000])
def test_a_path_that_cannot_be_is_refused(room: MalformedRoom, tmp_path: Path, name: str) -> None:
    for path, body in (("/api/estimate", {}), ("/api/models", {"model_name": "new"}), ("/api/import", {})):
        answer = room.core.http.post(path, json={"path": str(tmp_path / name), **body})
        assert 400 <= answer.status_code < 500, (path, answer.text[:300])
        assert answer.json()["hint"]

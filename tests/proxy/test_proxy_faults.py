"""The fault matrix: each way in which an upstream misbehaves, seen by a client of every dialect, plain and streamed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fault_room import DIALECTS, NATIVE, FaultRoom, Got, fault_room
from fault_table import LIMITS, OK, ROWS, SILENCES, Row
from scripted_core import wait_for
from upstream_refusals import UPSTREAM_KEY
from upstream_words import TEXT

# All that may stand in an answer of ours; `openai-processing-ms` is the one that the upstream may add.
HEADERS = {
    "content-type", "content-length", "transfer-encoding", "date", "cache-control", "x-accel-buffering", "retry-after",
    "x-request-id", "x-quarterdeck-route", "x-quarterdeck-model", "x-quarterdeck-dropped", "x-quarterdeck-applied",
    "x-content-type-options", "x-frame-options", "referrer-policy", "connection", "openai-processing-ms",
    "access-control-expose-headers", "vary",
}  # fmt: skip


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultRoom]:
    with fault_room(tmp_path_factory.mktemp("faults")) as room:
        yield room


@pytest.fixture(scope="module")
def hasty_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultRoom]:
    with fault_room(tmp_path_factory.mktemp("silences"), **LIMITS) as room:
        yield room


def check(room: FaultRoom, behaviour: str, row: Row, dialect: str, *, stream: bool) -> None:
    before = room.upstream.count(behaviour)
    got = room.ask(behaviour, dialect, stream=stream)
    assert got.outcome in row.expected(dialect, stream=stream), got
    assert got.ended or got.status != 200
    if got.outcome == OK:
        check_text(got, behaviour)
    check_nothing_leaked(got)
    assert got.header("retry-after") == row.retry_after
    assert got.usable is not False, "the connection is open, but answers nothing more"
    check_record(room, got, behaviour)
    wait_for(lambda: room.active() == 0)
    assert room.upstream.count(behaviour) - before <= row.times


def check_text(got: Got, behaviour: str) -> None:
    if behaviour == "giant_line":
        assert len(got.text) > 17_000_000
    else:
        assert got.text == (TEXT.replace("é", "\ufffd") if behaviour == "invalid_utf8" else TEXT)


def check_nothing_leaked(got: Got) -> None:
    names = [name.lower() for name, _ in got.headers]
    assert set(names) <= HEADERS
    assert len(names) == len(set(names))
    seen = repr(got.headers).encode() + got.body
    assert UPSTREAM_KEY.encode() not in seen
    assert b"upstream-secret" not in seen


def check_record(room: FaultRoom, got: Got, behaviour: str) -> None:
    record = room.record(got)
    if got.code is None:
        assert (record["status"], record["error"]) == (200, None)
    else:
        assert record["status"] == (got.status if got.status != 200 else record["status"]) >= 400
        assert record["error"]
    assert UPSTREAM_KEY not in str(record)
    assert record["model"].partition("@")[0] == behaviour
    assert record["tried"] == []


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("behaviour", ROWS)
def test_fault(room: FaultRoom, behaviour: str, dialect: str, stream: bool) -> None:
    check(room, behaviour, ROWS[behaviour], dialect, stream=stream)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("behaviour", SILENCES)
def test_silence(hasty_room: FaultRoom, behaviour: str, dialect: str, stream: bool) -> None:
    check(hasty_room, behaviour, SILENCES[behaviour], dialect, stream=stream)


def test_every_behaviour_has_its_row() -> None:
    from faulty_upstream import BEHAVIOURS

    assert set(BEHAVIOURS) == {*ROWS, *SILENCES, "flood"}


@pytest.mark.parametrize("dialect", ["openai", NATIVE])
def test_headers_that_clients_want_are_passed_on(room: FaultRoom, dialect: str) -> None:
    for stream in (False, True):
        assert room.ask("sturdy", dialect, stream=stream).header("openai-processing-ms") == "12"


def test_the_upstream_gets_its_key_and_nothing_of_the_client(room: FaultRoom) -> None:
    room.ask("sturdy", "openai", stream=False, Cookie="mine", X_Api_Key="mine", User_Agent="mine", Origin_X="mine")
    asked = room.upstream.asked[-1]
    assert asked.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert set(asked.headers) == {"host", "authorization", "content-type", "content-length", "accept"}

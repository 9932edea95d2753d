"""Stand-ins: which failures another model makes good, for whom, and when it is too late for that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_room import FaultRoom, Got, fault_room, question
from fault_table import OK, ROWS, Row
from upstream_words import TEXT

STURDY = "sturdy"


@pytest.fixture(scope="module")
def shared_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultRoom]:
    with fault_room(tmp_path_factory.mktemp("faults")) as room:
        for name in ("wide", "lenient"):
            add(room, name, STURDY)
        room.model(STURDY)
        yield room


@pytest.fixture
def room(shared_room: FaultRoom) -> Iterator[FaultRoom]:
    yield shared_room
    rule(shared_room)


def add(room: FaultRoom, name: str, behaviour: str) -> str:
    body = {"model_name": name, "url": room.upstream.url, "backend": "openai-compatible", "served_name": behaviour}
    room.core.http.post("/api/models", json=body).raise_for_status()
    return name


def rule(room: FaultRoom, **rules: Any) -> None:
    room.core.http.put("/api/routing", json=rules).raise_for_status()


def led(got: Got) -> tuple[str, str | None, str | None]:
    return got.outcome, got.header("x-quarterdeck-route"), got.header("x-quarterdeck-model")


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize("behaviour", [name for name, row in ROWS.items() if not row.either])
def test_a_stand_in_answers_while_nothing_was_sent(room: FaultRoom, behaviour: str, dialect: str, stream: bool) -> None:
    row: Row = ROWS[behaviour]
    rule(room, fallbacks=[{"model": "*", "error": [STURDY]}])
    room.model(behaviour)
    before = room.upstream.count(STURDY)
    got = room.ask(behaviour, dialect, stream=stream)
    record = room.record(got)
    if row.answered_by_stand_in(dialect, stream=stream):
        assert led(got) == (OK, "fallback", STURDY)
        assert got.text == TEXT
        assert (record["model"], record["tried"], record["status"]) == (STURDY, [behaviour], 200)
        assert room.upstream.count(STURDY) == before + 1
    else:
        assert got.outcome in row.expected(dialect, stream=stream)
        assert (record["model"], record["tried"]) == (behaviour, [])
        assert room.upstream.count(STURDY) == before + (behaviour == STURDY)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(
    ("behaviour", "model"),
    [("status_500_text", STURDY), ("context_window", "wide"), ("content_filter", "lenient"), ("html_page", STURDY)],
)
def test_each_class_of_failure_has_its_own_stand_ins(room: FaultRoom, behaviour: str, model: str, stream: bool) -> None:
    classes = {"error": [STURDY], "context_window": ["wide"], "content": ["lenient"]}
    rule(room, fallbacks=[{"model": "*", **classes}])
    assert led(room.ask(behaviour, "ollama", stream=stream)) == (OK, "fallback", model)


@pytest.mark.parametrize("behaviour", ["status_500_text", "closes_before_headers", "status_503"])
def test_a_client_that_wants_to_fail_fast_gets_the_first_failure(room: FaultRoom, behaviour: str) -> None:
    rule(room, fallbacks=[{"model": "*", "error": [STURDY]}])
    got = room.ask(behaviour, "openai", stream=True, x_quarterdeck_profile="fail-fast")
    assert got.outcome in ROWS[behaviour].expected("openai", stream=True)
    assert room.record(got)["tried"] == []


def test_the_first_failure_is_told_when_the_stand_in_fails_too(room: FaultRoom) -> None:
    rule(room, fallbacks=[{"model": "*", "error": [room.model("status_500_text")]}])
    got = room.ask("status_429", "anthropic", stream=True)
    assert (got.outcome, got.header("retry-after")) == ("429 upstream_error", "17")
    assert room.record(got)["tried"] == ["status_429"]


def test_a_stand_in_that_breaks_off_is_told_as_what_it_is(room: FaultRoom) -> None:
    rule(room, fallbacks=[{"model": "*", "error": [room.model("closes_after_3_tokens")]}])
    got = room.ask("status_429", "openai", stream=True)
    assert led(got) == ("cut engine_lost", "fallback", "closes_after_3_tokens")
    assert "closes_after_3_tokens" in got.message
    assert room.record(got)["status"] == 502


def test_a_stand_in_is_asked_once_and_never_the_model_itself(room: FaultRoom) -> None:
    failing = room.model("status_500_text")
    rule(room, fallbacks=[{"model": "*", "error": [failing, "resets_after_headers", STURDY]}])
    room.model("resets_after_headers")
    before = [room.upstream.count(each) for each in (failing, "resets_after_headers", STURDY)]
    got = room.ask(failing, "responses", stream=False)
    assert led(got) == (OK, "fallback", STURDY)
    assert room.record(got)["tried"] == [failing, "resets_after_headers"]
    after = [room.upstream.count(each) for each in (failing, "resets_after_headers", STURDY)]
    assert [late - early for early, late in zip(before, after, strict=True)] == [1, 1, 1]


def test_an_engine_of_ours_that_crashed_is_not_asked_again(room: FaultRoom) -> None:
    name = room.core.add("closes_at_second_request@ours")
    room.core.load(name).raise_for_status()
    loads = len(room.core.backend.loads)
    before = room.upstream.count("closes_at_second_request")
    outcomes = [room.post(question("openai", name, stream=False), "openai").outcome for _ in range(3)]
    # It closes the connection on which it is asked for the second time, as an engine does that has crashed.
    assert "502 engine_lost" in outcomes
    assert room.upstream.count("closes_at_second_request") == before + 3
    assert len(room.core.backend.loads) == loads


class TestSharing:
    @pytest.fixture
    def pool(self, tmp_path: Path) -> Iterator[FaultRoom]:
        """A core that has heard nothing of its models yet."""
        with fault_room(tmp_path, failure_threshold=2) as room:
            yield room

    def share(self, room: FaultRoom, broken: str) -> None:
        models = [{"model": room.model(broken), "weight": 3}, {"model": room.model(STURDY), "weight": 1}]
        rule(room, balance=[{"name": "pool", "models": models}])

    def ask(self, room: FaultRoom, **headers: str) -> Got:
        return room.post(question("openai", "pool", stream=True), "openai", **headers)

    @pytest.mark.parametrize(("broken", "failures"), [("refuses", 0), ("html_page", 2), ("resets_after_headers", 2)])
    def test_a_broken_one_is_avoided(self, pool: FaultRoom, broken: str, failures: int) -> None:
        self.share(pool, broken)
        before = pool.upstream.count(broken)
        answers = [self.ask(pool) for _ in range(8)]
        assert [led(each) for each in answers] == [(OK, "balance", STURDY)] * 8
        assert pool.upstream.count(broken) == before + failures
        tried = [pool.record(each)["tried"] for each in answers]
        assert [broken] in tried
        assert tried[-4:] == [[]] * 4

    def test_one_that_is_only_busy_is_not_avoided(self, pool: FaultRoom) -> None:
        self.share(pool, "status_429")
        before = pool.upstream.count("status_429")
        assert [led(self.ask(pool)) for _ in range(8)] == [(OK, "balance", STURDY)] * 8
        assert pool.upstream.count("status_429") == before + 6

    def test_a_request_that_is_wrong_is_sent_once(self, pool: FaultRoom) -> None:
        self.share(pool, "status_413")
        before = pool.upstream.count("status_413")
        outcomes = [self.ask(pool).outcome for _ in range(4)]
        assert sorted(outcomes) == ["413 upstream_error"] * 3 + [OK]
        assert pool.upstream.count("status_413") == before + 3

    def test_who_fails_fast_gets_no_second_try(self, pool: FaultRoom) -> None:
        self.share(pool, "status_503")
        outcomes = [self.ask(pool, x_quarterdeck_profile="fail-fast").outcome for _ in range(4)]
        assert sorted(outcomes) == ["503 upstream_error"] * 3 + [OK]

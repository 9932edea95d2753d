"""The journal: what is written when, and what a model's status and notes are afterwards."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import Session, select

from quarterdeck.compatibility import journal as journal_module
from quarterdeck.compatibility import records
from quarterdeck.compatibility.failure import Failure, Pause
from quarterdeck.compatibility.journal import Begun, EngineTrace, Journal, Recovered, config_hash
from quarterdeck.errors import AppError
from quarterdeck.schemas.models import Cause, CauseKind, Outcome, Status
from quarterdeck.storage.database import Database
from quarterdeck.storage.tables import LoadAttempt, Model

CONFIG = {"ctx_size": 2048}


def cause(kind: CauseKind, sentence: str = "The engine died on SIGABRT.", evidence: str = "") -> Cause:
    return Cause(
        failure_class=f"{kind}-class",
        kind=kind,
        title="It failed",
        sentence=sentence,
        hint="Do this.",
        evidence=evidence,
    )


async def add(database: Database, name: str = "tiny", **facts: Any) -> None:
    facts = {"load_config": CONFIG, **facts}
    model = Model(name=name, backend="embedded", served_name=name, layer="curated", **facts)
    await database.run(lambda session: session.add(model))


async def stored(database: Database, name: str = "tiny") -> Model:
    return await database.run(lambda session: session.get_one(Model, name))


async def row(database: Database, attempt_id: int) -> LoadAttempt:
    return await database.run(lambda session: session.get_one(LoadAttempt, attempt_id))


async def begin(journal: Journal, name: str = "tiny", *, forced: bool = False) -> Begun:
    return await journal.begin(name, backend="embedded", load_config=CONFIG, hardware="here", forced=forced)


async def good(journal: Journal, times: int = 1, seconds: float = 2.0) -> None:
    for _ in range(times):
        await journal.succeed((await begin(journal)).attempt_id, seconds)


async def bad(journal: Journal, kind: CauseKind, **more: Any) -> None:
    await journal.fail((await begin(journal)).attempt_id, Failure(cause(kind), **more))


async def test_begin_writes_testing_and_the_attempt(journal: Journal, database: Database) -> None:
    await add(database, status=Status.DEGRADED)
    begun = await begin(journal, forced=True)
    assert begun.status_before is Status.DEGRADED
    assert (await stored(database)).status is Status.TESTING
    written = await row(database, begun.attempt_id)
    assert (written.outcome, written.forced, written.hardware) == (Outcome.RUNNING, True, "here")
    assert (written.load_config, written.config_hash) == (CONFIG, config_hash(CONFIG))
    assert (written.app_pid, written.boot_id, written.ended_at) == (os.getpid(), journal_module.boot_id(), None)


async def test_begin_of_an_unknown_model_writes_nothing(journal: Journal, database: Database) -> None:
    with pytest.raises(AppError) as caught:
        await begin(journal, "nobody")
    assert (caught.value.code, caught.value.status) == ("unknown_model", 404)
    assert await database.run(lambda session: session.exec(select(LoadAttempt)).all()) == []


async def test_a_success_is_recorded_with_where_it_was_earned(journal: Journal, database: Database) -> None:
    await add(database, last_error="earlier")
    begun = await begin(journal)
    attempt = await journal.succeed(begun.attempt_id, 1.25)
    model = await stored(database)
    assert (attempt.outcome, attempt.load_seconds, attempt.status_after) == (Outcome.LOADED, 1.25, Status.COMPATIBLE)
    assert attempt.ended_at == model.last_loaded
    assert (model.status, model.total_loads, model.good_in_a_row, model.last_error) == (Status.COMPATIBLE, 1, 1, None)
    assert (model.status_hardware, model.status_config_hash) == ("here", config_hash(CONFIG))


async def test_an_incompatible_model_works_its_way_up(journal: Journal, database: Database) -> None:
    await add(database, status=Status.INCOMPATIBLE)
    seen = []
    for _ in range(3):
        await good(journal)
        seen.append((await stored(database)).status)
    assert seen == [Status.DEGRADED, Status.DEGRADED, Status.COMPATIBLE]


async def test_a_failure_breaks_the_row_of_good_loads(journal: Journal, database: Database) -> None:
    await add(database, status=Status.DEGRADED, total_loads=5)
    await good(journal, 2)
    await bad(journal, CauseKind.HARDWARE)
    await good(journal, 2)
    assert ((await stored(database)).status, (await stored(database)).total_loads) == (Status.DEGRADED, 9)
    await good(journal)
    assert (await stored(database)).status is Status.COMPATIBLE


@pytest.mark.parametrize(("loads", "status"), [(0, "incompatible"), (2, "incompatible"), (3, "degraded")])
async def test_a_crash_is_judged_by_the_good_loads_before(
    journal: Journal, database: Database, loads: int, status: str
) -> None:
    await add(database, notes="earlier\nnotes")
    await good(journal, loads)
    begun = await begin(journal)
    long = cause(CauseKind.HARDWARE, "Crash: " + "x" * 500)
    attempt = await journal.fail(begun.attempt_id, Failure(long, signal="SIGABRT", log_tail="last line"))
    model = await stored(database)
    assert (attempt.outcome, attempt.signal, attempt.log_tail) == (Outcome.FAILED, "SIGABRT", "last line")
    assert (attempt.failure_class, attempt.error, attempt.hint) == ("hardware-class", long.sentence, "Do this.")
    assert (await row(database, begun.attempt_id)).cause_kind is CauseKind.HARDWARE
    assert (model.status, model.good_in_a_row, model.total_loads) == (status, 0, loads)
    first, *earlier = model.notes.split("\n")
    assert earlier == ["earlier", "notes"]
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d · ", first)
    if status == "degraded":
        assert f"Intermittent issue detected (loaded successfully 3 times before): {long.sentence[:150]} " in first
        assert long.sentence[:151] not in first
    else:
        assert first.endswith(f"Hardware incompatibility detected: {long.sentence[:200]}")


@pytest.mark.parametrize("before", [Status.UNKNOWN, Status.COMPATIBLE, Status.DEGRADED, Status.INCOMPATIBLE])
@pytest.mark.parametrize("kind", [CauseKind.CAPACITY, CauseKind.ENVIRONMENT])
async def test_other_causes_keep_the_status_and_say_what_happened(
    journal: Journal, database: Database, before: Status, kind: CauseKind
) -> None:
    await add(database, status=before, notes="earlier", status_hardware="there", status_config_hash="old")
    begun = await begin(journal)
    attempt = await journal.fail(begun.attempt_id, Failure(cause(kind, "Port 8080 is in use."), exit_code=1))
    model = await stored(database)
    assert (model.status, attempt.status_after, attempt.exit_code) == (before, before, 1)
    assert "Port 8080 is in use." in model.notes.splitlines()[0]
    assert model.notes.endswith("\nearlier")
    assert (model.status_hardware, model.status_config_hash) == ("there", "old")


async def test_what_exceeds_the_card_is_incompatible(journal: Journal, database: Database) -> None:
    await add(database)
    await bad(journal, CauseKind.CAPACITY, exceeds_card=True)
    model = await stored(database)
    assert (model.status, model.status_hardware) == (Status.INCOMPATIBLE, "here")


async def test_a_cancel_leaves_no_trace_but_its_attempt(journal: Journal, database: Database) -> None:
    await add(database, status=Status.DEGRADED, notes="mine", good_in_a_row=2, total_loads=2, status_hardware="there")
    before = (await stored(database)).model_dump()
    attempt = await journal.cancel((await begin(journal)).attempt_id, "You cancelled the load.")
    assert (attempt.outcome, attempt.error, attempt.status_after) == (
        Outcome.CANCELLED, "You cancelled the load.", Status.DEGRADED,
    )  # fmt: skip
    assert (await stored(database)).model_dump() == before


async def test_an_attempt_ends_only_once(journal: Journal, database: Database) -> None:
    await add(database)
    begun = await begin(journal)
    ended = await journal.cancel(begun.attempt_id, "enough")
    assert await journal.succeed(begun.attempt_id, 1) == ended
    assert await journal.fail(begun.attempt_id, Failure(cause(CauseKind.HARDWARE))) == ended
    model = await stored(database)
    assert (model.status, model.total_loads, model.notes) == (Status.UNKNOWN, 0, "")


async def test_an_attempt_of_a_removed_model_is_said_to_be_gone(journal: Journal, database: Database) -> None:
    await add(database)
    begun = await begin(journal)
    await database.run(lambda session: session.delete(session.get_one(Model, "tiny")))
    with pytest.raises(AppError) as caught:
        await journal.succeed(begun.attempt_id, 1)
    assert caught.value.code == "unknown_attempt"


async def test_a_failure_is_recorded_whatever_the_engine_printed(journal: Journal, database: Database) -> None:
    await add(database)
    begun = await begin(journal)
    odd = cause(CauseKind.HARDWARE, "It \0died on \udcff.", "\ud800 line")
    attempt = await journal.fail(begun.attempt_id, Failure(odd, log_tail="x" * 50_000 + "\udcfe\0 end"))
    assert attempt.error == "It died on ?.\n? line"
    assert attempt.log_tail.endswith("x? end")
    assert len(attempt.log_tail) < 20_000
    assert (await stored(database)).status is Status.INCOMPATIBLE


async def test_a_crash_while_serving_is_judged_like_a_failed_load(journal: Journal, database: Database) -> None:
    await add(database)
    begun = await begin(journal)
    await journal.succeed(begun.attempt_id, 3.0)
    crash = Failure(cause(CauseKind.HARDWARE), signal="SIGSEGV", log_tail="segfault")
    attempt = await journal.crashed_after_load("tiny", begun.attempt_id, crash)
    again = await journal.crashed_after_load("tiny", begun.attempt_id, crash)
    model = await stored(database)
    assert (attempt.outcome, attempt.signal, attempt.load_seconds) == (Outcome.FAILED, "SIGSEGV", 3.0)
    assert again == attempt
    assert (model.status, model.good_in_a_row, model.total_loads) == (Status.INCOMPATIBLE, 0, 1)
    assert len(model.notes.splitlines()) == 1


async def test_a_late_crash_report_does_not_end_the_testing_of_the_next_load(
    journal: Journal, database: Database
) -> None:
    await add(database)
    first = await begin(journal)
    await journal.succeed(first.attempt_id, 1)
    second = await begin(journal)
    await journal.crashed_after_load("tiny", first.attempt_id, Failure(cause(CauseKind.HARDWARE)))
    assert (await stored(database)).status is Status.TESTING
    cancelled = await journal.cancel(second.attempt_id, "")
    assert cancelled.status_after is Status.INCOMPATIBLE


async def test_a_load_that_was_left_open_does_not_hide_the_status_before(journal: Journal, database: Database) -> None:
    await add(database, status=Status.INCOMPATIBLE)
    first = await begin(journal)
    second = await begin(journal)
    assert second.status_before is Status.INCOMPATIBLE
    assert (await row(database, first.attempt_id)).outcome is Outcome.INTERRUPTED
    await journal.cancel(second.attempt_id, "")
    assert (await stored(database)).status is Status.INCOMPATIBLE


async def test_a_caller_cancelled_during_begin_leaves_nothing_testing(journal: Journal, database: Database) -> None:
    await add(database, status=Status.COMPATIBLE)
    await good(journal)
    gate, inside = threading.Event(), threading.Event()
    blocking = asyncio.ensure_future(database.run(lambda _: (inside.set(), gate.wait(20))))
    await asyncio.to_thread(inside.wait, 20)
    beginning = asyncio.ensure_future(begin(journal))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    beginning.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    await blocking
    newest = (await journal.attempts("tiny"))[0]
    assert ((await stored(database)).status, newest.outcome) == (Status.COMPATIBLE, Outcome.CANCELLED)


async def test_recovery_names_what_was_cut_off_and_its_engines(journal: Journal, database: Database) -> None:
    await add(database, "fresh", notes="mine")
    await add(database, "proven", total_loads=3, good_in_a_row=3, status=Status.COMPATIBLE)
    await add(database, "forced", total_loads=9, status=Status.INCOMPATIBLE)
    await add(database, "orphan", status=Status.TESTING)
    await add(database, "calm", status=Status.COMPATIBLE, notes="left alone")
    fresh, proven, forced = [await begin(journal, name) for name in ("fresh", "proven", "forced")]
    await journal.set_engine(fresh.attempt_id, 4321, 99.5, 7777)
    found = sorted(await journal.recover())
    assert found == [
        Recovered("forced", Status.DEGRADED, forced.attempt_id),
        Recovered("fresh", Status.INCOMPATIBLE, fresh.attempt_id, 4321, 99.5, 7777),
        Recovered("orphan", Status.INCOMPATIBLE),
        Recovered("proven", Status.DEGRADED, proven.attempt_id),
    ]
    fresh_model, proven_model = await stored(database, "fresh"), await stored(database, "proven")
    first, second = fresh_model.notes.split("\n")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d · .*crashed during the compatibility test\.", first)
    assert second == "mine"
    assert "loaded successfully 3 times before" in proven_model.notes
    assert (proven_model.good_in_a_row, proven_model.total_loads) == (0, 3)
    assert fresh_model.status_hardware == "here"
    attempt = (await journal.attempts("fresh"))[0]
    assert (attempt.outcome, attempt.status_after) == (Outcome.INTERRUPTED, Status.INCOMPATIBLE)
    assert attempt.ended_at is not None
    calm = await stored(database, "calm")
    assert (calm.status, calm.notes) == (Status.COMPATIBLE, "left alone")
    assert await journal.recover() == []


async def test_engines_of_an_earlier_boot_are_not_named(
    journal: Journal, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(database)
    loaded = await begin(journal)
    await journal.set_engine(loaded.attempt_id, 10, 1.0, 7001)
    await journal.succeed(loaded.attempt_id, 1)
    cut_off = await begin(journal)
    await journal.set_engine(cut_off.attempt_id, 11, 2.0, 7002)
    assert await journal.engine_traces() == [EngineTrace("tiny", 11, 2.0, 7002), EngineTrace("tiny", 10, 1.0, 7001)]
    monkeypatch.setattr(journal_module, "boot_id", lambda: "another boot")
    assert await journal.engine_traces() == []
    assert (await journal.recover())[0].engine_pid is None


@pytest.mark.parametrize("word", ["testing", "great", "", "Compatible"])
async def test_words_that_are_no_choice_are_refused(journal: Journal, database: Database, word: str) -> None:
    await add(database)
    with pytest.raises(AppError) as caught:
        await journal.set_by_person("tiny", word, "new notes", {"a": 1})
    model = await stored(database)
    assert (caught.value.code, caught.value.status) == ("bad_status", 400)
    assert "compatible" in caught.value.hint
    assert "testing" not in caught.value.hint
    assert (model.notes, model.load_config) == ("", CONFIG)


@pytest.mark.parametrize("word", ["unknown", "compatible", "degraded", "incompatible"])
async def test_a_person_sets_any_other_status(journal: Journal, database: Database, word: str) -> None:
    await add(database, status=Status.DEGRADED, good_in_a_row=2, status_hardware="there", notes="kept")
    await journal.set_by_person("tiny", word, None, {"ctx_size": 512})
    model = await stored(database)
    assert (model.status, model.notes, model.good_in_a_row) == (word, "kept", 0)
    assert (model.status_hardware, model.status_config_hash) == ("here", config_hash({"ctx_size": 512}))


async def test_only_what_a_person_gave_changes(journal: Journal, database: Database) -> None:
    await add(database, status=Status.COMPATIBLE, status_config_hash="old", status_hardware="there", notes="old")
    await journal.set_by_person("tiny", None, "", {"a": 1})
    model = await stored(database)
    assert (model.status, model.notes, model.load_config) == (Status.COMPATIBLE, "", {"a": 1})
    assert (model.status_config_hash, model.status_hardware) == ("old", "there")
    with pytest.raises(AppError) as caught:
        await journal.set_by_person("nobody", "compatible")
    assert caught.value.code == "unknown_model"


async def test_a_persons_status_during_a_load_is_where_the_load_starts_from(
    journal: Journal, database: Database
) -> None:
    await add(database)
    begun = await begin(journal)
    await journal.set_by_person("tiny", "incompatible")
    assert (await stored(database)).status is Status.TESTING
    assert (await journal.succeed(begun.attempt_id, 1)).status_after is Status.DEGRADED


async def test_attempts_come_newest_first_and_only_so_many_are_kept(
    journal: Journal, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "ATTEMPTS_KEPT", 4)
    await add(database)
    await add(database, "other")
    other = await begin(journal, "other")
    ids = [(await begin(journal)).attempt_id for _ in range(7)]
    assert [attempt.id for attempt in await journal.attempts("tiny")] == ids[:2:-1]
    assert [attempt.id for attempt in await journal.attempts("other")] == [other.attempt_id]
    with pytest.raises(AppError):
        await journal.attempts("nobody")


async def test_the_usual_time_is_the_median_of_the_newest_good_loads(journal: Journal, database: Database) -> None:
    await add(database)
    assert await journal.usual_load_seconds("tiny") is None
    for seconds in (500, 400, 3, 1, 2, 90, 4):
        await good(journal, 1, seconds)
    await bad(journal, CauseKind.ENVIRONMENT)
    assert await journal.usual_load_seconds("tiny") == 3


async def test_a_refused_write_changes_nothing(
    journal: Journal, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(database, notes="mine")
    begun = await begin(journal)

    def refuse(_session: Session, _name: str | None = None) -> list[LoadAttempt]:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(records, "running", refuse)
        with pytest.raises(AppError) as caught:
            await journal.fail(begun.attempt_id, Failure(cause(CauseKind.HARDWARE)))
    assert caught.value.code == "disk_full"
    assert ((await stored(database)).notes, (await row(database, begun.attempt_id)).outcome) == (
        "mine", Outcome.RUNNING,
    )  # fmt: skip
    assert (await journal.fail(begun.attempt_id, Failure(cause(CauseKind.HARDWARE)))).outcome is Outcome.FAILED


async def test_how_long_a_model_is_left_alone_outlives_a_restart(journal: Journal, database: Database) -> None:
    await add(database)
    until = datetime.now(UTC) + timedelta(seconds=30)
    for failures in (1, 2):
        await journal.set_pause("tiny", Pause(failures, until))
    assert await Journal(database).pauses() == {"tiny": Pause(2, until)}
    await journal.set_pause("tiny", None)
    await journal.set_pause("tiny", None)
    assert await journal.pauses() == {}


async def test_a_removed_model_is_not_left_alone(journal: Journal, database: Database) -> None:
    await add(database)
    pause = Pause(1, datetime.now(UTC))
    await journal.set_pause("tiny", pause)
    await database.run(lambda session: session.delete(session.get_one(Model, "tiny")))
    await journal.set_pause("tiny", pause)
    assert await journal.pauses() == {}

"""The event log: order, replay, slow readers, what is stored."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncGenerator

import pytest
from pydantic import BaseModel
from sqlmodel import Session, select

from quarterdeck.errors import AppError
from quarterdeck.schemas.events import Event, Topic
from quarterdeck.settings import Folders
from quarterdeck.storage import events as events_module
from quarterdeck.storage.database import Database
from quarterdeck.storage.events import EventLog
from quarterdeck.storage.tables import StoredEvent


@pytest.fixture
def log(database: Database) -> EventLog:
    return EventLog(database)


async def take(stream: AsyncGenerator[Event, None], count: int) -> list[Event]:
    return [await asyncio.wait_for(anext(stream), 20) for _ in range(count)]


async def rest(stream: AsyncGenerator[Event, None]) -> list[Event]:
    return [event async for event in stream]


def stored(session: Session) -> list[tuple[str, str]]:
    return [(row.topic, row.type) for row in session.exec(select(StoredEvent).order_by(StoredEvent.id))]


def kinds(events: list[Event]) -> list[tuple[Topic, str]]:
    return [(event.topic, event.type) for event in events]


RESET = (Topic.STREAM, "reset")


async def test_a_reader_gets_its_topics_in_order(log: EventLog) -> None:
    stream = log.subscribe([Topic.MODEL, Topic.GPU])
    sent = [log.publish(Topic.MODEL, "changed", {"n": 1}), log.publish(Topic.GPU, "sample", {"n": 2})]
    log.publish(Topic.BACKEND, "changed", {})
    sent.append(log.publish(Topic.MODEL, "removed", {"n": 3}))
    assert await take(stream, 3) == sent
    assert [event.id for event in sent] == sorted({event.id for event in sent})


async def test_a_waiting_reader_wakes_up(log: EventLog) -> None:
    stream = log.subscribe([Topic.MODEL])
    waiting = asyncio.ensure_future(take(stream, 1))
    await asyncio.sleep(0)
    sent = log.publish(Topic.MODEL, "changed", {})
    assert await waiting == [sent]


async def test_a_typed_payload_is_sent_as_json_values(log: EventLog) -> None:
    class Payload(BaseModel):
        topic: Topic

    assert log.publish(Topic.ISSUE, "raised", Payload(topic=Topic.GPU)).data == {"topic": "gpu"}


async def test_missed_events_are_replayed(log: EventLog) -> None:
    seen = log.publish(Topic.MODEL, "changed", {"n": 0})
    missed = [log.publish(topic, "changed", {}) for topic in (Topic.MODEL, Topic.BACKEND, Topic.LOG, Topic.MODEL)]
    stream = log.subscribe([Topic.MODEL, Topic.LOG], seen.id)
    later = log.publish(Topic.MODEL, "changed", {})
    assert await take(stream, 4) == [missed[0], missed[2], missed[3], later]
    nothing_missed = log.subscribe([Topic.MODEL], later.id)
    newest = log.publish(Topic.MODEL, "changed", {})
    assert await take(nothing_missed, 1) == [newest]


async def test_an_id_older_than_the_ring_begins_with_a_reset(database: Database) -> None:
    log = EventLog(database, keep=10)
    sent = [log.publish(Topic.MODEL, "changed", {"n": n}) for n in range(12)]
    assert await take(log.subscribe([Topic.MODEL], sent[1].id), 10) == sent[2:]
    too_old = log.subscribe([Topic.MODEL], sent[0].id)
    later = log.publish(Topic.MODEL, "changed", {})
    first, second = await take(too_old, 2)
    assert kinds([first]) == [RESET]
    assert second == later
    assert first.id == sent[-1].id


async def test_an_id_of_an_earlier_or_of_no_run_begins_with_a_reset(log: EventLog) -> None:
    log.publish(Topic.MODEL, "changed", {})
    for last_id in (0, 5, 2**60):
        assert kinds(await take(log.subscribe([Topic.MODEL], last_id), 1)) == [RESET]


@pytest.mark.parametrize("many", [Topic.GPU, Topic.LOG, Topic.REQUEST])
async def test_what_comes_by_the_hundred_does_not_push_out_other_events(database: Database, many: Topic) -> None:
    log = EventLog(database, keep=20)
    seen = log.publish(Topic.MODEL, "changed", {})
    missed = log.publish(Topic.MODEL, "changed", {})
    for _ in range(500):
        log.publish(many, "many", {})
    assert await take(log.subscribe([Topic.MODEL], seen.id), 1) == [missed]
    assert kinds(await take(log.subscribe([Topic.MODEL, many], seen.id), 1)) == [RESET]


async def test_a_slow_reader_is_told_to_read_anew(database: Database) -> None:
    log = EventLog(database, queue_limit=5)
    slow, quick = log.subscribe([Topic.MODEL]), log.subscribe([Topic.BACKEND])
    sent = [log.publish(Topic.MODEL, "changed", {"n": n}) for n in range(8)]
    log.publish(Topic.BACKEND, "changed", {})
    first, *others = await take(slow, 3)
    assert kinds([first]) == [RESET]
    assert first.id == sent[5].id
    assert others == sent[6:]
    assert kinds(await take(quick, 1)) == [(Topic.BACKEND, "changed")]


async def test_stream_events_reach_everybody(log: EventLog) -> None:
    stream = log.subscribe([Topic.SETTING])
    log.publish(Topic.STREAM, "reset", {})
    assert kinds(await take(stream, 1)) == [RESET]


async def test_watched_follows_the_readers(log: EventLog) -> None:
    changes: list[bool] = []
    log.watch_changed = lambda: changes.append(log.watched(Topic.GPU))
    first = log.subscribe([Topic.GPU, Topic.MODEL])
    second = log.subscribe([Topic.GPU])
    log.publish(Topic.GPU, "sample", {})
    await take(first, 1)
    await first.aclose()
    assert log.watched(Topic.GPU)
    assert not log.watched(Topic.MODEL)
    del second
    gc.collect()
    assert not log.watched(Topic.GPU)
    assert changes == [True, True, False]


async def test_a_cancelled_reader_is_gone(log: EventLog) -> None:
    stream = log.subscribe([Topic.GPU])
    reading = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not log.watched(Topic.GPU)


async def test_closing_ends_all_readers_after_what_they_have_not_read(log: EventLog) -> None:
    idle, behind = log.subscribe([Topic.GPU]), log.subscribe([Topic.MODEL])
    waiting = asyncio.ensure_future(rest(idle))
    await asyncio.sleep(0)
    sent = log.publish(Topic.MODEL, "changed", {})
    log.close()
    assert await asyncio.wait_for(waiting, 20) == []
    assert await rest(behind) == [sent]
    assert await rest(log.subscribe([Topic.MODEL], 0)) == []


async def test_events_worth_keeping_are_stored(log: EventLog, database: Database) -> None:
    for topic in Topic:
        log.publish(topic, "changed", {})
    log.publish(Topic.MODEL, "removed", {"name": "tiny"})
    await log.flush()
    assert await database.run(stored) == [
        ("attempt", "changed"), ("backend", "changed"), ("issue", "changed"), ("setting", "changed"),
        ("model", "removed"),
    ]  # fmt: skip


async def test_only_the_newest_stored_events_are_kept(
    log: EventLog, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "STORED_KEPT", 7)
    for number in range(20):
        log.publish(Topic.ISSUE, str(number), {})
        if number % 6 == 0:
            await log.flush()
    await log.flush()
    assert [type_ for _, type_ in await database.run(stored)] == [str(number) for number in range(13, 20)]


async def test_events_that_cannot_be_stored_now_are_stored_later(
    log: EventLog, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(_work: object) -> None:
        raise AppError("disk_full", "There is no space left.", "Free some.")

    with monkeypatch.context() as patch:
        patch.setattr(database, "run", refuse)
        log.publish(Topic.ISSUE, "first", {})
        await log.flush()
    assert "There is no space left." in caplog.text
    log.publish(Topic.ISSUE, "second", {})
    await log.flush()
    assert await database.run(stored) == [("issue", "first"), ("issue", "second")]


async def test_ids_grow_over_restarts_even_when_the_clock_goes_back(
    places: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(places)
    database.open()
    before = time.time_ns() // 1_000_000
    first = EventLog(database)
    old = first.publish(Topic.ISSUE, "raised", {})
    assert old.id > before
    await first.flush()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
    second = EventLog(database)
    await second.restore()
    assert kinds(await take(second.subscribe([Topic.ISSUE], old.id - 1), 1)) == [RESET]
    assert second.publish(Topic.ISSUE, "raised", {}).id == old.id + 1
    await second.flush()
    database.close()

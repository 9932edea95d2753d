"""The queue: its order, overtaking, the shortest stay, limits, and loads that nobody waits for any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scheduler_bench import Bench
from scheduler_world import World, model

from quarterdeck.scheduling.loads import Loads
from quarterdeck.scheduling.queue import load_timeout
from quarterdeck.schemas.events import Topic
from quarterdeck.schemas.models import Outcome, Phase

Worlds = Callable[..., World]
A, B, C = model("a"), model("b"), model("c")


def test_requests_that_come_a_b_a_b_are_served_a_a_b_b(world: Worlds) -> None:
    here = world(A, B)
    requests = [here.begin(here.use(name, 1.0)) for name in "abab"]
    here.loop.advance(60)
    places = [request.result() for request in requests]
    assert sorted(range(4), key=lambda index: places[index]) == [0, 2, 1, 3]
    assert here.said == ["load a", "unload a", "load b"]


def test_models_take_turns_in_the_order_they_came(world: Worlds) -> None:
    here = world(A, B, C)
    for name in "cab":
        here.begin(here.use(name))
    here.loop.advance(60)
    assert [each for each in here.said if each.startswith("load")] == ["load c", "load a", "load b"]


@pytest.mark.parametrize("limit", [0, 2])
def test_only_so_many_requests_overtake_a_waiting_model(world: Worlds, limit: int) -> None:
    here = world(A, B, overtake_limit=limit)
    here.begin(here.use("a", 20.0))
    here.loop.advance(5)
    waiting = here.begin(here.use("b"))
    here.loop.advance(1)
    later = [here.begin(here.use("a")) for _ in range(4)]
    here.loop.advance(1)
    assert [request.done() for request in later] == [True] * limit + [False] * (4 - limit)
    here.loop.advance(60)
    assert waiting.result() < later[-1].result()


def test_who_is_idle_already_takes_no_request_while_others_who_leave_are_busy(world: Worlds) -> None:
    here = world(model("a", group="g"), model("b", group="g"), C, overtake_limit=5)
    here.run(here.use("a"))
    busy = here.begin(here.use("b", 20.0))
    here.loop.advance(5)
    waiting = here.begin(here.use("c"))
    here.loop.advance(1)
    late = here.begin(here.use("a", 100.0))
    here.run(waiting)
    assert busy.done()
    assert here.run(late) > waiting.result()


def test_a_model_stays_for_its_shortest_stay_and_is_used_meanwhile(world: Worlds) -> None:
    here = world(A, B, minimum_residence=10, overtake_limit=0)
    here.run(here.use("a"))
    ready = here.loop.time()
    waiting = here.begin(here.use("b"))
    here.loop.advance(5)
    assert here.run(here.use("a")) < ready + 6
    assert here.queue() == {"b"}
    here.loop.advance(10)
    assert waiting.done()
    assert ready + 9.5 < here.when("unload a") < ready + 11


def test_a_person_does_not_wait_for_the_shortest_stay(world: Worlds) -> None:
    here = world(A, B, minimum_residence=1000)
    here.run(here.use("a"))
    request = here.begin(here.use("b"))
    here.loop.advance(5)
    assert "b" not in here.scheduler.loaded
    here.run(here.scheduler.load("b"))
    assert request.done() or here.run(request)
    assert here.loop.time() < 20


def test_a_full_queue_refuses_further_requests(world: Worlds) -> None:
    here = world(A, B, queue_limit=2)
    waiting = [here.begin(here.use("a")) for _ in range(2)]
    error = here.refused(here.use("b"))
    assert (error.code, error.status) == ("queue_full", 503)
    assert int(str(error.details["retry_after"])) >= 1
    here.loop.advance(10)
    assert all(each.done() for each in waiting)
    here.run(here.use("b"))


def test_who_is_served_by_the_loaded_model_does_not_count_as_waiting(world: Worlds) -> None:
    here = world(A, B, queue_limit=1)
    here.run(here.use("a"))
    holding = [here.begin(here.use("a", 5.0)) for _ in range(3)]
    here.begin(here.use("b"))
    assert here.refused(here.use("b")).code == "queue_full"
    here.loop.advance(60)
    assert all(each.done() for each in holding)


def test_the_queue_tells_places_waiters_and_times(world: Worlds) -> None:
    here = world(A, B, C)
    here.journal.usual = 10.0
    here.seconds = dict.fromkeys("abc", 10.0)
    for name in "abbc":
        here.begin(here.use(name))
    here.loop.advance(4)

    async def queue() -> list[tuple[str, int, int, float]]:
        entries = here.scheduler.queue
        assert all(3 < entry.waiting_s < 5 for entry in entries)
        assert all(entry.why for entry in entries)
        return [(each.model, each.position, each.waiters, round(each.expected_s or 0)) for each in entries]

    assert here.run(queue()) == [("a", 0, 1, 6), ("b", 1, 2, 16), ("c", 2, 1, 26)]
    assert [here.catalog.get(name).queue_position for name in "abc"] == [0, 1, 2]
    here.loop.advance(60)
    assert [here.catalog.get(name).queue_position for name in "abc"] == [None] * 3


async def test_changes_of_the_queue_are_published(bench: Bench) -> None:
    await asyncio.gather(bench.scheduler.load("alpha"), bench.scheduler.load("beta"))

    def told() -> list[list[str]]:
        events = [event.data["entries"] for event in bench.heard if event.topic is Topic.QUEUE]
        return [[entry["model"] for entry in entries] for entries in events]

    await bench.until(lambda: told() and told()[-1] == [])
    assert ["alpha", "beta"] in told()
    assert ["beta"] in told()


def test_a_load_that_no_request_waits_for_any_more_is_ended(world: Worlds) -> None:
    here = world(A, B)
    here.seconds["a"] = 100.0
    requests = [here.begin(here.use("a")) for _ in range(2)]
    other = here.begin(here.use("b"))
    here.loop.advance(5)
    requests[0].cancel()
    here.loop.advance(5)
    assert here.said == ["load a"]
    requests[1].cancel()
    here.loop.advance(5)
    assert here.said == ["load a", "cancel a", "load b"]
    assert other.done()
    assert here.journal.ended[0] == ("a", Outcome.CANCELLED)


def test_a_load_that_a_person_wants_goes_on_without_requests(world: Worlds) -> None:
    here = world(A)
    here.seconds["a"] = 100.0
    request = here.begin(here.use("a"))
    here.begin(here.scheduler.load("a"))
    request.cancel()
    here.loop.advance(200)
    assert here.said == ["load a"]
    assert "a" in here.scheduler.loaded


def test_a_request_that_comes_while_its_load_is_being_ended_gets_a_new_one(world: Worlds) -> None:
    here = world(A)
    here.seconds["a"] = 100.0
    first = here.begin(here.use("a"))
    here.loop.advance(5)
    first.cancel()
    here.loop.advance(0)
    assert here.catalog.get("a").phase is Phase.CANCELLING
    here.seconds["a"] = 1.0
    here.run(here.use("a"))
    assert here.said == ["load a", "cancel a", "load a"]


def test_a_place_that_was_given_to_a_client_who_left_is_given_back(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(*arguments: Any) -> None:
        real(*arguments)
        request.cancel()

    real = Loads._answer
    monkeypatch.setattr(Loads, "_answer", answer)
    here = world(A)
    request = here.begin(here.use("a", 1000.0))
    here.loop.advance(10)
    assert request.cancelled()
    assert here.instances["a"].active_requests == 0


def test_all_requests_hear_of_a_failure_at_once(world: Worlds) -> None:
    here = world(A)
    here.crashing.add("a")
    requests = [here.begin(here.use("a")) for _ in range(3)]
    here.loop.advance(10)
    assert {here.refused(each).status for each in requests} == {424}
    assert here.said == ["load a", "crash a"]


def test_what_is_not_loaded_is_refused_when_nothing_is_loaded_on_request(world: Worlds) -> None:
    here = world(A, B, autostart=False)
    error = here.refused(here.use("a"))
    assert (error.code, error.status) == ("not_loaded", 424)
    assert "Load on request" in error.hint
    loading = here.begin(here.scheduler.load("a"))
    here.run(here.use("a"))
    assert loading.done()
    here.run(here.use("a"))


def test_models_elsewhere_wait_for_nobody(world: Worlds) -> None:
    here = world(A, model("far", "gateway"), model("lan", url="http://192.168.7.9:8000"))
    here.seconds["a"] = 100.0
    here.begin(here.use("a"))
    here.loop.advance(1)
    here.run(here.use("far"))
    here.run(here.use("lan"))
    assert here.loop.time() < 50
    here.loop.advance(200)
    assert set(here.scheduler.loaded) == {"a", "far", "lan"}


@given(limit=st.floats(5, 86400), usual=st.none() | st.floats(0, 100_000))
def test_a_load_may_take_as_long_as_it_could_sensibly_take(limit: float, usual: float | None) -> None:
    timeout = load_timeout(limit, usual)
    assert timeout <= limit
    assert usual is not None or timeout == limit
    assert usual is None or timeout == limit or timeout >= max(60.0, 9.99 * usual)


def test_the_usual_time_bounds_the_load(world: Worlds) -> None:
    here = world(A, load_timeout=600)
    here.journal.usual = 3.0
    here.run(here.scheduler.load("a"))
    assert here.timeouts == [60.0]

"""Cancelling, unloading, crashing, closing: how loads and loaded models end."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from fake_backend import Act
from scheduler_bench import Bench

from quarterdeck.backends.base import ExitReport
from quarterdeck.errors import AppError
from quarterdeck.schemas.models import Outcome, Phase, Status


async def refused(work: object) -> AppError:
    with pytest.raises(AppError) as caught:
        await work  # type: ignore[misc]
    return caught.value


async def begin(bench: Bench, name: str, *, until: Phase | None = None) -> asyncio.Task[object]:
    """A load that waits in its engine, or in the queue."""
    bench.backend.plan[name] = Act.WAIT
    loading = asyncio.ensure_future(bench.scheduler.load(name))
    await (bench.until_waiting(name) if until is None else bench.until_phase(name, until))
    return loading  # type: ignore[return-value]


async def test_a_cancel_while_starting_ends_the_engine_and_keeps_the_status(bench: Bench) -> None:
    loading = await begin(bench, "alpha")
    await bench.scheduler.cancel("alpha")
    assert bench.backend.cancelled == ["alpha"]
    error = await refused(loading)
    assert (error.code, error.status) == ("load_cancelled", 409)
    view = bench.get("alpha")
    assert (view.status, view.phase, view.last_error) == (Status.UNKNOWN, Phase.UNLOADED, None)
    [attempt] = await bench.attempts("alpha")
    assert (attempt.outcome, attempt.error) == (Outcome.CANCELLED, "cancelled by the user")


async def test_a_second_cancel_waits_for_the_engine_too(bench: Bench) -> None:
    bench.backend.slow_stop = True
    loading = await begin(bench, "alpha")
    first = asyncio.ensure_future(bench.scheduler.cancel("alpha"))
    await bench.until_phase("alpha", Phase.CANCELLING)
    await bench.scheduler.cancel()
    await first
    assert bench.backend.cancelled == ["alpha"]
    await refused(loading)


async def test_a_cancel_while_queued_leaves_no_attempt(bench: Bench) -> None:
    first = await begin(bench, "alpha")
    second = await begin(bench, "beta", until=Phase.QUEUED)
    await bench.scheduler.cancel("beta")
    assert (await refused(second)).code == "load_cancelled"
    assert await bench.attempts("beta") == []
    assert [entry.model for entry in bench.scheduler.queue] == ["alpha"]
    bench.backend.let_go("alpha")
    await first


async def test_a_cancel_without_a_name_means_the_oldest_load(bench: Bench) -> None:
    first = await begin(bench, "alpha")
    second = await begin(bench, "beta", until=Phase.QUEUED)
    bench.backend.let_go("beta")
    await bench.scheduler.cancel()
    assert (await refused(first)).code == "load_cancelled"
    await second
    assert bench.get("beta").loaded


async def test_a_cancel_after_the_load_is_refused(bench: Bench) -> None:
    await bench.scheduler.load("alpha")
    for error in (await refused(bench.scheduler.cancel("alpha")), await refused(bench.scheduler.cancel())):
        assert (error.code, error.status) == ("not_loading", 409)
    assert bench.get("alpha").loaded


async def test_a_cancel_that_comes_too_late_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    loading = await begin(bench, "alpha")
    writing, written = asyncio.Event(), asyncio.Event()
    succeed = bench.journal.succeed

    async def slow(attempt_id: int, seconds: float) -> object:
        writing.set()
        await written.wait()
        return await succeed(attempt_id, seconds)

    monkeypatch.setattr(bench.journal, "succeed", slow)
    bench.backend.let_go("alpha")
    await writing.wait()
    cancelling = asyncio.ensure_future(bench.scheduler.cancel("alpha"))
    await asyncio.sleep(0)
    written.set()
    assert (await refused(cancelling)).code == "not_loading"
    await loading
    assert bench.get("alpha").loaded


async def test_a_cancelled_model_can_be_loaded_again(bench: Bench) -> None:
    loading = await begin(bench, "alpha")
    await bench.scheduler.cancel("alpha")
    await refused(loading)
    bench.backend.plan.clear()
    await bench.scheduler.load("alpha")
    assert bench.get("alpha").status is Status.COMPATIBLE


async def test_unload(bench: Bench) -> None:
    await bench.scheduler.load("alpha")
    assert await bench.scheduler.unload() == "alpha"
    assert bench.get("alpha").phase is Phase.UNLOADED
    for error in (await refused(bench.scheduler.unload()), await refused(bench.scheduler.unload("alpha"))):
        assert (error.code, error.status) == ("not_loaded", 409)


async def test_unload_of_another_model_is_refused(bench: Bench) -> None:
    await bench.scheduler.load("alpha")
    assert (await refused(bench.scheduler.unload("beta"))).code == "not_loaded"
    assert (await refused(bench.scheduler.unload("nobody"))).code == "unknown_model"
    assert bench.get("alpha").loaded


async def test_an_eviction_waits_for_running_requests(bench: Bench) -> None:
    async with bench.scheduler.lease("alpha"), contextlib.AsyncExitStack() as second:
        await second.enter_async_context(bench.scheduler.lease("alpha"))
        evicting = asyncio.ensure_future(bench.scheduler.load("beta"))
        await bench.until_phase("alpha", Phase.UNLOADING)
        await second.aclose()
        assert bench.backend.unloads == []
    await evicting
    assert bench.backend.unloads == ["alpha"]
    assert bench.get("beta").loaded


async def test_who_waits_too_long_for_a_busy_model_is_told_who_holds_the_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarterdeck.scheduling.room.DRAIN_SECONDS", 0.01)
    async with bench.scheduler.lease("alpha"):
        error = await refused(bench.scheduler.load("beta"))
        assert (error.code, error.status, error.details["holders"]) == ("busy", 503, ["alpha"])
        assert int(str(error.details["retry_after"])) >= 1
        assert "“alpha” (1 request)" in error.sentence
        assert bench.get("alpha").phase is Phase.LOADED
    assert bench.backend.unloads == []
    assert await bench.attempts("beta") == []


async def test_new_requests_for_a_model_that_makes_room_wait_their_turn(bench: Bench) -> None:
    async def use(name: str) -> None:
        async with bench.scheduler.lease(name):
            order.append(name)

    order: list[str] = []
    async with bench.scheduler.lease("alpha"):
        evicting = asyncio.ensure_future(use("beta"))
        await bench.until_phase("alpha", Phase.UNLOADING)
        late = asyncio.ensure_future(use("alpha"))
        await bench.until(lambda: [entry.model for entry in bench.scheduler.queue] == ["beta", "alpha"])
    await asyncio.gather(evicting, late)
    assert order == ["beta", "alpha"]
    assert bench.get("alpha").loaded


async def test_a_cancelled_eviction_leaves_the_model_loaded(bench: Bench) -> None:
    async with bench.scheduler.lease("alpha"):
        evicting = asyncio.ensure_future(bench.scheduler.load("beta"))
        await bench.until_phase("alpha", Phase.UNLOADING)
        late = asyncio.ensure_future(bench.scheduler.load("alpha"))
        await bench.until(lambda: [entry.model for entry in bench.scheduler.queue] == ["beta", "alpha"])
        await bench.scheduler.cancel("beta")
        assert (await refused(evicting)).code == "load_cancelled"
        await late
        assert bench.get("alpha").phase is Phase.LOADED
    assert len(bench.backend.loads) == 1
    assert await bench.attempts("beta") == []


async def test_a_model_that_crashes_while_it_makes_room_is_unloaded_once(bench: Bench) -> None:
    async with bench.scheduler.lease("alpha"):
        evicting = asyncio.ensure_future(bench.scheduler.load("beta"))
        await bench.until_phase("alpha", Phase.UNLOADING)
        bench.backend.die("alpha")
        await bench.until_phase("alpha", Phase.UNLOADED)
    await evicting
    assert bench.backend.unloads == []
    assert bench.get("beta").loaded


async def test_a_crash_while_serving_is_recorded(bench: Bench) -> None:
    await bench.scheduler.load("alpha")
    bench.backend.die("alpha")
    await bench.until(lambda: bench.get("alpha").status is Status.INCOMPATIBLE)
    view = bench.get("alpha")
    assert (view.phase, view.loaded) == (Phase.UNLOADED, False)
    assert "SIGSEGV" in str(view.last_error)
    assert bench.scheduler.loaded == {}
    [attempt] = await bench.attempts("alpha")
    assert (attempt.outcome, attempt.signal) == (Outcome.FAILED, "SIGSEGV")
    assert attempt.load_seconds is not None


async def test_three_good_loads_make_a_crash_an_exception(bench: Bench) -> None:
    for _ in range(3):
        await bench.scheduler.load("alpha")
        await bench.scheduler.unload()
    await bench.scheduler.load("alpha")
    bench.backend.die("alpha", ExitReport(exit_code=None, signal="SIGABRT"))
    await bench.until(lambda: bench.get("alpha").status is Status.DEGRADED)
    await bench.scheduler.load("alpha")
    assert bench.get("alpha").loaded


async def test_an_engine_that_dies_at_once_is_not_taken_for_loaded(bench: Bench) -> None:
    bench.backend.plan["alpha"] = Act.WAIT
    loading = asyncio.ensure_future(bench.scheduler.load("alpha"))
    await bench.until_waiting("alpha")
    bench.backend.let_go("alpha")
    await bench.until(lambda: "alpha" in bench.backend.instances)
    bench.backend.die("alpha")
    await loading
    await bench.until_phase("alpha", Phase.UNLOADED)
    await bench.until(lambda: bench.get("alpha").status is Status.INCOMPATIBLE)


async def test_restart_loads_the_model_as_it_was_loaded(bench: Bench) -> None:
    await bench.scheduler.load("alpha", load_config={"n_ctx": 256})
    await bench.scheduler.restart("embedded")
    assert [dict(target.load_config) for target in bench.backend.loads] == [{"n_ctx": 256}] * 2
    assert (bench.backend.unloads, bench.get("alpha").loaded) == (["alpha"], True)


async def test_restart_of_a_forced_model_needs_no_second_word(bench: Bench) -> None:
    await bench.journal.set_by_person("alpha", "incompatible")
    await bench.catalog.refresh("alpha")
    await bench.scheduler.load("alpha", force=True)
    await bench.scheduler.restart("embedded")
    assert bench.get("alpha").loaded


async def test_start_loads_what_was_loaded_last(bench: Bench) -> None:
    error = await refused(bench.scheduler.start("embedded"))
    assert (error.code, error.status) == ("backend_not_running", 409)
    await bench.scheduler.load("alpha")
    await bench.scheduler.load("beta")
    await bench.scheduler.stop("embedded")
    await bench.scheduler.start("embedded")
    assert bench.get("beta").loaded
    await bench.scheduler.start("embedded")
    assert len(bench.backend.loads) == 3


@pytest.mark.parametrize("action", ["restart", "stop"])
async def test_what_does_not_run_cannot_be_restarted_or_stopped(bench: Bench, action: str) -> None:
    error = await refused(getattr(bench.scheduler, action)("embedded"))
    assert (error.code, error.status) == ("backend_not_running", 409)
    assert (await refused(getattr(bench.scheduler, action)("vllm"))).code == "unknown_backend"


async def test_closing_during_a_load_records_why_it_ended(bench: Bench) -> None:
    loading = await begin(bench, "alpha")
    waiting = await begin(bench, "beta", until=Phase.QUEUED)
    await bench.scheduler.close()
    assert (await refused(loading)).code == (await refused(waiting)).code == "load_cancelled"
    [attempt] = await bench.attempts("alpha")
    assert (attempt.outcome, attempt.error) == (Outcome.CANCELLED, "Quarterdeck was closed")
    assert bench.get("alpha").status is Status.UNKNOWN
    assert await bench.attempts("beta") == []
    assert [target.name for target in bench.backend.loads] == ["alpha"]
    assert (await refused(bench.scheduler.load("alpha"))).code == "load_cancelled"


async def test_closing_unloads_what_is_loaded_even_if_it_is_used(bench: Bench) -> None:
    async with bench.scheduler.lease("alpha"):
        await bench.scheduler.close()
        assert bench.backend.unloads == ["alpha"]


async def test_a_lease_for_a_model_that_fails_raises_its_error(bench: Bench) -> None:
    bench.backend.plan["alpha"] = Act.CRASH
    with pytest.raises(AppError) as caught:
        async with bench.scheduler.lease("alpha"):
            raise AssertionError("never reached")
    assert caught.value.status == 424


async def test_a_model_that_is_busy_is_not_removed(bench: Bench) -> None:
    loading = await begin(bench, "alpha")
    assert (await refused(bench.catalog.remove("alpha"))).code == "model_busy"
    bench.backend.let_go("alpha")
    await loading
    assert (await refused(bench.catalog.remove("alpha"))).code == "model_busy"
    await bench.scheduler.unload()
    await bench.catalog.remove("alpha")
    assert (await refused(bench.scheduler.load("alpha"))).code == "unknown_model"

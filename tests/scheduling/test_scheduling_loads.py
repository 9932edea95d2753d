"""The load protocol: one load for all, one model at a time, what is written and what is told."""

from __future__ import annotations

import asyncio

import pytest
from fake_backend import Act
from scheduler_bench import Bench

from quarterdeck.errors import AppError
from quarterdeck.schemas.models import Outcome, Phase, Status


async def refused(work: object) -> AppError:
    with pytest.raises(AppError) as caught:
        await work  # type: ignore[misc]
    return caught.value


async def test_a_load_goes_through_its_phases(bench: Bench) -> None:
    answer = await bench.scheduler.load("alpha")
    assert (answer.model_name, answer.model_type, answer.compatibility_status) == ("alpha", "llama", Status.COMPATIBLE)
    await bench.until(lambda: Phase.LOADED in bench.phases("alpha"))
    assert bench.phases("alpha") == [Phase.UNLOADED, Phase.QUEUED, Phase.LOADING, Phase.LOADED]
    assert bench.get("alpha").progress is None
    [attempt] = await bench.attempts("alpha")
    assert (attempt.outcome, attempt.hardware) == (Outcome.LOADED, "this machine")


async def test_testing_is_written_before_the_engine_starts(bench: Bench) -> None:
    bench.backend.plan["alpha"] = Act.WAIT
    loading = asyncio.ensure_future(bench.scheduler.load("alpha"))
    await bench.until_waiting("alpha")
    assert (await bench.catalog.registry.get("alpha")).status is Status.TESTING
    [attempt] = await bench.attempts("alpha")
    assert (attempt.outcome, attempt.status_before) == (Outcome.RUNNING, Status.UNKNOWN)
    bench.backend.let_go("alpha")
    await loading
    assert (await bench.catalog.registry.get("alpha")).status is Status.COMPATIBLE


async def test_all_waiters_share_one_load(bench: Bench) -> None:
    bench.backend.plan["alpha"] = Act.WAIT
    loading = [asyncio.ensure_future(bench.scheduler.load("alpha")) for _ in range(5)]
    await bench.until_waiting("alpha")
    loading.append(asyncio.ensure_future(bench.scheduler.load("alpha")))
    bench.backend.let_go("alpha")
    answers = await asyncio.gather(*loading)
    assert {answer.message for answer in answers} == {answers[0].message}
    assert len(bench.backend.loads) == len(await bench.attempts("alpha")) == 1


async def test_a_waiter_that_leaves_does_not_end_the_load(bench: Bench) -> None:
    bench.backend.plan["alpha"] = Act.WAIT
    impatient = asyncio.ensure_future(bench.scheduler.load("alpha"))
    await bench.until_waiting("alpha")
    impatient.cancel()
    bench.backend.let_go("alpha")
    await bench.scheduler.load("alpha")
    assert bench.get("alpha").loaded


async def test_a_load_of_the_loaded_model_answers_at_once(bench: Bench) -> None:
    await bench.scheduler.load("alpha")
    answer = await bench.scheduler.load("alpha")
    assert (answer.load_seconds, answer.compatibility_status) == (None, Status.COMPATIBLE)
    assert len(bench.backend.loads) == 1


async def test_a_model_is_loaded_by_its_served_name_too(bench: Bench) -> None:
    await bench.add("gamma", served_name="acme/gamma")
    assert (await bench.scheduler.load("acme/gamma")).model_id == "acme/gamma"
    assert bench.get("gamma").loaded


async def test_two_models_take_turns_in_the_order_they_came(bench: Bench) -> None:
    bench.backend.plan = {"alpha": Act.WAIT, "beta": Act.WAIT}
    first = asyncio.ensure_future(bench.scheduler.load("alpha"))
    await bench.until_waiting("alpha")
    second = asyncio.ensure_future(bench.scheduler.load("beta"))
    await bench.until_phase("beta", Phase.QUEUED)
    assert [entry.model for entry in bench.scheduler.queue] == ["alpha", "beta"]
    assert [target.name for target in bench.backend.loads] == ["alpha"]
    bench.backend.let_go("alpha")
    await first
    bench.backend.let_go("beta")
    await second
    assert [target.name for target in bench.backend.loads] == ["alpha", "beta"]
    assert bench.backend.unloads == ["alpha"]
    assert (bench.get("alpha").loaded, bench.get("beta").loaded) == (False, True)
    assert bench.scheduler.queue == []


async def test_an_unknown_model_is_refused(bench: Bench) -> None:
    error = await refused(bench.scheduler.load("nobody"))
    assert (error.code, error.status) == ("unknown_model", 404)


async def test_an_incompatible_model_is_refused_until_forced(bench: Bench) -> None:
    await bench.journal.set_by_person("alpha", "incompatible", "burns the card")
    await bench.catalog.refresh("alpha")
    error = await refused(bench.scheduler.load("alpha"))
    assert (error.code, error.status) == ("incompatible", 409)
    assert "burns the card" in error.sentence
    assert "force_load" in error.hint
    assert bench.backend.loads == []
    answer = await bench.scheduler.load("alpha", force=True)
    assert answer.compatibility_status is Status.DEGRADED
    [attempt] = await bench.attempts("alpha")
    assert attempt.forced


async def test_a_crash_makes_an_unproven_model_incompatible(bench: Bench) -> None:
    bench.backend.plan["alpha"] = Act.CRASH
    error = await refused(bench.scheduler.load("alpha"))
    assert error.status == 424
    assert error.details["compatibility_status"] == "incompatible"
    view = bench.get("alpha")
    assert (view.status, view.phase, view.last_error) == (Status.INCOMPATIBLE, Phase.UNLOADED, error.sentence)
    [attempt] = await bench.attempts("alpha")
    assert (attempt.outcome, attempt.signal, attempt.exit_code) == (Outcome.FAILED, "SIGSEGV", None)
    assert "about to fall over" in attempt.log_tail


async def test_all_waiters_hear_of_a_failure(bench: Bench) -> None:
    bench.backend.plan["alpha"] = Act.CRASH
    answers = await asyncio.gather(*(bench.scheduler.load("alpha") for _ in range(3)), return_exceptions=True)
    assert {getattr(answer, "status", None) for answer in answers} == {424}
    assert len(await bench.attempts("alpha")) == 1


async def test_too_little_memory_is_answered_507_and_keeps_the_status(bench: Bench) -> None:
    bench.backend.plan["alpha"] = Act.OUT_OF_MEMORY
    error = await refused(bench.scheduler.load("alpha"))
    assert (error.status, bench.get("alpha").status) == (507, Status.UNKNOWN)


async def test_a_load_that_takes_too_long_keeps_the_status(bench: Bench) -> None:
    bench.backend.plan["alpha"] = Act.TIME_OUT
    error = await refused(bench.scheduler.load("alpha"))
    assert (error.code, error.status) == ("timeout_loading", 424)
    assert "7 seconds" in error.sentence
    assert bench.get("alpha").status is Status.UNKNOWN


async def test_a_failure_does_not_hold_up_the_queue(bench: Bench) -> None:
    bench.backend.plan["alpha"] = Act.CRASH
    first, second = await asyncio.gather(
        bench.scheduler.load("alpha"), bench.scheduler.load("beta"), return_exceptions=True
    )
    assert isinstance(first, AppError)
    assert not isinstance(second, BaseException)
    assert bench.get("beta").loaded


@pytest.mark.parametrize(
    ("data", "code", "failure_class"),
    [
        (None, "file_missing", "model_not_found"),
        (b"", "empty_file", "corrupt_model_file"),
        (b"<html>no model</html>", "not_gguf", "corrupt_model_file"),
        (b"GGUF\3\0\0\0", "truncated_header", "corrupt_model_file"),
    ],
)
async def test_a_file_that_went_bad_keeps_the_status_and_starts_nothing(
    bench: Bench, data: bytes | None, code: str, failure_class: str
) -> None:
    path = bench.folder / "alpha.gguf"
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)
    error = await refused(bench.scheduler.load("alpha"))
    assert (error.code, bench.get("alpha").status, bench.backend.loads) == (code, Status.UNKNOWN, [])
    [attempt] = await bench.attempts("alpha")
    assert (attempt.outcome, attempt.failure_class) == (Outcome.FAILED, failure_class)


async def test_an_unknown_option_that_was_stored_earlier_keeps_the_status(bench: Bench) -> None:
    await bench.journal.set_by_person("alpha", load_config={"n_ctxx": 4096})
    await bench.catalog.refresh("alpha")
    error = await refused(bench.scheduler.load("alpha"))
    assert (error.code, error.status) == ("unknown_option", 400)
    assert "Did you mean “n_ctx”?" in error.hint
    assert (bench.get("alpha").status, bench.backend.loads) == (Status.UNKNOWN, [])
    [attempt] = await bench.attempts("alpha")
    assert (attempt.outcome, attempt.failure_class) == (Outcome.FAILED, "bad_load_config")


async def test_a_load_that_cannot_begin_evicts_nobody(bench: Bench) -> None:
    await bench.scheduler.load("alpha")
    (bench.folder / "beta.gguf").unlink()
    await refused(bench.scheduler.load("beta"))
    assert bench.get("alpha").loaded
    assert bench.backend.unloads == []


async def test_a_config_for_this_load_only(bench: Bench) -> None:
    await bench.journal.set_by_person("alpha", load_config={"n_ctx": 1024})
    await bench.catalog.refresh("alpha")
    await bench.scheduler.load("alpha", load_config='{"n_ctx": 256}')
    assert dict(bench.backend.loads[-1].load_config) == {"n_ctx": 256}
    assert "1024" in bench.get("alpha").load_config
    assert "256" in (await bench.attempts("alpha"))[0].load_config


async def test_another_config_loads_the_loaded_model_anew(bench: Bench) -> None:
    await bench.scheduler.load("alpha")
    await bench.scheduler.load("alpha", load_config={"n_ctx": 256})
    await bench.scheduler.load("alpha", load_config={"n_ctx": 256})
    assert [dict(target.load_config) for target in bench.backend.loads] == [{}, {"n_ctx": 256}]
    assert bench.backend.unloads == ["alpha"]
    assert bench.get("alpha").loaded


async def test_a_bad_config_for_the_loaded_model_leaves_it_loaded(bench: Bench) -> None:
    await bench.scheduler.load("alpha")
    await refused(bench.scheduler.load("alpha", load_config={"nonsense": 1}))
    assert bench.get("alpha").loaded
    assert (await refused(bench.scheduler.load("alpha", load_config="{"))).code == "bad_json"
    assert bench.get("alpha").phase is Phase.LOADED


async def test_progress_is_published_and_forgotten_at_the_end(bench: Bench) -> None:
    bench.backend.plan["alpha"] = Act.WAIT
    loading = asyncio.ensure_future(bench.scheduler.load("alpha"))
    await bench.until_waiting("alpha")
    progress = bench.get("alpha").progress
    assert progress is not None
    assert (progress.stage, progress.fraction, progress.usual_s) == ("reading the model", 0.5, None)
    bench.backend.let_go("alpha")
    await loading
    assert bench.get("alpha").progress is None
    stages = [event.data["progress"]["stage"] for event in bench.heard if event.data.get("progress")]
    assert list(dict.fromkeys(stages)) == ["starting the engine", "reading the model"]

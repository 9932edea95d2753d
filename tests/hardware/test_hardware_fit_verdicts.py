"""The verdict of a load by llama.cpp: what fits, what spills, how long a context may be, and what people read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import GIB, MIB, dense, room, small_shapes

from quarterdeck.hardware.fit.llama import cache_of
from quarterdeck.hardware.fit.llama_verdict import estimate_llama
from quarterdeck.hardware.fit.options import LlamaOptions
from quarterdeck.hardware.fit.room import Card, Room, holders_of, room_of, spoken
from quarterdeck.hardware.fit.verdicts import estimate_by_size
from quarterdeck.schemas.estimate import Estimate, Verdict
from quarterdeck.schemas.hardware import GpuProcess, GpuSample, HardwareSample, HostSample, NvmlState, NvmlStatus
from quarterdeck.schemas.shape import ModelShape

ROOMS = st.floats(0, 4).map(lambda free: room(free, total=8, host_free=4, host_total=8)) | st.just(room(None))


def estimate(shape: ModelShape, where: Room, **options: object) -> Estimate:
    return estimate_llama(shape, LlamaOptions(**options), where, model="m", backend="embedded")  # type: ignore[arg-type]


def test_a_model_with_room_to_spare_fits() -> None:
    found = estimate(dense(), room(20), n_ctx=8192)
    assert (found.verdict, found.fits, found.gpu_layers, found.layer_count) == (Verdict.FITS, True, 32, 32)
    assert found.sentence == f"Needs {spoken(found.total_bytes - found.host_bytes)}, 20.0 GiB are free: it fits."


def test_with_less_than_a_gibibyte_left_it_is_tight() -> None:
    needed = estimate(dense(), room(20), n_ctx=8192)
    on_gpu = needed.total_bytes - needed.host_bytes
    found = estimate(dense(), room((on_gpu + 900 * MIB) / GIB), n_ctx=8192)
    assert (found.verdict, found.fits) == (Verdict.TIGHT, True)
    assert "only just" in found.sentence


def test_what_does_not_fit_spills_and_says_how_many_layers_do() -> None:
    found = estimate(dense(), room(5), n_ctx=8192)
    assert (found.verdict, found.fits) == (Verdict.SPILLS, False)
    assert found.gpu_layers is not None
    assert 8 < found.gpu_layers < 32
    assert f"{found.gpu_layers} of 32 layers go to the GPU" in found.sentence
    assert found.host_bytes > 3 * GIB


def test_a_shorter_context_is_offered_where_it_would_do() -> None:
    found = estimate(dense(), room(12), n_ctx=131_072)
    assert found.verdict is Verdict.SPILLS
    assert found.max_ctx_that_fits is not None
    assert f"{found.max_ctx_that_fits:,} tokens instead of 131,072" in found.hint


def test_more_than_both_memories_is_too_big() -> None:
    found = estimate(dense(80), room(4, host_free=6, host_total=8), n_ctx=8192)
    assert (found.verdict, found.fits) == (Verdict.TOO_BIG, False)


def test_main_memory_that_others_hold_makes_it_slow_but_not_impossible() -> None:
    found = estimate(dense(80), room(4, host_free=6, host_total=32), n_ctx=8192)
    assert found.verdict is Verdict.SPILLS
    assert "close programs" in found.hint


def test_more_layers_than_fit_are_refused_when_they_are_asked_for() -> None:
    found = estimate(dense(), room(5), n_ctx=8192, gpu_layers=33)
    assert found.verdict is Verdict.TOO_BIG
    most = int(found.hint.split("n_gpu_layers to ")[1].split(",")[0])
    assert estimate(dense(), room(5), n_ctx=8192, gpu_layers=most).verdict is Verdict.SPILLS
    assert estimate(dense(), room(5), n_ctx=8192, gpu_layers=most + 1).verdict is Verdict.TOO_BIG


def test_fewer_layers_than_fit_are_as_asked() -> None:
    found = estimate(dense(), room(20), n_ctx=8192, gpu_layers=10)
    assert (found.verdict, found.gpu_layers) == (Verdict.SPILLS, 10)
    assert "remove n_gpu_layers" in found.hint


def test_without_a_gpu_nothing_is_promised_but_the_impossible_is_said() -> None:
    found = estimate(dense(), room(None), n_ctx=8192)
    assert (found.fits, found.verdict, found.free_bytes) == (None, Verdict.UNKNOWN, None)
    assert "main memory" in found.sentence
    assert found.host_bytes == found.total_bytes
    assert estimate(dense(), room(None, host_total=4, host_free=3), n_ctx=8192).verdict is Verdict.TOO_BIG


def test_several_cards_share_the_layers_and_each_needs_its_own_buffers() -> None:
    two = Room((Card(24 * GIB, 6 * GIB), Card(24 * GIB, 6 * GIB)), 32 * GIB, 64 * GIB)
    found = estimate(dense(), two, n_ctx=8192)
    alone = estimate(dense(), room(20), n_ctx=8192)
    assert found.verdict in (Verdict.FITS, Verdict.TIGHT)
    assert found.total_bytes > alone.total_bytes
    assert estimate(dense(), two, n_ctx=8192, main_gpu=1).verdict is Verdict.SPILLS


def test_a_window_makes_long_contexts_cheap() -> None:
    """The case in which a peer reported 139 GB for a model that needed 32."""
    gemma = dense(62, embedding=5376, kv_heads=16, ffn=21504, vocabulary=262_144, layer_bytes=400 * MIB)
    layers = tuple(replace(layer, window=1024 if n % 6 != 5 else None) for n, layer in enumerate(gemma.layers))
    windowed = estimate(replace(gemma, layers=layers), room(None, host_total=256), n_ctx=131_072)
    full = estimate(gemma, room(None, host_total=256), n_ctx=131_072)
    assert full.kv_cache_bytes > 5 * windowed.kv_cache_bytes


def test_a_learned_factor_changes_what_was_guessed_only() -> None:
    plain = estimate_llama(dense(), LlamaOptions(n_ctx=8192), room(20), model="m", backend="b")
    learned = estimate_llama(dense(), LlamaOptions(n_ctx=8192), room(20), model="m", backend="b", correction=1.5)
    assert learned.weights_bytes == plain.weights_bytes
    assert learned.kv_cache_bytes == pytest.approx(1.5 * plain.kv_cache_bytes, rel=0.001)


@settings(max_examples=80, deadline=None)
@given(small_shapes(), ROOMS, st.integers(0, 150).map(lambda n: n * 256), st.integers(1, 4))
def test_the_parts_add_up(shape: ModelShape, where: Room, n_ctx: int, parallel: int) -> None:
    found = estimate(shape, where, n_ctx=n_ctx, parallel=parallel)
    assert sum(part.bytes for part in found.parts) == found.total_bytes
    assert found.weights_bytes + found.kv_cache_bytes + found.compute_bytes == found.total_bytes
    assert 0 <= found.host_bytes <= found.total_bytes


@settings(max_examples=80, deadline=None)
@given(small_shapes(), ROOMS, st.integers(1, 4), st.booleans())
def test_the_longest_context_fits_and_the_next_does_not(
    shape: ModelShape, where: Room, parallel: int, unified: bool
) -> None:
    step = 256 * (1 if unified else parallel)

    def fits(n_ctx: int) -> bool:
        found = estimate(shape, where, n_ctx=n_ctx, parallel=parallel, unified=unified)
        if where.cards:
            return found.fits is True
        return found.total_bytes <= where.host_free

    longest = estimate(shape, where, parallel=parallel, unified=unified).max_ctx_that_fits
    if longest is None:
        assert not fits(step)
        return
    assert fits(longest)
    assert longest // step <= (shape.n_ctx_train or 0) // 256
    if longest // step < (shape.n_ctx_train or 0) // 256:
        assert not fits(longest + step)


@settings(max_examples=60, deadline=None)
@given(small_shapes(), st.floats(0, 3), st.floats(0, 1))
def test_more_free_memory_never_makes_it_worse(shape: ModelShape, free: float, more: float) -> None:
    order = [Verdict.TOO_BIG, Verdict.SPILLS, Verdict.TIGHT, Verdict.FITS]
    before, after = (estimate(shape, room(size, total=8), n_ctx=4096) for size in (free, free + more))
    assert order.index(after.verdict) >= order.index(before.verdict)
    assert (after.gpu_layers or 0) >= (before.gpu_layers or 0)
    assert cache_of(shape, LlamaOptions(n_ctx=4096)).n_ctx == after.n_ctx


def sample(gpus: list[GpuSample], processes: list[GpuProcess] | None = None) -> HardwareSample:
    return HardwareSample(
        at=datetime.now(UTC),
        nvml=NvmlStatus(state=NvmlState.OK),
        host=HostSample(cpu_percent=1, cpu_count=2, memory_used=10 * GIB, memory_total=32 * GIB),
        gpus=gpus,
        processes=processes or [],
    )


def gpu(used: float | None, total: float | None = 24) -> GpuSample:
    return GpuSample(
        index=0,
        uuid="u",
        name="GPU",
        memory_used=None if used is None else round(used * GIB),
        memory_total=None if total is None else round(total * GIB),
    )


def test_the_room_is_what_others_leave_without_the_reserve() -> None:
    found = room_of(sample([gpu(9)]), reserve_bytes=GIB // 2)
    assert found.cards == (Card(24 * GIB, 15 * GIB - GIB // 2),)
    assert found.host_free == 22 * GIB


def test_what_will_be_given_back_counts_as_free_but_never_more_than_is_held() -> None:
    assert room_of(sample([gpu(9)]), freed_bytes=4 * GIB).free == 19 * GIB
    assert room_of(sample([gpu(9)]), freed_bytes=40 * GIB).free == 24 * GIB
    assert room_of(sample([gpu(9), gpu(2)]), freed_bytes=10 * GIB).free == 24 * GIB + 23 * GIB
    assert room_of(sample([]), freed_bytes=4 * GIB).host_free == 26 * GIB


def test_a_full_card_has_no_room_and_an_unknown_one_is_no_card() -> None:
    assert room_of(sample([gpu(24)]), reserve_bytes=GIB).free == 0
    assert room_of(sample([gpu(None)])).cards == ()
    assert room_of(sample([gpu(None, None)])).cards == ()


def test_holders_are_named_largest_first() -> None:
    processes = [
        GpuProcess(gpu=0, pid=1, name="Xorg", memory_bytes=MIB),
        GpuProcess(gpu=0, pid=2, name="python", memory_bytes=GIB, model="alpha"),
        GpuProcess(gpu=0, pid=3, name="secret"),
    ]
    assert [(holder.name, holder.pid) for holder in holders_of(sample([], processes))] == [("alpha", 2), ("Xorg", 1)]


def test_of_a_model_with_nothing_but_a_size_only_the_impossible_is_said() -> None:
    unknown = estimate_by_size(3 * GIB, room(20), model="m", backend="ollama")
    assert (unknown.verdict, unknown.fits, unknown.total_bytes) == (Verdict.UNKNOWN, None, 3 * GIB)
    assert estimate_by_size(30 * GIB, room(20), model="m", backend="ollama").fits is False
    assert estimate_by_size(300 * GIB, room(20), model="m", backend="ollama").verdict is Verdict.TOO_BIG


@pytest.mark.parametrize(
    ("size", "said"), [(5 * GIB + 200 * MIB, "5.2 GiB"), (640 * MIB, "640 MiB"), (-2 * GIB, "-2.0 GiB")]
)
def test_sizes_are_said_to_people(size: int, said: str) -> None:
    assert spoken(size) == said

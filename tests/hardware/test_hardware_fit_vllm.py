"""vLLM's claim and need told apart, the cases that peers get wrong, and settings that start now."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import GIB, MIB, dense, room

from quarterdeck.hardware.fit.options import VllmOptions, vllm_options
from quarterdeck.hardware.fit.room import Card, Room
from quarterdeck.hardware.fit.vllm import advise, kv_bytes, longest, shape_weights, vllm_need
from quarterdeck.hardware.fit.vllm_verdict import estimate_vllm
from quarterdeck.schemas.estimate import Estimate, Verdict
from quarterdeck.schemas.shape import ModelShape


def qwen7b(*, awq: bool = False) -> ModelShape:
    """Qwen2.5-7B: 15.2 GB in bfloat16, 5.2 GiB with 4 bits."""
    shape = dense(
        28, embedding=3584, heads=28, kv_heads=4, ffn=18944, vocabulary=152_064, context=32768,
        layer_bytes=(140 if awq else 445) * MIB,
    )  # fmt: skip
    table = 152_064 * 3584 * 2
    return replace(
        shape, embedding_bytes=table, output_bytes=table, dtype="bfloat16", quantization="AWQ-4bit" if awq else "BF16"
    )


def estimate(shape: ModelShape, where: Room, **config: object) -> Estimate:
    return estimate_vllm(shape, vllm_options(config), where, model="m", backend="vllm")


def test_a_small_model_claims_the_card_but_needs_little() -> None:
    """A peer showed 1.8 GB for a model that took 21.85 GB of the card."""
    small = replace(
        dense(28, embedding=1024, heads=16, ffn=3072, layer_bytes=32 * MIB, context=32768), dtype="bfloat16"
    )
    found = estimate(small, room(23.5, total=24), gpu_memory_utilization=0.9)
    assert found.claim_bytes == int(24 * GIB * 0.9)
    assert found.total_bytes < 7 * GIB
    assert found.verdict is Verdict.FITS


def test_a_claim_above_what_is_free_does_not_start_and_a_pair_that_does_is_named() -> None:
    """vLLM ends with “Free memory on device … is less than desired GPU memory utilization”."""
    found = estimate(qwen7b(awq=True), room(14, total=24))
    assert (found.verdict, found.fits) == (Verdict.TOO_BIG, False)
    assert "claims 22.1 GiB" in found.sentence
    assert found.advice is not None
    assert found.advice.gpu_memory_utilization == 0.58
    again = estimate(qwen7b(awq=True), room(14, total=24), **found.advice.model_dump())
    assert again.fits is True


def test_weights_that_leave_nothing_for_the_cache_are_foreseen() -> None:
    """7B in 16 bits (14.2 GB) on 16 GB: “Available KV cache memory” comes out negative."""
    found = estimate(qwen7b(), room(15.7, total=16), gpu_memory_utilization=0.9)
    assert found.verdict is Verdict.TOO_BIG
    assert "nothing would be left for the KV cache" in found.sentence
    assert "-" in found.sentence.split("KV cache")[1]
    assert found.advice is None
    assert found.max_ctx_that_fits is None


def test_four_bits_on_16_gb_leave_the_cache_that_was_seen() -> None:
    """AWQ (5.2 GiB) left 7.36 GB of KV cache at 0.9 of 16 GB."""
    shape, options = qwen7b(awq=True), VllmOptions(utilization=0.9, max_model_len=4096, eager=True)
    need = vllm_need(shape, options, 16 * GIB)
    assert need.parts["weights"] == pytest.approx(5.86 * GIB, rel=0.02)
    assert need.for_cache == pytest.approx(7.36 * GIB, rel=0.1)


def test_a_length_that_the_cache_cannot_hold_is_foreseen() -> None:
    """The recorded failure: 1,000,000 tokens need 21.46 GiB where 1.0 GiB is there."""
    smollm = dense(30, embedding=576, heads=9, kv_heads=3, head=64, ffn=1536, vocabulary=49152, layer_bytes=7 * MIB)
    assert kv_bytes(smollm, VllmOptions(), 1_000_000) == pytest.approx(21.46 * GIB, rel=0.001)
    # The same engine made 46,592 tokens of 1 GiB.
    assert kv_bytes(smollm, VllmOptions(), 46592) == pytest.approx(GIB, rel=0.03)
    found = estimate(smollm, room(15, total=16), max_model_len=1_000_000)
    assert found.fits is False
    assert "1,000,000 tokens" in found.sentence
    assert found.advice is not None
    assert found.advice.max_model_len < 1_000_000


def test_windows_latent_rows_and_small_numbers_shrink_the_cache() -> None:
    full = dense(4, kv_heads=8, head=128)
    options = VllmOptions(batched_tokens=2048)
    assert kv_bytes(full, options, 65536) == 65536 * 4 * 8 * 256 * 2
    windowed = replace(full, layers=tuple(replace(layer, window=1024) for layer in full.layers))
    assert kv_bytes(windowed, options, 65536) < kv_bytes(full, options, 65536) / 20
    latent = tuple(replace(layer, kv_heads=1, key_length=576, value_length=512, latent=True) for layer in full.layers)
    assert kv_bytes(replace(full, layers=latent), options, 1024) == 1024 * 4 * 576 * 2
    assert kv_bytes(full, replace(options, kv_type="fp8"), 1024) * 2 == kv_bytes(full, options, 1024)
    assert kv_bytes(full, replace(options, tensor_parallel=2), 1024) * 2 == kv_bytes(full, options, 1024)
    assert kv_bytes(full, replace(options, tensor_parallel=16), 1024) * 8 == kv_bytes(full, options, 1024)


def test_weights_are_counted_in_the_format_in_which_they_are_loaded() -> None:
    shape = qwen7b()
    stored = shape.weight_bytes
    assert shape_weights(shape, VllmOptions()) == stored
    assert shape_weights(shape, VllmOptions(dtype="float32")) == 2 * stored
    wide = replace(shape, dtype="float32", quantization="F32")
    assert shape_weights(wide, VllmOptions()) == stored // 2
    assert shape_weights(shape, VllmOptions(quantization="fp8")) < 0.6 * stored
    packed = qwen7b(awq=True)
    assert shape_weights(packed, VllmOptions(dtype="float16")) == packed.weight_bytes


def test_several_cards_divide_the_weights_and_the_fullest_one_decides() -> None:
    two = Room((Card(24 * GIB, 23 * GIB), Card(24 * GIB, 10 * GIB)), 32 * GIB, 64 * GIB)
    found = estimate(qwen7b(), two, tensor_parallel_size=2, gpu_memory_utilization=0.9)
    assert found.free_bytes == 10 * GIB
    assert found.weights_bytes == qwen7b().weight_bytes // 2
    assert estimate(qwen7b(), room(20), tensor_parallel_size=2).sentence.startswith("It is to run on 2 GPUs")


def test_eager_mode_needs_no_graphs() -> None:
    names = {part.name for part in estimate(qwen7b(), room(23)).parts}
    eager = {part.name for part in estimate(qwen7b(), room(23), enforce_eager=True).parts}
    assert names - eager == {"cuda_graphs"}


def test_without_a_gpu_main_memory_counts() -> None:
    found = estimate(qwen7b(), room(None, host_total=32, host_free=20))
    assert (found.fits, found.verdict, found.claim_bytes) == (None, Verdict.UNKNOWN, None)
    assert estimate(qwen7b(), room(None, host_total=8, host_free=6)).verdict is Verdict.TOO_BIG


@settings(max_examples=150, deadline=None)
@given(
    st.floats(0, 48), st.sampled_from((8.0, 16.0, 24.0, 48.0)), st.integers(0, 200_000), st.booleans(), st.booleans()
)
def test_advice_that_is_given_starts(free: float, total: float, length: int, awq: bool, eager: bool) -> None:
    shape, where = qwen7b(awq=awq), room(min(free, total), total=total)
    found = estimate(shape, where, max_model_len=length, enforce_eager=eager)
    if found.advice is None:
        assert found.fits is False
        return
    assert found.advice.max_model_len <= (length or 32768)
    again = estimate(shape, where, enforce_eager=eager, **found.advice.model_dump())
    assert again.fits is True
    assert again.claim_bytes is not None
    assert again.total_bytes <= again.claim_bytes <= where.free


@settings(max_examples=150, deadline=None)
@given(st.floats(1, 24), st.floats(0.1, 0.95), st.integers(1, 400))
def test_the_longest_context_fits_and_the_next_does_not(free: float, utilization: float, blocks: int) -> None:
    shape, card = qwen7b(awq=True), Card(24 * GIB, round(free * GIB))
    options = VllmOptions(utilization=utilization)
    limit = blocks * 256
    found = longest(shape, options, card, limit=limit)

    def fits(length: int) -> bool:
        need = vllm_need(shape, options.with_context(length), card.total)
        return need.claim <= card.free and need.total_bytes <= need.claim

    assert found is None or (fits(found) and found <= limit)
    assert not fits((found or 0) + 256) if (found or 0) < limit else True


@settings(max_examples=100, deadline=None)
@given(st.integers(256, 100_000), st.integers(256, 100_000))
def test_a_longer_context_never_needs_less(one: int, other: int) -> None:
    need = [vllm_need(qwen7b(), VllmOptions(max_model_len=n), 24 * GIB).total_bytes for n in sorted((one, other))]
    assert need == sorted(need)


def test_no_advice_on_a_card_without_room() -> None:
    assert advise(qwen7b(), VllmOptions(), Card(24 * GIB, 0)) is None

"""Whether vLLM will start with a model on this card now, and with which settings it would."""

from __future__ import annotations

from typing import Any

from quarterdeck.hardware.fit.options import VllmOptions
from quarterdeck.hardware.fit.room import Card, Room, spoken
from quarterdeck.hardware.fit.verdicts import is_tight, room_fields, sums
from quarterdeck.hardware.fit.vllm import (
    VllmNeed,
    advise,
    context_of,
    for_card,
    kv_bytes,
    shape_weights,
    vllm_need,
)
from quarterdeck.schemas.estimate import Estimate, LaunchAdvice, Verdict
from quarterdeck.schemas.shape import ModelShape

_LONGEST_CTX = 1 << 20


def estimate_vllm(
    shape: ModelShape, options: VllmOptions, room: Room, *, model: str, backend: str, correction: float = 1.0
) -> Estimate:
    """The estimate of a start of vLLM. Sizes are those of each card it uses."""
    cards = room.cards[: max(options.tensor_parallel, 1)]
    usual = {"model": model, "backend": backend, "n_ctx": context_of(shape, options), "correction": correction}
    usual |= {"parallel": options.max_num_seqs, "kv_type": options.kv_type, "layer_count": shape.layer_count}
    if not cards:
        return Estimate(**usual, **_without_gpu(shape, options, room))
    card = min(cards, key=lambda card: card.free)
    options = for_card(options, card.total)
    need = vllm_need(shape, options, card.total, correction=correction)
    advice = advise(shape, options, card, correction=correction)
    longest = advise(shape, options.with_context(shape.n_ctx_train or _LONGEST_CTX), card, correction=correction)
    fields = room_fields(Room((card,), room.host_free, room.host_total))
    return Estimate(
        **usual,
        **sums(need.parts),
        **fields,
        **_judge(shape, options, need, card, advice, missing=options.tensor_parallel - len(cards)),
        claim_bytes=need.claim,
        max_ctx_that_fits=longest.max_model_len if longest else None,
        advice=advice,
    )


def _judge(
    shape: ModelShape, options: VllmOptions, need: VllmNeed, card: Card, advice: LaunchAdvice | None, *, missing: int
) -> dict[str, Any]:
    if missing > 0:
        sentence = f"It is to run on {options.tensor_parallel} GPUs, but there are {options.tensor_parallel - missing}."
        return _refusal(sentence, "Lower tensor_parallel_size.")
    hint = _advised(advice)
    if need.claim > card.free:
        return _refusal(
            f"vLLM claims {spoken(need.claim)}, {options.utilization:.0%} of the card; {spoken(card.free)} are free.",
            hint,
        )
    if need.for_cache <= 0:
        return _refusal(
            f"Weights and working memory need {spoken(need.total_bytes - need.parts['kv_cache'])} of the claimed "
            f"{spoken(need.claim)}: nothing would be left for the KV cache ({spoken(need.for_cache)}).",
            hint,
        )
    if need.parts["kv_cache"] > need.for_cache:
        return _refusal(
            f"One request of {context_of(shape, options):,} tokens needs {spoken(need.parts['kv_cache'])} of KV cache, "
            f"but {spoken(need.for_cache)} would be left for it.",
            hint,
        )
    tight = is_tight(need.total_bytes, need.claim)
    requests = need.for_cache // max(need.parts["kv_cache"], 1)
    many = f"{requests:,} {'request' if requests == 1 else 'requests'}"
    return {
        "fits": True,
        "verdict": Verdict.TIGHT if tight else Verdict.FITS,
        "sentence": f"Needs {spoken(need.total_bytes)} of the {spoken(need.claim)} that vLLM claims; "
        f"the rest becomes KV cache, in all for {many} of full length.",
        "hint": "Programs that take GPU memory meanwhile can make the start fail." if tight else "",
    }


def _refusal(sentence: str, hint: str) -> dict[str, Any]:
    return {"fits": False, "verdict": Verdict.TOO_BIG, "sentence": sentence, "hint": hint}


def _advised(advice: LaunchAdvice | None) -> str:
    if advice is None:
        return "No settings make it start with what is free: unload other models, or choose a smaller one."
    return (
        f"With gpu_memory_utilization {advice.gpu_memory_utilization:.2f} and max_model_len {advice.max_model_len:,} "
        "it starts now."
    )


def _without_gpu(shape: ModelShape, options: VllmOptions, room: Room) -> dict[str, Any]:
    """vLLM on the processor: weights and cache in main memory."""
    parts = {"weights": shape_weights(shape, options), "kv_cache": kv_bytes(shape, options, context_of(shape, options))}
    total = sum(parts.values())
    too_big = total > room.host_total
    has = f"this machine has {spoken(room.host_total)}" if too_big else f"{spoken(room.host_free)} are free"
    return {
        **sums(parts),
        **room_fields(room),
        "host_bytes": total,
        "verdict": Verdict.TOO_BIG if too_big else Verdict.UNKNOWN,
        "sentence": f"Needs at least {spoken(total)} of main memory, {has}.",
        "hint": "Choose a smaller model." if too_big else "",
    }

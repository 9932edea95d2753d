"""An estimate in words and as the parts of a bar."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from quarterdeck.gui.presenters import text
from quarterdeck.gui.presenters.badges import Badge, Tone
from quarterdeck.schemas.estimate import Comparison, Estimate, Verdict

MOST_HOLDERS = 4
MOST_COMPARISONS = 5

VERDICTS = {
    Verdict.FITS: Badge("ok", "Fits", Tone.OK, "It fits with room to spare."),
    Verdict.TIGHT: Badge("degraded", "Tight", Tone.WARN, "It fits, but little memory stays free."),
    Verdict.SPILLS: Badge(
        "warn", "Spills", Tone.WARN, "A part goes to the main memory: it works, but answers come more slowly."
    ),
    Verdict.TOO_BIG: Badge("error", "Too big", Tone.ERROR, "It needs more memory than there is."),
    Verdict.UNKNOWN: Badge("unknown", "Unknown", Tone.NEUTRAL, "It cannot be told beforehand whether it fits."),
}


class Segment(NamedTuple):
    """One part of the bar: `shade` counts through the colours of the theme, None is what others hold."""

    label: str
    bytes: int
    shade: int | None


class Bar(NamedTuple):
    """The parts from left to right. `room` is what the whole bar stands for, `card` where the memory ends."""

    segments: tuple[Segment, ...]
    room: int
    card: int | None


class Past(NamedTuple):
    """One earlier load: when, with which context, what was predicted and measured, and by how much it was off."""

    when: str
    context: str
    predicted: str
    measured: str
    off: str


def bar(estimate: Estimate) -> Bar:
    """What others hold and what this load would take, against the whole memory of the card."""
    segments = [Segment(part.label, part.bytes, place) for place, part in enumerate(estimate.parts) if part.bytes > 0]
    if not segments and estimate.total_bytes:
        segments = [Segment("This model", estimate.total_bytes, 0)]
    card, free = estimate.card_bytes, estimate.free_bytes
    if card is not None and free is not None and card > free:
        segments.insert(0, Segment("In use", card - free, None))
    need = sum(segment.bytes for segment in segments)
    return Bar(tuple(segments), max(need, card or 0, 1), card)


def sums(estimate: Estimate) -> list[tuple[str, str]]:
    """What the parts come to, what the engine takes at once, and what is free."""
    if not estimate.total_bytes:
        return []
    rows = [("Together", text.size(estimate.total_bytes))]
    if estimate.claim_bytes is not None and estimate.claim_bytes != estimate.total_bytes:
        rows.append(("Taken at once by the engine", text.size(estimate.claim_bytes)))
    if estimate.free_bytes is not None:
        of = f" of {text.size(estimate.card_bytes)}" if estimate.card_bytes is not None else ""
        rows.append(("Free now", f"{text.size(estimate.free_bytes)}{of}"))
    return rows


def holders_line(estimate: Estimate) -> str:
    """Who holds memory now, the largest first."""
    held = sorted(estimate.holders, key=lambda holder: -holder.bytes)
    names = [f"{holder.model or holder.name} {text.size(holder.bytes)}" for holder in held]
    return f"In use by {text.listed(names, MOST_HOLDERS)}." if names else ""


def longest_line(estimate: Estimate) -> str:
    """The context that would still fit."""
    if estimate.max_ctx_that_fits is None:
        return ""
    if estimate.max_ctx_that_fits <= 0:
        return "No context fits beside what is in use."
    return f"Up to {estimate.max_ctx_that_fits:,} tokens of context fit."


def advice_line(estimate: Estimate) -> str:
    """The pair of options with which vLLM starts on this card now."""
    if estimate.advice is None:
        return ""
    share = f"{estimate.advice.gpu_memory_utilization:.2f}"
    return f"vLLM starts with a memory share of {share} and {estimate.advice.max_model_len:,} tokens of context."


def learned_line(estimate: Estimate) -> str:
    """How good the estimate is."""
    if not estimate.history:
        return "An estimate from the file alone: it has not been loaded here yet." if estimate.total_bytes else ""
    if estimate.correction == 1.0:
        return ""
    return f"Corrected by {(estimate.correction - 1) * 100:+.0f} % from what earlier loads really took."


def past(estimate: Estimate, now: datetime) -> list[Past]:
    """The earlier loads, newest first."""
    newest = sorted(estimate.history, key=lambda one: one.at, reverse=True)[:MOST_COMPARISONS]
    return [
        Past(
            text.moment(one.at, now),
            f"{one.n_ctx:,}" if one.n_ctx is not None else text.UNKNOWN,
            text.size(one.predicted_bytes),
            text.size(one.measured_bytes),
            _off(one),
        )
        for one in newest
    ]


def force_text(estimate: Estimate) -> str:
    """What may follow from loading it all the same."""
    need = estimate.sentence or f"It needs about {text.size(estimate.total_bytes)}."
    return (
        f"{need} The engine may run out of memory and end, and other programs "
        "that use the GPU may be disturbed. Quarterdeck itself keeps running and records what happens."
    )


def _off(one: Comparison) -> str:
    if not one.measured_bytes:
        return text.UNKNOWN
    return f"{100 * (one.predicted_bytes - one.measured_bytes) / one.measured_bytes:+.1f} %"

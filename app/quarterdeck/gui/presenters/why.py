"""What a log tells, in words: the panel beside the lines of the Logs page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from quarterdeck.gui.presenters.badges import Badge, Tone
from quarterdeck.gui.presenters.logs import OWN_SOURCE, Level, Row
from quarterdeck.schemas.diagnosis import Diagnosis, Evidence, Remedy, RemedyKind

SURE, LIKELY = 0.8, 0.5
HEALTHY = Badge("ok", "No failure", Tone.OK, "Nothing in these lines speaks of a failure.")
# The words that the rules use for engines, where they are not those of the window.
SERVICES = {"embedded": "llama.cpp", "llama-server": "llama.cpp"}


class Advice(NamedTuple):
    """One thing to do; `command` can be copied."""

    title: str
    detail: str
    command: str


class Why(NamedTuple):
    """Everything that the panel shows."""

    badge: Badge
    title: str
    why: str
    evidence: tuple[Evidence, ...]
    advice: tuple[Advice, ...]
    known_issue: str


def explanation(found: Diagnosis) -> Why:
    healthy = found.kind == "healthy"
    return Why(
        badge=HEALTHY if healthy else _sureness(found.confidence),
        title=found.title,
        why=found.why,
        evidence=tuple(found.evidence),
        advice=tuple(_advice(remedy) for remedy in found.remedies),
        known_issue=found.known_issue or "",
    )


def chosen_source(wanted: str, selected: Sequence[Row], rows: Sequence[Row]) -> str:
    """Whose lines are explained: the source that is filtered for, that of the selected line, or of the last error."""
    if wanted:
        return wanted
    if selected:
        return selected[-1].source
    errors = (row.source for row in reversed(rows) if row.level is Level.ERROR)
    backends = (row.source for row in reversed(rows) if row.source != OWN_SOURCE)
    return next(errors, next(backends, OWN_SOURCE if rows else ""))


def service_of(kind: str) -> str:
    """What a kind of backend is called in the rules."""
    return SERVICES.get(kind, kind)


def _sureness(confidence: float) -> Badge:
    if confidence >= SURE:
        return Badge("error", "Failure", Tone.ERROR, "The lines below leave hardly a doubt.")
    if confidence >= LIKELY:
        return Badge("warn", "Likely", Tone.WARN, "The lines below speak for it, but it may be something else.")
    return Badge("unknown", "Not certain", Tone.WARN, "Something failed, but the lines do not tell clearly what.")


def _advice(remedy: Remedy) -> Advice:
    settings = remedy.kind in (RemedyKind.LOAD_CONFIG, RemedyKind.SETTING) and remedy.patch
    return Advice(remedy.title, patch_words(remedy) if settings else "", remedy.command or "")


def patch_words(remedy: Remedy) -> str:
    """The entries that a remedy changes: `n_ctx = 4096`; a null takes the entry out."""
    return ", ".join(
        f"without {key}" if value is None else f"{key} = {value if isinstance(value, str) else json.dumps(value)}"
        for key, value in (remedy.patch or {}).items()
    )

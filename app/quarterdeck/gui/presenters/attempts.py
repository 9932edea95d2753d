"""One row of the attempt history in words."""

from __future__ import annotations

import json
from datetime import datetime
from typing import NamedTuple

from quarterdeck.gui.presenters import text
from quarterdeck.gui.presenters.badges import BADGES, Tone
from quarterdeck.schemas.models import AttemptView, Outcome

_OUTCOMES: dict[Outcome, tuple[str, Tone]] = {
    Outcome.RUNNING: ("Under way", Tone.INFO),
    Outcome.LOADED: ("Loaded", Tone.OK),
    Outcome.FAILED: ("Failed", Tone.ERROR),
    Outcome.CANCELLED: ("Cancelled", Tone.NEUTRAL),
    Outcome.INTERRUPTED: ("Interrupted", Tone.WARN),
}


class AttemptRow(NamedTuple):
    """What the history shows of one attempt; `explanation` is the whole error and what to do."""

    when: str
    outcome: str
    tone: Tone
    took: str
    configuration: str
    hardware: str
    explanation: str
    ending: str
    change: str
    log: str


def attempt_row(attempt: AttemptView, now: datetime) -> AttemptRow:
    word, tone = _OUTCOMES[attempt.outcome]
    return AttemptRow(
        when=text.moment(attempt.started_at, now),
        outcome=word + (" (forced)" if attempt.forced else ""),
        tone=tone,
        took=_took(attempt),
        configuration=configuration(attempt.load_config),
        hardware=attempt.hardware or text.UNKNOWN,
        explanation="\n".join(part for part in (attempt.error, attempt.hint) if part),
        ending=_ending(attempt),
        change=_change(attempt),
        log=attempt.log_tail.strip(),
    )


def configuration(load_config: str) -> str:
    """A stored configuration in one line; `Defaults` when it sets nothing."""
    try:
        options = json.loads(load_config)
    except ValueError:
        return text.one_line(load_config)
    if not isinstance(options, dict) or not options:
        return "Defaults"
    return ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in options.items())


def _took(attempt: AttemptView) -> str:
    if attempt.load_seconds is not None:
        return text.duration(attempt.load_seconds)
    if attempt.ended_at is not None:
        return text.duration(max(0.0, (attempt.ended_at - attempt.started_at).total_seconds()))
    return "–"


def _ending(attempt: AttemptView) -> str:
    if attempt.signal:
        return f"The engine was ended by {attempt.signal}."
    if attempt.exit_code is not None and attempt.outcome is Outcome.FAILED:
        return f"The engine ended with exit code {attempt.exit_code}."
    return ""


def _change(attempt: AttemptView) -> str:
    after = attempt.status_after
    if after is None or after == attempt.status_before:
        return ""
    return f"Status: {BADGES[attempt.status_before].word} → {BADGES[after].word}"

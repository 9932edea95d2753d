"""What is worth knowing about a model before it is loaded: an alarm, a missing file, a pause after a failure."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from quarterdeck.gui.presenters.badges import Tone
from quarterdeck.schemas.models import ModelView, Phase


class Remark(NamedTuple):
    """One line with an icon; `tip` says more."""

    icon: str
    text: str
    tone: Tone
    tip: str


class Mark(NamedTuple):
    """A small sign beside the state of a model."""

    icon: str
    meaning: str


PINNED = Mark("pin", "Pinned: it is never unloaded to make room for another model.")
LOCKED = Mark("lock", "Locked: it is held to the version of its files that was checked.")


def remark(model: ModelView, now: datetime) -> Remark | None:
    """The most important thing to know; None for a model with nothing special."""
    if model.alarm:
        return Remark("warn", model.alarm, Tone.ERROR, model.alarm)
    if not model.installed:
        where = f" It was expected at {model.path}." if model.path else ""
        return Remark("warn", "Its files are missing", Tone.WARN, f"The files of this model were not found.{where}")
    if cooling(model, now) and model.cooldown_until is not None:
        until = f"{model.cooldown_until.astimezone():%H:%M:%S}"
        tip = f"It failed, so requests do not load it again before {until}. The Load button tries at once."
        return Remark("queued", f"Cools down until {until}", Tone.WARN, tip)
    return None


def remarkable(model: ModelView, now: datetime) -> bool:
    """Whether there is a remark, without working it out."""
    return bool(model.alarm) or not model.installed or cooling(model, now)


def cooling(model: ModelView, now: datetime) -> bool:
    """Whether a failure keeps clients from loading the model; a person may all the same."""
    waits = model.phase in (Phase.UNLOADED, Phase.SLEEPING)
    return waits and model.cooldown_until is not None and model.cooldown_until > now


def marks(model: ModelView) -> tuple[Mark, ...]:
    return tuple(mark for mark, shown in ((PINNED, model.pinned), (LOCKED, model.locked)) if shown)

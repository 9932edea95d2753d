"""The state of one model card, worked out from a ModelView."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from quarterdeck.errors import AppError
from quarterdeck.gui.presenters import text
from quarterdeck.gui.presenters.badges import RETEST, Badge, badge
from quarterdeck.gui.presenters.engines import BACKEND_TITLES
from quarterdeck.gui.presenters.remarks import Mark, Remark, marks, remark, remarkable
from quarterdeck.schemas.models import ModelView, Phase

SHOWN_WHILE_LOADED = (Phase.LOADED, Phase.SLEEPING)


class Verb(StrEnum):
    """What can be asked of a model; the first three are what the primary button of a card does."""

    LOAD = "load"
    CANCEL = "cancel"
    UNLOAD = "unload"
    LOCK = "lock"
    UNLOCK = "unlock"
    VERIFY = "verify"


class Primary(NamedTuple):
    """The primary button; `verb` is None while nothing can be done, and `reason` says why."""

    label: str
    verb: Verb | None
    reason: str = ""


class Progress(NamedTuple):
    """A load under way. `fraction` is None where the engine gives no measure."""

    stage: str
    fraction: float | None
    elapsed_s: float
    usual_s: float | None

    def line(self, since: float = 0.0) -> str:
        """One line of words; `since` is the number of seconds since this progress was reported."""
        parts = [self.stage]
        if self.fraction is not None:
            parts.append(f"{round(self.fraction * 100)} %")
        parts.append(text.elapsed(self.elapsed_s + since))
        if self.usual_s is not None:
            parts.append(f"usually {text.duration(self.usual_s)}")
        return " · ".join(parts)


class Shape(NamedTuple):
    """Which of the lines that come and go a card has; cards of one shape are equally high."""

    retest: bool = False
    remark: bool = False
    error: bool = False
    why: bool = False
    progress: bool = False


class CardState(NamedTuple):
    """Everything a card shows. `menu` holds the keys of the menu entries that make sense."""

    name: str
    also: str
    facts: str
    backend: str
    badge: Badge
    badge_tip: str
    state_word: str
    state_more: str
    marks: tuple[Mark, ...]
    primary: Primary
    progress: Progress | None
    retest: str
    retest_tip: str
    remark: Remark | None
    error: str
    why: str
    menu: tuple[str, ...]
    accessible_name: str

    @property
    def loaded(self) -> bool:
        return self.state_word == "Loaded"

    @property
    def shape(self) -> Shape:
        return Shape(
            bool(self.retest), self.remark is not None, bool(self.error), bool(self.why), self.progress is not None
        )


def card_state(
    model: ModelView,
    *,
    busy: Verb | None = None,
    error: AppError | None = None,
    why: str = "",
    backend_title: str = "",
    now: datetime | None = None,
) -> CardState:
    """The card of `model`; `busy` is a command that was sent and not yet answered, `error` its failure.

    `why` is the line that leads to its problems; empty where there is none.
    """
    now = now or datetime.now(UTC)
    phase = current_phase(model, busy)
    look = badge(model.status)
    retest, retest_tip = RETEST[model.retest] if model.retest is not None else ("", "")
    word = _STATE_WORDS[phase]
    spoken = [model.name, model.quantization, _known(text.size, model.size_bytes), model.status.value, word.lower()]
    return CardState(
        name=model.name,
        also=f"Also known as {', '.join(model.aliases)}" if model.aliases else "",
        facts=facts_line(model),
        backend=_backend_line(model, backend_title or BACKEND_TITLES.get(model.backend, model.backend)),
        badge=look,
        badge_tip=text.sentence_start(look.meaning) + (f"\n{retest_tip}" if retest_tip else ""),
        state_word=word,
        state_more=_on_gpu(model, phase),
        marks=marks(model),
        primary=_primary(phase, model.name),
        progress=_progress(phase, model),
        retest=retest,
        retest_tip=retest_tip,
        remark=remark(model, now),
        error=_failure(model, phase, error),
        why=why,
        menu=_menu(model, phase),
        accessible_name=", ".join(part for part in spoken if part),
    )


def card_shape(
    model: ModelView, *, busy: Verb | None, error: AppError | None, why: bool = False, now: datetime
) -> Shape:
    """The shape of the card of `model`, found without working out the rest of it."""
    phase = current_phase(model, busy)
    return Shape(
        retest=model.retest is not None,
        remark=remarkable(model, now),
        error=bool(_failure(model, phase, error)),
        why=why,
        progress=phase in _UNDER_WAY,
    )


def current_phase(model: ModelView, busy: Verb | None) -> Phase:
    """The phase a person sees: what the core reported, or what was asked for a moment ago."""
    if busy is Verb.LOAD and model.phase in (Phase.UNLOADED, Phase.SLEEPING):
        return Phase.QUEUED
    if busy is Verb.CANCEL and model.phase in (Phase.QUEUED, Phase.LOADING, Phase.UNLOADED):
        return Phase.CANCELLING
    if busy is Verb.UNLOAD and model.phase in SHOWN_WHILE_LOADED:
        return Phase.UNLOADING
    return model.phase


def facts_line(model: ModelView) -> str:
    """Quantization, parameters and file size, as far as they are known."""
    facts = [
        model.quantization,
        _known(text.parameters, model.parameter_count, " parameters"),
        _known(text.size, model.size_bytes),
    ]
    return " · ".join(fact for fact in facts if fact) or "Size not known"


def _backend_line(model: ModelView, title: str) -> str:
    """Context, engine, and whether a scan found the model or a person put it there."""
    context = _known(text.context, model.context_length, " context")
    found = "found by a scan" if model.layer == "discovered" else ""
    return " · ".join(part for part in (context, title, found) if part)


def _on_gpu(model: ModelView, phase: Phase) -> str:
    if phase is not Phase.LOADED or model.vram_bytes is None:
        return ""
    return f"{text.size(model.vram_bytes)} of VRAM"


def _failure(model: ModelView, phase: Phase, error: AppError | None) -> str:
    """Why it was not loaded, as long as that still matters."""
    if phase is not Phase.UNLOADED:
        return ""
    return text.one_line(model.last_error or (error.sentence if error else ""))


def _menu(model: ModelView, phase: Phase) -> tuple[str, ...]:
    shown = {
        "details": True,
        "options": phase in (Phase.UNLOADED, Phase.SLEEPING),
        "unload": phase is Phase.SLEEPING,
        "copy": True,
        "show": bool(model.path),
        "remove": True,
    }
    return tuple(key for key, wanted in shown.items() if wanted)


_STATE_WORDS = {
    Phase.UNLOADED: "Not loaded",
    Phase.QUEUED: "Waiting",
    Phase.LOADING: "Loading",
    Phase.CANCELLING: "Cancelling…",
    Phase.LOADED: "Loaded",
    Phase.SLEEPING: "Sleeping",
    Phase.UNLOADING: "Unloading…",
}


_UNDER_WAY = (Phase.QUEUED, Phase.LOADING, Phase.CANCELLING)


def _primary(phase: Phase, name: str) -> Primary:
    if phase is Phase.UNLOADED:
        return Primary("Load", Verb.LOAD)
    if phase is Phase.SLEEPING:
        return Primary("Wake", Verb.LOAD, "It gave its GPU memory back and wakes faster than it loads.")
    if phase in (Phase.QUEUED, Phase.LOADING):
        return Primary("Cancel", Verb.CANCEL)
    if phase is Phase.LOADED:
        return Primary("Unload", Verb.UNLOAD)
    if phase is Phase.CANCELLING:
        return Primary("Cancelling…", None, f"Waiting until the engine of {name} has stopped.")
    return Primary("Unloading…", None, f"Waiting until {name} has left the memory.")


def _progress(phase: Phase, model: ModelView) -> Progress | None:
    if phase not in _UNDER_WAY:
        return None
    progress = model.progress
    if phase is Phase.QUEUED and progress is None:
        place = f", number {model.queue_position} in the queue" if model.queue_position else " to start"
        return Progress(f"Waiting{place}", None, 0.0, None)
    if progress is None:
        return Progress(_STATE_WORDS[phase].rstrip("…"), None, 0.0, None)
    if phase is Phase.CANCELLING:
        return Progress("Cancelling", None, progress.elapsed_s, None)
    return Progress(text.sentence_start(progress.stage), progress.fraction, progress.elapsed_s, progress.usual_s)


def _known(render: Callable[[int | None], str], value: int | None, suffix: str = "") -> str:
    return "" if value is None else render(value) + suffix

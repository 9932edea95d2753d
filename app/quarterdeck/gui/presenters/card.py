"""The state of one model card, worked out from a ModelView."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from quarterdeck.errors import AppError
from quarterdeck.gui.presenters import text
from quarterdeck.gui.presenters.badges import RETEST, Badge, badge
from quarterdeck.schemas.models import LoadProgress, ModelView, Phase

BACKEND_TITLES = {
    "embedded": "llama.cpp (built in)",
    "llama-server": "llama.cpp server",
    "vllm": "vLLM",
    "ollama": "Ollama",
    "litellm": "LiteLLM",
    "openai-compatible": "OpenAI-compatible server",
}


class Verb(StrEnum):
    """What the primary button of a card does."""

    LOAD = "load"
    CANCEL = "cancel"
    UNLOAD = "unload"


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


class CardState(NamedTuple):
    """Everything a card shows."""

    name: str
    facts: str
    backend: str
    badge: Badge
    badge_tip: str
    state_word: str
    primary: Primary
    progress: Progress | None
    retest: str
    retest_tip: str
    error: str
    accessible_name: str

    @property
    def loaded(self) -> bool:
        return self.state_word == "Loaded"


def card_state(
    model: ModelView, *, busy: Verb | None = None, error: AppError | None = None, backend_title: str = ""
) -> CardState:
    """The card of `model`; `busy` is a command that was sent and not yet answered, `error` its failure."""
    phase = current_phase(model, busy)
    look = badge(model.status)
    retest, retest_tip = RETEST[model.retest] if model.retest is not None else ("", "")
    word = _STATE_WORDS[phase]
    failure = text.one_line(model.last_error or (error.sentence if error else ""))
    spoken = [model.name, model.quantization, _known(text.size, model.size_bytes), model.status.value, word.lower()]
    return CardState(
        name=model.name,
        facts=facts_line(model),
        backend=_backend_line(model, backend_title or BACKEND_TITLES.get(model.backend, model.backend)),
        badge=look,
        badge_tip=text.sentence_start(look.meaning) + (f"\n{retest_tip}" if retest_tip else ""),
        state_word=word,
        primary=_primary(phase, model.name),
        progress=_progress(phase, model.progress),
        retest=retest,
        retest_tip=retest_tip,
        error="" if phase is not Phase.UNLOADED else failure,
        accessible_name=", ".join(part for part in spoken if part),
    )


def current_phase(model: ModelView, busy: Verb | None) -> Phase:
    """The phase a person sees: what the core reported, or what was asked for a moment ago."""
    if busy is Verb.LOAD and model.phase is Phase.UNLOADED:
        return Phase.QUEUED
    if busy is Verb.CANCEL and model.phase in (Phase.QUEUED, Phase.LOADING, Phase.UNLOADED):
        return Phase.CANCELLING
    if busy is Verb.UNLOAD and model.phase is Phase.LOADED:
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
    context = _known(text.context, model.context_length, " context")
    return f"{context} · {title}" if context else title


_STATE_WORDS = {
    Phase.UNLOADED: "Not loaded",
    Phase.QUEUED: "Waiting",
    Phase.LOADING: "Loading",
    Phase.CANCELLING: "Cancelling…",
    Phase.LOADED: "Loaded",
    Phase.UNLOADING: "Unloading…",
}


def _primary(phase: Phase, name: str) -> Primary:
    if phase is Phase.UNLOADED:
        return Primary("Load", Verb.LOAD)
    if phase in (Phase.QUEUED, Phase.LOADING):
        return Primary("Cancel", Verb.CANCEL)
    if phase is Phase.LOADED:
        return Primary("Unload", Verb.UNLOAD)
    if phase is Phase.CANCELLING:
        return Primary("Cancelling…", None, f"Waiting until the engine of {name} has stopped.")
    return Primary("Unloading…", None, f"Waiting until {name} has left the memory.")


def _progress(phase: Phase, progress: LoadProgress | None) -> Progress | None:
    if phase is Phase.QUEUED and progress is None:
        return Progress("Waiting to start", None, 0.0, None)
    if phase not in (Phase.QUEUED, Phase.LOADING, Phase.CANCELLING):
        return None
    if progress is None:
        return Progress(_STATE_WORDS[phase].rstrip("…"), None, 0.0, None)
    if phase is Phase.CANCELLING:
        return Progress("Cancelling", None, progress.elapsed_s, None)
    return Progress(text.sentence_start(progress.stage), progress.fraction, progress.elapsed_s, progress.usual_s)


def _known(render: Callable[[int | None], str], value: int | None, suffix: str = "") -> str:
    return "" if value is None else render(value) + suffix

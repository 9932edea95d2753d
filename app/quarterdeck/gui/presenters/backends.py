"""What the card of a backend shows: state as shape and word, facts as text, which buttons make sense."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from quarterdeck.gui.presenters.badges import Badge, Tone
from quarterdeck.gui.presenters.text import UNKNOWN, moment, size
from quarterdeck.schemas.backends import BackendState, BackendView, OwnerKind


class Action(NamedTuple):
    """A button of a card; `name` is what the core is asked for."""

    name: str
    verb: str
    icon: str


class Caution(NamedTuple):
    """What is asked before something in use is stopped."""

    title: str
    text: str
    verb: str


@dataclass(frozen=True, slots=True)
class BackendCard:
    """Everything on the card of one backend."""

    name: str
    title: str
    badge: Badge
    models: str
    facts: tuple[tuple[str, str], ...]
    command: str
    error: str
    actions: tuple[Action, ...]
    foreign: str


BADGES = {
    BackendState.STOPPED: Badge("idle", "Stopped", Tone.NEUTRAL, "It starts by itself when a model needs it."),
    BackendState.STARTING: Badge("loading", "Starting", Tone.INFO, "It is not ready yet."),
    BackendState.RUNNING: Badge("ok", "Running", Tone.OK, "It answers."),
    BackendState.STOPPING: Badge("loading", "Stopping", Tone.INFO, "It is about to end."),
    BackendState.FAILED: Badge("error", "Failed", Tone.ERROR, "It ended by itself or could not be started."),
}
START = Action("start", "Start", "play")
STOP = Action("stop", "Stop", "stop")
RESTART = Action("restart", "Restart", "restart")
_ACTIONS = {
    BackendState.STOPPED: (START,),
    BackendState.STARTING: (STOP,),
    BackendState.RUNNING: (RESTART, STOP),
    BackendState.STOPPING: (),
    BackendState.FAILED: (START,),
}


def backend_card(view: BackendView, *, started: datetime | None, now: datetime) -> BackendCard:
    """The card of `view`; `started` is when its engine began, `now` the time to compare with."""
    ours = view.owner.kind is OwnerKind.QUARTERDECK
    return BackendCard(
        name=view.name,
        title=view.title,
        badge=BADGES[view.state],
        models=_models(view),
        facts=_facts(view, started, now),
        command=view.command or "",
        error=view.last_error or "",
        actions=_ACTIONS[view.state] if ours else (),
        foreign="" if ours else f"Run by {view.owner.name or 'somebody else'}. Start and stop it there.",
    )


def caution(view: BackendView, action: str) -> Caution | None:
    """The question before `action`; None when nothing is lost by it."""
    if action == START.name or not view.models:
        return None
    names = ", ".join(view.models)
    verb = "Stop" if action == STOP.name else "Restart"
    after = " and has to be loaded again" if action == RESTART.name else ""
    it = f"{names} is unloaded{after}" if len(view.models) == 1 else f"{names} are unloaded"
    return Caution(f"{verb} {view.title}?", f"{it}. Answers that are being written end early.", f"{verb} {view.title}")


def _models(view: BackendView) -> str:
    return ", ".join(view.models) if view.models else "No model is loaded"


def _facts(view: BackendView, started: datetime | None, now: datetime) -> tuple[tuple[str, str], ...]:
    facts = [("Version", view.version or UNKNOWN)]
    if view.address:
        facts.append(("Address", view.address))
    if view.pid is not None:
        facts.append(("Process", str(view.pid)))
        facts.append(("Memory", size(view.memory_bytes)))
    if started is not None:
        facts.append(("Running since", moment(started, now)))
    return tuple(facts)

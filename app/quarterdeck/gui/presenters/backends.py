"""What the card of a backend shows: state as shape and word, facts as text, which buttons make sense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from quarterdeck.gui.presenters.badges import Badge, Tone
from quarterdeck.gui.presenters.engines import BACKEND_TITLES
from quarterdeck.gui.presenters.text import UNKNOWN, counted, listed, size, uptime
from quarterdeck.schemas.backends import BackendState, BackendView, InstanceView, OwnerKind

MOST_NAMES = 4


class Action(NamedTuple):
    """A button of a card; `name` is what the core is asked for, `doing` what is said meanwhile."""

    name: str
    verb: str
    icon: str
    doing: str
    failed: str


class Caution(NamedTuple):
    """What is asked before something is done that cannot be taken back."""

    title: str
    text: str
    verb: str


class InstanceLine(NamedTuple):
    """One model that an engine holds, as text; what is not known is told so."""

    model: str
    state: str
    vram: str
    memory: str
    uptime: str
    alarm: str
    command: str


@dataclass(frozen=True, slots=True)
class BackendCard:
    """Everything on the card of one backend."""

    name: str
    title: str
    badge: Badge
    owner: str
    owner_tip: str
    models: str
    models_tip: str
    detail: str
    facts: tuple[tuple[str, str], ...]
    instances: tuple[InstanceLine, ...]
    command: str
    error: str
    actions: tuple[Action, ...]


BADGES = {
    BackendState.STOPPED: Badge("idle", "Stopped", Tone.NEUTRAL, "It does not run."),
    BackendState.STARTING: Badge("loading", "Starting", Tone.INFO, "It is not ready yet."),
    BackendState.RUNNING: Badge("ok", "Running", Tone.OK, "It answers."),
    BackendState.SWITCHING: Badge("switching", "Switching", Tone.INFO, "One model makes room for another."),
    BackendState.DEFECT: Badge("warn", "Running with a defect", Tone.WARN, "It answers, but lacks something."),
    BackendState.STOPPING: Badge("loading", "Stopping", Tone.INFO, "It is about to end."),
    BackendState.FAILED: Badge("error", "Failed", Tone.ERROR, "It ended by itself or could not be started."),
    BackendState.UNKNOWN: Badge(
        "unknown", "Not validated", Tone.NEUTRAL, "Something is there, but Quarterdeck could not tell that it works."
    ),
}
ACTIONS = {
    action.name: action
    for action in (
        Action("start", "Start", "play", "Starting", "started"),
        Action("restart", "Restart", "restart", "Restarting", "restarted"),
        Action("reload", "Reload", "scan", "Reloading", "reloaded"),
        Action("stop", "Stop", "stop", "Stopping", "stopped"),
        Action("remove", "Remove…", "delete", "Removing", "removed"),
    )
}
_ANSWERING = (BackendState.RUNNING, BackendState.SWITCHING, BackendState.DEFECT)
_OWNERS = {
    OwnerKind.QUARTERDECK: ("", ""),
    OwnerKind.SYSTEMD: ("systemd unit {name}", "The system starts and stops it as the user unit {name}."),
    OwnerKind.DOCKER: ("container {name}", "It runs in the container {name}."),
    OwnerKind.OTHER: ("started by somebody else", "Quarterdeck uses it as a guest and leaves starting it to others."),
}


def backend_card(view: BackendView, *, since: float = 0.0, cause: str = "") -> BackendCard:
    """The card of `view`, which was received `since` seconds ago; `cause` says why it failed, where that is known."""
    owner, tip = (text.format(name=view.owner.name or "without a name") for text in _OWNERS[view.owner.kind])
    names = [line.model for line in view.instances] or view.models
    command = (view.command or "") if len(view.instances) < 2 else ""
    return BackendCard(
        name=view.name,
        title=view.title,
        badge=BADGES[view.state],
        owner=owner,
        owner_tip=tip,
        models=_models(view, names),
        models_tip=", ".join(names) if len(names) > MOST_NAMES else "",
        detail=view.detail or "",
        facts=_facts(view, since),
        instances=tuple(_instance(instance, since, command) for instance in view.instances),
        command=command,
        error=_error(view, cause),
        actions=tuple(action for name, action in ACTIONS.items() if name in view.actions),
    )


def _error(view: BackendView, cause: str) -> str:
    """The cause in words where it is known, else the last line that the server wrote."""
    last = view.last_error or ""
    return cause if last and cause and cause != view.detail else last


def summary(views: list[BackendView]) -> str:
    """How many of them run."""
    running = sum(view.state in _ANSWERING for view in views)
    return f"{running} of {len(views)} running" if views else ""


def caution(view: BackendView, action: str) -> Caution | None:
    """The question before `action`; None when nothing is lost by it."""
    if action == "remove":
        text = "Its models are no longer offered, and its key is forgotten. The server itself goes on as it is."
        return Caution(f"Remove {view.title} from the list?", text, "Remove")
    held = [line.model for line in view.instances]
    requests = sum(line.active_requests for line in view.instances)
    foreign = view.owner.kind is not OwnerKind.QUARTERDECK
    if action == "start" or not (held or requests or foreign):
        return None
    verb = ACTIONS[action].verb
    parts = []
    if requests:
        # Only an answer that is being written is really lost; everything else can be had again.
        doing = "is at work: an answer ends" if requests == 1 else f"is at work: {requests} answers end"
        parts.append(f"It {doing} early.")
    if held:
        lost = f"{listed(held, MOST_NAMES)} {'is' if len(held) == 1 else 'are'} unloaded"
        parts.append(f"{lost}{'' if action == 'stop' else ' and loaded again when asked for'}.")
    if foreign:
        parts.append(_foreign(view))
    return Caution(f"{verb} {view.title}?", " ".join(parts), f"{verb} {view.title}")


def _foreign(view: BackendView) -> str:
    where = {OwnerKind.SYSTEMD: "the systemd unit", OwnerKind.DOCKER: "the container"}.get(view.owner.kind)
    who = f"It is {where} {view.owner.name}" if where and view.owner.name else "It was started by somebody else"
    return f"{who}: other programs may be using it too."


def _models(view: BackendView, names: list[str]) -> str:
    if not names:
        return "No model is loaded" if view.state in _ANSWERING else ""
    if view.instances:
        return ""
    return listed(names, MOST_NAMES) if len(names) <= MOST_NAMES else f"{len(names):,} models: {listed(names, 3)}"


def _facts(view: BackendView, since: float) -> tuple[tuple[str, str], ...]:
    several = len(view.instances) > 1
    # Where the engine is the model's own process, its line says the rest.
    own_line = several or (len(view.instances) == 1 and view.instances[0].pid == view.pid)
    facts = []
    kind = BACKEND_TITLES.get(view.kind, "")
    if kind and kind != view.title and view.name != view.kind:
        facts.append(("Kind", kind))
    if view.version:
        facts.append(("Version", view.version))
    if view.address and not several:
        facts.append(("Address", view.address))
    if view.pid is not None and not several:
        facts.append(("Process", str(view.pid)))
    if view.memory_bytes is not None and (several or not own_line):
        facts.append(("Memory", size(view.memory_bytes)))
    if view.vram_bytes is not None and (several or not own_line):
        facts.append(("VRAM", size(view.vram_bytes)))
    if view.uptime_s is not None and not own_line:
        facts.append(("Up for", uptime(view.uptime_s + since)))
    return tuple(facts)


def _instance(view: InstanceView, since: float, told: str) -> InstanceLine:
    """The line of an instance; `told` is the command line that the card shows already."""
    if view.asleep:
        state = "Sleeping"
    else:
        state = counted(view.active_requests, "request", "requests") if view.active_requests else "Idle"
    return InstanceLine(
        model=view.model,
        state=state,
        vram=size(view.vram_bytes) if view.vram_bytes is not None else UNKNOWN,
        memory=size(view.memory_bytes) if view.memory_bytes is not None else UNKNOWN,
        uptime=uptime(view.uptime_s + since),
        alarm=view.alarm or "",
        command=view.command if view.command and view.command != told else "",
    )

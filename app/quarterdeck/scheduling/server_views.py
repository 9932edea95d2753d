"""A server as people see it."""

from __future__ import annotations

import time

from quarterdeck.backends.probe import NOTHING, OTHER
from quarterdeck.scheduling.server_list import Known, Origin
from quarterdeck.schemas.backends import BackendState, BackendView, OwnerKind
from quarterdeck.schemas.discovery import ServerState
from quarterdeck.schemas.lengths import duration

_STATES = {
    ServerState.UP: BackendState.RUNNING,
    ServerState.DOWN: BackendState.STOPPED,
    ServerState.UNKNOWN: BackendState.UNKNOWN,
    ServerState.STARTING: BackendState.STARTING,
    ServerState.SWITCHING: BackendState.SWITCHING,
    ServerState.DEFECT: BackendState.DEFECT,
}
_TITLES = {"ollama": "Ollama", "litellm": "LiteLLM", "vllm": "vLLM", "llama-server": "llama.cpp server"}


def view_of(known: Known) -> BackendView:
    """The view of one server; what can be done with it depends on who owns it."""
    state = _state(known)
    found, listener = known.found, known.listener
    there = state not in (BackendState.STOPPED, BackendState.FAILED)
    return BackendView(
        name=known.name,
        title=_title(known),
        kind=known.kind.value if known.kind else "",
        version=found.version,
        state=state,
        detail=_detail(known, state),
        owner=known.owner,
        models=[model.name for model in found.models],
        actions=_actions(known, state),
        pid=found.pid,
        address=found.url,
        memory_bytes=listener.memory_bytes if listener and there else None,
        uptime_s=_uptime(known) if there else None,
        command=listener.command if listener and there else None,
        last_error=known.error or known.trouble or (known.status.error if known.status else None),
    )


def same(one: BackendView | None, other: BackendView) -> bool:
    """Whether nothing changed but the passing of time."""
    if one is None:
        return False
    passing = {"uptime_s": None, "memory_bytes": None}
    return one.model_copy(update=passing) == other.model_copy(update=passing)


def _state(known: Known) -> BackendState:
    if known.doing is not None:
        return known.doing
    state, status = _STATES[known.found.state], known.status
    if state is BackendState.STOPPED and status is not None:
        if status.running or status.starting:
            return BackendState.STARTING
        if status.failed:
            return BackendState.FAILED
    return state


def _title(known: Known) -> str:
    if known.found.product not in (NOTHING, OTHER):
        return known.found.title
    return _TITLES.get(known.kind.value, "Server") if known.kind else "Server"


def _detail(known: Known, state: BackendState) -> str | None:
    status = known.status
    if known.doing is not None or status is None or known.found.state is not ServerState.DOWN:
        return known.found.detail
    if state is BackendState.STARTING:
        return f"{_service(known)} runs, but the server does not answer yet."
    if status.stopped_s is not None:
        return f"{_service(known)} ended {duration(status.stopped_s)} ago."
    return f"{_service(known)} does not run."


def _service(known: Known) -> str:
    what = "The container" if known.owner.kind is OwnerKind.DOCKER else "The unit"
    return f"{what} {known.owner.name}"


def _actions(known: Known, state: BackendState) -> list[str]:
    if known.doing is not None:
        return []
    resting = state in (BackendState.STOPPED, BackendState.FAILED)
    actions = (["start"] if resting else ["stop", "restart"]) if known.controlled else []
    return [*actions, "remove"] if known.wanted.origin is Origin.ADDED else actions


def _uptime(known: Known) -> float | None:
    if known.status is not None and known.status.running_s is not None:
        return known.status.running_s
    return max(0.0, time.time() - known.listener.create_time) if known.listener is not None else None

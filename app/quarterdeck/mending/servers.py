"""Servers that should run and do not, run with a defect, or do not let us in."""

from __future__ import annotations

from quarterdeck.backends.descriptions import REFUSES_KEY, WANTS_KEY, WANTS_KEY_FOR_ALL
from quarterdeck.mending import readings
from quarterdeck.scheduling.landscape import Landscape
from quarterdeck.scheduling.servers import Servers
from quarterdeck.schemas.backends import BackendState, BackendView
from quarterdeck.schemas.problems import Fix, FixKind, ProblemView, Severity

_KEY = (WANTS_KEY, WANTS_KEY_FOR_ALL, REFUSES_KEY)
_DOWN = (BackendState.FAILED, BackendState.STOPPED)


class ServerProblems:
    """What is wrong with a server as a whole; what a loaded model lacks is told of the model."""

    def __init__(self, landscape: Landscape, servers: Servers) -> None:
        self._landscape = landscape
        self._servers = servers

    async def __call__(self) -> list[ProblemView]:
        attached = {view.name for view in self._servers.views()}
        return [
            problem
            for view in self._landscape.views()
            if not self._landscape.defects(view.name)
            and (problem := await _problem(view, attached=view.name in attached)) is not None
        ]


async def _problem(view: BackendView, *, attached: bool) -> ProblemView | None:
    """An engine of ours may rest, and why it ended is told of its model; a server that was made known should run.

    One that runs as a service is told of by the drift.
    """
    if view.state is BackendState.DEFECT:
        return await _of_defect(view)
    if view.state is BackendState.UNKNOWN and view.detail in _KEY:
        return _of_key(view)
    if view.state in _DOWN and attached and "start" not in view.actions:
        return _of_silence(view)
    return None


async def _of_defect(view: BackendView) -> ProblemView:
    text = view.detail or view.last_error or ""
    told = await readings.of_sentence(text, view.kind)
    action = next((each for each in ("restart", "start") if each in view.actions), None)
    title = f"{(action or '').capitalize()} {view.title}"
    patch = {"action": action}
    return ProblemView(
        id=f"server:{view.name}",
        severity=Severity.HIGH,
        source="server",
        subject=f"server:{view.name}",
        title=f"{view.title} runs with a defect",
        why=text,
        failure_class=told.failure_class,
        evidence=told.evidence,
        advice=[remedy.title for remedy in told.remedies],
        fixes=[Fix(id="start", kind=FixKind.START_SERVER, title=title, target=view.name, patch=patch, undoable=False)]
        if action is not None
        else [],
    )


def _of_key(view: BackendView) -> ProblemView:
    refused = view.detail == REFUSES_KEY
    title = "Try it with a placeholder for a key"
    return ProblemView(
        id=f"server:{view.name}",
        severity=Severity.MEDIUM if refused else Severity.LOW,
        source="server",
        subject=f"server:{view.name}",
        title=f"{view.title} {'refuses the API key' if refused else 'wants an API key'}",
        why="Its models cannot be listed, and requests to them are refused.",
        hint="Remove it on the Backends page and add it again with the key that its owner gave you.",
        failure_class="auth_invalid_key",
        fixes=[] if refused else [Fix(id="key", kind=FixKind.PLACEHOLDER_KEY, title=title, target=view.name)],
    )


def _of_silence(view: BackendView) -> ProblemView:
    return ProblemView(
        id=f"server:{view.name}",
        severity=Severity.MEDIUM,
        source="server",
        subject=f"server:{view.name}",
        title=f"{view.title} does not run",
        why=view.detail or view.last_error or "It does not answer at its address.",
        hint="Start it where it was started before, or remove it on the Backends page.",
        failure_class="connection_refused",
    )

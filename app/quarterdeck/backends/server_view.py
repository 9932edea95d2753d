"""How a backend that stands behind one server of its own is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from quarterdeck.backends.base import Backend, Instance
from quarterdeck.backends.child import instance_view
from quarterdeck.backends.own_server import OwnServer
from quarterdeck.backends.process import resident_memory
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import BackendState, BackendView, InstanceView, Owner, OwnerKind


def describe(
    backend: Backend,
    own: OwnServer,
    instances: Sequence[Instance],
    *,
    url: Callable[[], str],
    version: str | None,
    may_start: Callable[[str], bool],
) -> BackendView:
    """The view of a backend with a server at `url`, which is ours when `own` runs."""
    try:
        view = _described(backend, own, instances, url())
    except AppError as error:
        # The address in the settings is none.
        return BackendView(
            name=backend.name, title=backend.title, kind=backend.kind, last_error=error.sentence, detail=error.hint
        )
    view.version = version
    if view.state in (BackendState.STOPPED, BackendState.FAILED):
        view.actions = ["start"] if may_start(url()) else []
    return view


def _described(backend: Backend, own: OwnServer, instances: Sequence[Instance], url: str) -> BackendView:
    view = BackendView(
        name=backend.name, title=backend.title, kind=backend.kind, address=url,
        last_error=own.last_error,
    )  # fmt: skip
    view.instances = [_instance(instance) for instance in instances]
    view.models = [instance.model for instance in instances]
    if own.running:
        view.state = BackendState.STARTING if own.starting else BackendState.RUNNING
        view.actions = ["stop"] if own.starting else ["stop", "restart"]
        view.pid, view.command, view.uptime_s, view.memory_bytes = own.pid, own.command, own.uptime, own.memory_bytes
    elif instances:
        view.state, view.owner = BackendState.RUNNING, Owner(kind=OwnerKind.OTHER)
    else:
        view.state = BackendState.FAILED if own.last_error else BackendState.STOPPED
    return view


def _instance(instance: Instance) -> InstanceView:
    view = instance_view(instance)
    memory = [each for each in map(resident_memory, instance.pids) if each is not None]
    view.pid = next(iter(instance.pids), None)
    view.memory_bytes = sum(memory) if memory else None
    return view

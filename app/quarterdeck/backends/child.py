"""Starting an engine as our child and waiting until it answers; what every engine of our own has in common."""

from __future__ import annotations

import asyncio
import os
import shlex
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import aiohttp

from quarterdeck.backends.base import Backend, EngineFailed, EngineRecord, ExitReport, Instance, Started
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.process import EngineProcess, resident_memory
from quarterdeck.schemas.backends import BackendState, BackendView, InstanceView

POLL_SECONDS = 0.05
PROBE_SECONDS = 2.0

Tick = Callable[[EngineProcess], None]
Ready = Callable[[aiohttp.ClientSession], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start an engine: its arguments, its loopback port and what makes it count as ready."""

    argv: Sequence[str]
    port: int
    ready: Ready
    env: Mapping[str, str] | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Children:
    """The engine processes of one backend. Core loop only."""

    def __init__(self, log: LogBook, *, stop_patience: Callable[[], float]) -> None:
        self.log = log
        self.last_error: str | None = None
        self.starting: EngineProcess | None = None
        self._patience = stop_patience
        self._processes: dict[Instance, EngineProcess] = {}

    async def start(
        self, launch: Launch, *, model: str, served_id: str, timeout: float, tick: Tick, started: Started
    ) -> Instance:
        """Start and wait until ready; `tick` is called while waiting. Raises EngineFailed; cancelling stops it."""
        self.log.add([f"starting the engine for {model}: {shlex.join(launch.argv)}"], "info")
        self.last_error = None
        process = await EngineProcess.start(launch.argv, env=launch.env or os.environ, log=self.log)
        self.starting = process
        try:
            await started(EngineRecord(process.pid, process.create_time, launch.port))
            await _until_ready(process, launch, timeout, tick)
        except EngineFailed as failure:
            await process.stop(self._patience())
            self.last_error = next(iter(failure.log[-1:]), None)
            raise
        except BaseException:
            await process.stop(self._patience())
            raise
        finally:
            self.starting = None
        return self._keep(launch, process, model, served_id)

    async def stop(self, instance: Instance) -> None:
        """End the process of `instance`; returns when it is gone."""
        process = self._processes.get(instance)
        if process is not None:
            await process.stop(self._patience())

    def describe(self, backend: Backend, version: str | None, instances: Sequence[Instance]) -> BackendView:
        """The view of a backend whose every model is a process of ours."""
        view = BackendView(
            name=backend.name, title=backend.title, kind=backend.kind, version=version, last_error=self.last_error
        )
        view.instances = [instance_view(instance) for instance in instances]
        view.models = [instance.model for instance in instances]
        if view.instances:
            first = view.instances[0]
            view.state, view.actions = BackendState.RUNNING, ["stop", "restart"]
            view.pid, view.address = first.pid, first.address
            view.command, view.uptime_s = first.command, first.uptime_s
            memory = [each.memory_bytes for each in view.instances if each.memory_bytes is not None]
            view.memory_bytes = sum(memory) if memory else None
        if self.starting is not None:
            view.state, view.pid, view.actions = BackendState.STARTING, self.starting.pid, ["stop"]
        elif not view.instances:
            view.state = BackendState.FAILED if self.last_error else BackendState.STOPPED
            view.actions = ["start"]
        return view

    def _keep(self, launch: Launch, process: EngineProcess, model: str, served_id: str) -> Instance:
        record = EngineRecord(process.pid, process.create_time, launch.port)
        instance = Instance(
            model, launch.base_url, record, shlex.join(launch.argv), process.exited, time.monotonic(),
            served_id=served_id, pids=(process.pid,),
        )  # fmt: skip
        self._processes[instance] = process
        process.exited.add_done_callback(lambda exited: self._ended(instance, process, exited.result()))
        return instance

    def _ended(self, instance: Instance, process: EngineProcess, report: ExitReport) -> None:
        self._processes.pop(instance, None)
        if not report.asked_for:
            how = f"by {report.signal}" if report.signal else f"with exit code {report.exit_code}"
            self.last_error = next(iter(process.output[-1:]), f"The engine ended {how}.")


def instance_view(instance: Instance) -> InstanceView:
    record = instance.record
    return InstanceView(
        model=instance.model,
        pid=record.pid if record else None,
        address=instance.base_url,
        command=instance.command,
        uptime_s=time.monotonic() - instance.started_at,
        memory_bytes=resident_memory(record.pid) if record else None,
        active_requests=instance.active_requests,
        asleep=instance.asleep,
    )


def answers(path: str, port: int) -> Ready:
    """Ready when GET `path` on the loopback `port` answers 200."""

    async def ready(http: aiohttp.ClientSession) -> bool:
        try:
            async with http.get(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    return ready


async def _until_ready(process: EngineProcess, launch: Launch, timeout: float, tick: Tick) -> None:
    """Raises EngineFailed when the process ends or `timeout` seconds are over."""
    deadline = time.monotonic() + timeout
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_SECONDS)) as http:
        while True:
            if process.exited.done():
                raise EngineFailed(process.exited.result(), process.output)
            if await launch.ready(http):
                return
            if time.monotonic() > deadline:
                raise EngineFailed(None, process.output, timed_out=timeout)
            tick(process)
            await asyncio.wait([process.exited], timeout=POLL_SECONDS)

"""Starting an engine as our child and waiting until it answers; what every engine of our own has in common."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import aiohttp

from quarterdeck.backends.base import Backend, EngineFailed, EngineRecord, ExitReport, Instance, Started, Target
from quarterdeck.backends.listeners import listens, pids_by_port
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.process import EngineProcess, guarded, resident_memory
from quarterdeck.schemas.backends import BackendState, BackendView, InstanceView

POLL_SECONDS = 0.05
PROBE_SECONDS = 2.0

_PORT_TAKEN = re.compile(
    r"(?i)address already in use|EADDRINUSE|only one usage of each socket address|"
    r"couldn't bind (?:HTTP )?server socket|error while attempting to bind on address"
)

Tick = Callable[[EngineProcess], None]
Ready = Callable[[aiohttp.ClientSession], Awaitable[bool]]
Blame = Callable[[Sequence[str]], str | None]
"""Finds the line that tells the cause in what an engine printed before it failed."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start an engine: its arguments, its loopback port and what makes it count as ready.

    `env` is the whole environment, ours where it is None. A guard ends the engine and all it started when Quarterdeck
    is gone; `guarded` is False for an engine that sees to that itself.
    """

    argv: Sequence[str]
    port: int
    ready: Ready
    env: Mapping[str, str] | None = None
    guarded: bool = True

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True)
class _Load:
    """What is wanted of a start, whichever port it ends up on."""

    model: str
    served_id: str
    timeout: float
    tick: Tick
    started: Started


def last_line(lines: Sequence[str]) -> str | None:
    return lines[-1] if lines else None


class Children:
    """The engine processes of one backend. Core loop only."""

    def __init__(self, log: LogBook, *, stop_patience: Callable[[], float], blame: Blame = last_line) -> None:
        self.log = log
        self.last_error: str | None = None
        self.starting: list[EngineProcess] = []
        self._patience = stop_patience
        self._blame = blame
        self._processes: dict[Instance, EngineProcess] = {}

    async def start(
        self, launch: Launch, *, model: str, served_id: str, timeout: float, tick: Tick, started: Started,
        elsewhere: Callable[[], Launch] | None = None,
    ) -> Instance:  # fmt: skip
        """Start and wait until ready; `tick` is called while waiting. Raises EngineFailed; cancelling stops it.

        `elsewhere` gives the same launch on another port; it is used once, when somebody else took the port first.
        """
        load = _Load(model, served_id, timeout, tick, started)
        try:
            return await self._start(launch, load)
        except EngineFailed as failure:
            if elsewhere is None or not port_was_taken(failure):
                raise
        self.log.add([f"port {launch.port} was taken by another program; trying another one"], "warning")
        return await self._start(elsewhere(), load)

    async def _start(self, launch: Launch, load: _Load) -> Instance:
        self.log.add([f"starting the engine for {load.model}: {shlex.join(launch.argv)}"], "info")
        self.last_error = None
        argv = guarded(launch.argv) if launch.guarded else launch.argv
        process = await EngineProcess.start(argv, env=os.environ if launch.env is None else launch.env, log=self.log)
        self.starting.append(process)
        try:
            await load.started(EngineRecord(process.pid, process.create_time, launch.port))
            await _until_ready(process, launch, load)
        except EngineFailed as failure:
            await process.stop(self._patience())
            self.last_error = self._blame(failure.log)
            raise
        except BaseException:
            await process.stop(self._patience())
            raise
        finally:
            self.starting.remove(process)
        return self._keep(launch, process, load)

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
        if self.starting:
            view.state, view.pid, view.actions = BackendState.STARTING, self.starting[0].pid, ["stop"]
        elif not view.instances:
            view.state = BackendState.FAILED if self.last_error else BackendState.STOPPED
            view.actions = ["start"]
        return view

    def _keep(self, launch: Launch, process: EngineProcess, load: _Load) -> Instance:
        record = EngineRecord(process.pid, process.create_time, launch.port)
        instance = Instance(
            load.model, launch.base_url, record, shlex.join(launch.argv), process.exited, time.monotonic(),
            served_id=load.served_id, pids=(process.pid,),
        )  # fmt: skip
        self._processes[instance] = process
        process.exited.add_done_callback(lambda exited: self._ended(instance, process, exited.result()))
        return instance

    def _ended(self, instance: Instance, process: EngineProcess, report: ExitReport) -> None:
        self._processes.pop(instance, None)
        if not report.asked_for:
            how = f"by {report.signal}" if report.signal else f"with exit code {report.exit_code}"
            self.last_error = self._blame(process.output) or f"The engine ended {how}."


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


def port_was_taken(failure: EngineFailed) -> bool:
    """Whether an engine ended because another program listens on its port."""
    return failure.exit_report is not None and any(map(_PORT_TAKEN.search, failure.log))


def read_fraction(process: EngineProcess, target: Target) -> float | None:
    """How much of the file is in memory, seen from outside; an engine that maps its file shows it there too."""
    resident = process.memory_bytes()
    if resident is None or not target.size_bytes:
        return None
    return min(0.99, resident / target.size_bytes)


def answers(path: str, port: int) -> Ready:
    """Ready when GET `path` on the loopback `port` answers 200."""

    async def ready(http: aiohttp.ClientSession) -> bool:
        try:
            async with http.get(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    return ready


def _answered_by_another(process: EngineProcess, port: int) -> bool:
    """Whether a program that took the port first answers in the engine's place."""
    holder = pids_by_port().get(port)
    return holder is not None and not listens(process.pid, process.create_time, port)


async def _until_ready(process: EngineProcess, launch: Launch, load: _Load) -> None:
    """Raises EngineFailed when the process ends or `timeout` seconds are over."""
    deadline = time.monotonic() + load.timeout
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_SECONDS)) as http:
        while True:
            if process.exited.done():
                raise EngineFailed(process.exited.result(), process.output)
            if await launch.ready(http) and not await asyncio.to_thread(_answered_by_another, process, launch.port):
                return
            if time.monotonic() > deadline:
                raise EngineFailed(None, process.output, timed_out=load.timeout)
            load.tick(process)
            await asyncio.wait([process.exited], timeout=POLL_SECONDS)

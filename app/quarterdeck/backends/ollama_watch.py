"""Watching the models that Ollama holds for us: others use the same server and may take them away."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from quarterdeck.backends.addresses import port_of
from quarterdeck.backends.base import ExitReport, Instance
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.ollama_api import OllamaApi
from quarterdeck.backends.ollama_processes import Runner, runners, server_at
from quarterdeck.backends.own_server import OwnServer
from quarterdeck.backends.remote import ServerUnreachable
from quarterdeck.errors import AppError
from quarterdeck.processes import is_alive
from quarterdeck.tasks import spawn

LOOK_SECONDS = 2.0
_LOST_LOOKS = 2
_LAST_WORDS_SECONDS = 1.5

_SIGNAL = re.compile(r"signal: ([a-z ]+)")
_SIGNALS = {
    "killed": "SIGKILL",
    "segmentation fault": "SIGSEGV",
    "aborted": "SIGABRT",
    "bus error": "SIGBUS",
    "illegal instruction": "SIGILL",
    "floating point exception": "SIGFPE",
    "terminated": "SIGTERM",
}


@dataclass(eq=False, slots=True)
class Held:
    """A model that is loaded for us. `served` is its tag there, `runners` the processes that hold it."""

    instance: Instance
    api: OllamaApi
    served: str
    weights: str | None
    local: bool
    on_gpu: bool
    runners: list[Runner] = field(default_factory=list)
    lost_looks: int = 0


class Watch:
    """Looks at the servers of held models, for as long as there are any. Core loop only."""

    def __init__(self, own: OwnServer, log: LogBook) -> None:
        self.held: dict[Instance, Held] = {}
        self._own = own
        self._log = log
        self._task: asyncio.Task[None] | None = None

    async def add(self, held: Held) -> None:
        await self.find_runners(held)
        self.held[held.instance] = held
        if self._task is None or self._task.done():
            self._task = spawn(self._look_on(), name="watch Ollama")

    async def close(self) -> None:
        self.held.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def find_runners(self, held: Held) -> None:
        """Look up the processes that hold a model; on this machine only."""
        if held.local:
            server = self._own.pid if self._own.url == held.api.url else None
            held.runners = await asyncio.to_thread(_runners, held, server)
            held.instance.pids = tuple(pid for pid, _ in held.runners)

    async def server_report(self, url: str) -> ExitReport:
        """How the server at `url`, which no longer answers, ended."""
        report = await self._own.exit_report(_LAST_WORDS_SECONDS) if self._own.owns(url) else None
        return report or ExitReport(None, None, outside="Ollama stopped answering.")

    async def _look_on(self) -> None:
        while self.held:
            await self._own.wait_end(LOOK_SECONDS)
            for api in {held.api.url: held.api for held in self.held.values()}.values():
                await self._look(api)

    async def _look(self, api: OllamaApi) -> None:
        try:
            running = {each.name for each in await api.ps()}
        except ServerUnreachable:
            report = await self.server_report(api.url)
            for held in self._on(api):
                self.end(held, report)
            return
        except AppError:
            # It listens but is too busy to answer: that is no end.
            return
        for held in self._on(api):
            if held.served not in running:
                self.end(held, ExitReport(None, None, outside="Ollama unloaded it."))
            elif held.lost_looks or (held.runners and not _any_alive(held.runners)):
                await self._missing(held)

    async def _missing(self, held: Held) -> None:
        """Its process ended but Ollama lists it: either Ollama loads it anew, or it crashed unnoticed."""
        await self.find_runners(held)
        if held.runners:
            held.lost_looks = 0
            self._log.add([f"Ollama loaded {held.served} anew, asked by somebody else"], "info")
            return
        held.lost_looks += 1
        if held.lost_looks >= _LOST_LOOKS and held.instance in self.held:
            report = crash_report("\n".join(self._own.output[-50:]) if self._own.owns(held.api.url) else "")
            # Ollama did not tell how it ended, so there is no exit code to speak of.
            self.end(held, report if report.signal else ExitReport(None, None))

    def _on(self, api: OllamaApi) -> list[Held]:
        return [held for held in self.held.values() if held.api.url == api.url]

    def end(self, held: Held, report: ExitReport) -> None:
        """Forget a model and tell how it went."""
        self.held.pop(held.instance, None)
        if not held.instance.exited.done():
            held.instance.exited.set_result(report)


def _runners(held: Held, server: int | None) -> list[Runner]:
    return runners(held.weights, server_at(port_of(held.api.url)) if server is None else server)


def crash_report(text: str) -> ExitReport:
    """How a runner ended, from what Ollama says about it."""
    names = [_SIGNALS.get(match.strip()) for match in _SIGNAL.findall(text)]
    return ExitReport(None if any(names) else 1, next((name for name in reversed(names) if name), None))


def _any_alive(found: Iterable[Runner]) -> bool:
    return any(is_alive(pid, create_time) for pid, create_time in found)

"""Goes along a connection: each check when those that it needs went well, and a report at the end."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from quarterdeck.diagnosis.doctor import asking, front, network, pages, paths, serving, streaming
from quarterdeck.diagnosis.doctor.addresses import Address, read_address
from quarterdeck.diagnosis.doctor.calling import Caller
from quarterdeck.diagnosis.doctor.certificates import check_tls
from quarterdeck.diagnosis.doctor.findings import Found, StepError, ok, skipped, warn
from quarterdeck.diagnosis.doctor.machine import Machine, check_machine
from quarterdeck.diagnosis.doctor.reporting import report
from quarterdeck.diagnosis.doctor.secrets import masked
from quarterdeck.diagnosis.doctor.targets import Limits, Target
from quarterdeck.diagnosis.doctor.visit import Visit
from quarterdeck.schemas.doctor import DoctorReport, DoctorStep, StepState

Steps = AsyncGenerator[DoctorStep | DoctorReport, None]


class Check(NamedTuple):
    """One step of the way. `needs` names the steps that must not have failed; `only` those for whom it is made."""

    name: str
    title: str
    run: Callable[[Visit], Awaitable[Found]]
    needs: tuple[str, ...] = ()
    only: Callable[[Target], bool] = lambda _target: True


def _serves(target: Target) -> bool:
    return not target.is_page


_ALONG = (
    Check("http", "Answer", serving.check_http),
    Check("front", "Web server in front", front.check_front, ("http",)),
    Check("path", "Path", paths.check_path, ("http",), _serves),
    Check("key", "Key", serving.check_key, ("http", "path"), _serves),
    Check("models", "Models", serving.check_models, ("http", "path"), _serves),
    Check("chat", "One word from a model", asking.check_chat, ("http", "path", "models"), _serves),
    Check("stream", "Streaming", streaming.check_stream, ("http", "path", "models", "chat"), _serves),
    Check("tools", "Tool calls", asking.check_tools, ("http", "path", "models", "chat"), _serves),
    Check("cors", "Web pages (CORS)", pages.check_cors, ("http",), lambda target: bool(target.origin)),
    Check("websocket", "WebSocket", pages.check_websocket, ("http",), lambda target: bool(target.websocket)),
    Check("balance", "Load balancing", front.check_balance, ("http", "path", "models"), _serves),
    Check("health", "Health check", front.check_health, ("http",)),
)
TITLES = {"address": "Address", "proxies": "Proxies", "dns": "Name", "tcp": "Connection", "tls": "Certificate"} | {
    check.name: check.title for check in _ALONG
}


class Doctor:
    """`trust` makes the context that certificates are checked with; `environment` is that of this process."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        trust: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        environment: Mapping[str, str] | None = None,
        machine: Machine | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._trust = trust
        self._environment = os.environ if environment is None else environment
        self._machine = machine or Machine(self._environment)

    async def examine(self, target: Target) -> Steps:
        """Each step as it ends, then the report. Closing the generator stops at once."""
        began = datetime.now(UTC)
        way = _Way(target, self._limits, self._trust, self._environment, in_container=self._machine.in_container)
        async for step in way.walk():
            yield step
        yield report(target, began, way.steps, way.address.url if way.address else target.url, way.repaired)

    async def examine_machine(self, proxies: Mapping[str, str] | None = None) -> Steps:
        """What on this machine itself stands in the way: containers, WSL, drivers, proxies (as in a target)."""
        began = datetime.now(UTC)
        steps: list[DoctorStep] = []
        async for name, title, found in check_machine(self._machine, self._environment if proxies is None else proxies):
            steps.append(_step(name, title, found))
            yield steps[-1]
        yield report(Target("This machine", ""), began, steps, "", None)


class _Way:
    """One walk along one connection."""

    def __init__(
        self,
        target: Target,
        limits: Limits,
        trust: Callable[[], ssl.SSLContext],
        environment: Mapping[str, str],
        *,
        in_container: bool,
    ) -> None:
        self._target, self._limits, self._trust, self._environment = target, limits, trust, environment
        self._in_container = in_container
        self._states: dict[str, StepState] = {}
        self.steps: list[DoctorStep] = []
        self.address: Address | None = None
        self.repaired: str | None = None

    async def walk(self) -> AsyncGenerator[DoctorStep, None]:
        try:
            self.address = read_address(self._target.url)
        except StepError as trouble:
            yield self._note("address", trouble.found)
            return
        address = self.address
        yield self._note("address", network.check_address(self._target, address))
        self.repaired = address.url if address.repairs else None
        proxies = self._environment if self._target.proxies is None else self._target.proxies
        yield self._note("proxies", network.check_proxies(address, proxies))
        found, numbers = await network.look_up(address, self._limits)
        yield self._note("dns", found)
        if numbers:
            yield await self._timed(
                "tcp", network.connect(address, numbers, self._limits, in_container=self._in_container)
            )
        trust = await asyncio.to_thread(self._trust)
        if self._goes_on():
            yield await self._timed("tls", self._encryption(address, trust))
        if not self._goes_on():
            for step in self._rest():
                yield step
            return
        async for step in self._along(address, trust):
            yield step

    async def _along(self, address: Address, trust: ssl.SSLContext) -> AsyncGenerator[DoctorStep, None]:
        caller = Caller(trust, self._limits.answer, self._limits.connect)
        visit = Visit(self._target, self._limits, address, caller)
        for check in self._checks():
            bad = next((name for name in check.needs if self._states[name] in _STOPS), None)
            if bad is not None:
                yield self._note(check.name, skipped(f"Not tried, because of “{TITLES[bad]}”."))
                continue
            yield await self._timed(check.name, check.run(visit))
            self.repaired = visit.repaired or self.repaired

    async def _encryption(self, address: Address, trust: ssl.SSLContext) -> Found:
        if address.scheme == "https":
            return await check_tls(address, address.host, trust, self._limits.handshake)
        if self._target.key and not network.is_near(address.host):
            return warn("key_in_the_open", "The connection is not encrypted: the key can be read on the way.",
                        "Use https, best through a web server in front.")  # fmt: skip
        return ok("Plain http: there is no certificate to check.")

    def _checks(self) -> list[Check]:
        return [check for check in _ALONG if check.only(self._target)]

    def _goes_on(self) -> bool:
        return all(self._states.get(name) is not StepState.FAILED for name in ("dns", "tcp", "tls"))

    def _rest(self) -> list[DoctorStep]:
        bad = next(name for name, state in self._states.items() if state is StepState.FAILED and name != "address")
        return [self._note(check.name, skipped(f"Not tried, because of “{TITLES[bad]}”.")) for check in self._checks()]

    async def _timed(self, name: str, work: Awaitable[Found]) -> DoctorStep:
        began = time.perf_counter()
        try:
            found = await work
        except StepError as trouble:
            found = trouble.found
        return self._note(name, found, (time.perf_counter() - began) * 1000)

    def _note(self, name: str, found: Found, milliseconds: float | None = None) -> DoctorStep:
        step = _step(name, TITLES[name], found, milliseconds, self._target.secrets)
        self._states[name] = step.state
        self.steps.append(step)
        return step


_STOPS = (StepState.FAILED, StepState.SKIPPED)


def _step(
    name: str, title: str, found: Found, milliseconds: float | None = None, secrets: Sequence[str] = ()
) -> DoctorStep:
    return DoctorStep(
        name=name,
        title=title,
        state=found.state,
        code=found.code,
        finding=masked(found.finding, *secrets),
        fix=masked(found.fix, *secrets),
        milliseconds=None if milliseconds is None else round(milliseconds, 1),
    )

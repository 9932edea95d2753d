"""What the doctor says of a server of the test: the report, one step of it, and what is not well."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quarterdeck.diagnosis.doctor.doctor import Doctor
from quarterdeck.diagnosis.doctor.machine import Machine
from quarterdeck.diagnosis.doctor.targets import Limits, Target
from quarterdeck.schemas.doctor import DoctorReport, DoctorStep, StepState

QUICK = Limits(lookup=5, connect=1, handshake=2, answer=2, chat=5, quiet=1.5, websocket=2, slow=1)


async def examine(
    url: str,
    *,
    limits: Limits = QUICK,
    trust: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    environment: Mapping[str, str] = {},
    root: Path = Path("/nowhere"),
    **asked: Any,
) -> DoctorReport:
    doctor = Doctor(limits, trust=trust, environment=environment, machine=Machine({}, root=root))
    told = [step async for step in doctor.examine(Target("the server", url, **asked))]
    assert isinstance(told[-1], DoctorReport)
    assert told[-1].steps == told[:-1]
    return told[-1]


def step(report: DoctorReport, name: str) -> DoctorStep:
    return next(each for each in report.steps if each.name == name)


def faults(report: DoctorReport) -> dict[str, str]:
    """The code of each step that is not well."""
    return {each.name: each.code for each in report.steps if each.state in (StepState.WARN, StepState.FAILED)}

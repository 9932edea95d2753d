"""The sub-command `doctor`: examine connections, step by step."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping

from quarterdeck.client.connection import Connection
from quarterdeck.client.output import note, out, plain
from quarterdeck.schemas.doctor import DoctorReport, DoctorRequest, DoctorStep, StepState

_MARKS = {StepState.OK: "✓", StepState.WARN: "!", StepState.FAILED: "✗", StepState.SKIPPED: "–"}


async def doctor(connection: Connection, arguments: argparse.Namespace) -> int:
    """Print steps as they end; with --json the reports. 1 when a step failed."""
    request = DoctorRequest(
        url=arguments.address,
        key=arguments.key,
        backend=arguments.backend,
        client=arguments.client,
        origin=arguments.origin,
        model=arguments.model,
        websocket=arguments.websocket,
        proxies=_proxies(os.environ),
    )
    reports: list[DoctorReport] = []
    async for step in connection.client.doctor(request):
        if isinstance(step, DoctorReport):
            reports.append(step)
        if not arguments.json:
            out(_end(step) if isinstance(step, DoctorReport) else _line(step))
    if arguments.json:
        out([plain(report) for report in reports])
    elif not reports:
        note("Nothing is known to examine. Name an address: quarterdeck doctor http://127.0.0.1:8000/v1")
    return 1 if any(report.state is StepState.FAILED for report in reports) else 0


def _proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """What a program that is started here would go by; addresses of proxies can hold passwords, and do not matter."""
    found = {name: value for name, value in environment.items() if value and name.lower().endswith("_proxy")}
    return {name: value if name.lower() == "no_proxy" else "set" for name, value in found.items()}


def _line(step: DoctorStep) -> str:
    took = "" if step.milliseconds is None else f" ({step.milliseconds:.0f} ms)"
    fix = f"\n    → {step.fix}" if step.fix else ""
    return f"{_MARKS[step.state]} {step.title}{took}: {step.finding}{fix}"


def _end(report: DoctorReport) -> str:
    better = f"\nBetter address: {report.repaired_url}" if report.repaired_url else ""
    return f"{report.target}: {report.sentence}{better}\n"

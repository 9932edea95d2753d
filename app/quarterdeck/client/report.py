"""The commands `drift` and `status --markdown`."""

from __future__ import annotations

import argparse

from quarterdeck.client.connection import Connection
from quarterdeck.client.output import out, plain
from quarterdeck.schemas.report import ConfigFileView, Difference, DriftReport


async def drift(connection: Connection, arguments: argparse.Namespace) -> int:
    """Show every configuration file and every difference."""
    report = await connection.client.drift()
    out(plain(report) if arguments.json else drift_page(report))
    return 0


async def markdown(connection: Connection) -> int:
    """Print the status report as a page."""
    out((await connection.client.report()).markdown.rstrip("\n"))
    return 0


def drift_page(report: DriftReport) -> str:
    """The drift for people."""
    if not report.files and not report.differences:
        return (
            "No configuration file is known, and nothing differs.\n"
            "Follow one with `quarterdeck import FILE --follow`, or name LiteLLM's in Settings."
        )
    lines = [line for file in report.files for line in _file(file)]
    lines += [line for each in report.differences for line in _difference(each)]
    return "\n".join(lines if report.differences else [*lines, "Declared and running agree."])


def _file(file: ConfigFileView) -> list[str]:
    models = f", {len(file.models)} {'model' if len(file.models) == 1 else 'models'}" if file.models else ""
    lines = [f"{file.path}  {', '.join(file.states) or 'known'}", f"  {file.kind}, {file.size_bytes} bytes{models}"]
    if file.purpose:
        lines.append(f"  {file.purpose}")
    if file.users:
        lines.append(f"  used by {', '.join(file.users)}")
    if file.git:
        lines.append(f"  git: {file.git}")
    return [*lines, *(f"  fault: {fault}" for fault in file.faults)]


def _difference(each: Difference) -> list[str]:
    return [
        f"{each.severity}: {each.what} of {each.subject}",
        f"  declared: {each.declared}",
        f"  running:  {each.running}",
    ]

"""The sub-command that tells where a name leads."""

from __future__ import annotations

import argparse

from quarterdeck.client.connection import Connection
from quarterdeck.client.output import out, plain
from quarterdeck.schemas.requests import RouteQuestion, RouteReport


async def route(connection: Connection, arguments: argparse.Namespace) -> int:
    """Exit code 1 when nothing would answer."""
    question = RouteQuestion(model=arguments.name, down=arguments.down, needs=arguments.need)
    report = await connection.client.test_route(question)
    out(plain(report) if arguments.json else page(report))
    return 0 if report.model is not None else 1


def page(report: RouteReport) -> str:
    """The answer, then every rule that was looked at."""
    lines = [f"{report.asked} → {report.model} ({report.backend}), by {report.rule}."]
    if report.model is None:
        lines = [f"{report.asked} → no answer. {report.problem}"]
    width = max((len(step.rule) for step in report.steps), default=0)
    lines += [f"  {'✓' if step.fits else '·'} {step.rule:<{width}}  {step.sentence}" for step in report.steps]
    if len(report.tried) > 1:
        lines.append(f"Order of trial: {', '.join(report.tried)}")
    lines += [f"After {_AFTER[kind]}: {', '.join(names)}" for kind, names in report.fallbacks.items()]
    return "\n".join(lines)


_AFTER = {
    "error": "an error",
    "context_window": "a prompt that is too long",
    "content": "a refusal by a content filter",
}

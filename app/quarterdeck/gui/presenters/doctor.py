"""The connectivity doctor in words: what can be examined, how a step came out, and the report to copy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from quarterdeck.gui.presenters.badges import Badge, Tone
from quarterdeck.gui.presenters.text import counted
from quarterdeck.schemas.doctor import DoctorReport, DoctorRequest, DoctorStep, StepState

STATES: dict[StepState, Badge] = {
    StepState.OK: Badge("ok", "In order", Tone.OK, "This works."),
    StepState.WARN: Badge("warn", "Doubtful", Tone.WARN, "It works, but something is not as it should be."),
    StepState.FAILED: Badge("error", "Failed", Tone.ERROR, "This does not work."),
    StepState.SKIPPED: Badge("idle", "Left out", Tone.NEUTRAL, "An earlier step made this one pointless."),
}
MINUTE_MS = 10_000


class TargetKind(StrEnum):
    """What a person wants examined."""

    ALL = "all"
    ADDRESS = "address"
    SERVER = "server"
    CLIENT = "client"


class Target(NamedTuple):
    """One line of the list of what can be examined."""

    kind: TargetKind
    name: str
    title: str


class Wanted(NamedTuple):
    """What was typed besides the target; empty texts count as not given."""

    url: str = ""
    key: str = ""
    origin: str = ""
    model: str = ""
    websocket: str = ""


def targets(servers: Mapping[str, str], clients: Iterable[tuple[str, str]]) -> list[Target]:
    """Servers and clients by name with their titles, behind the two that are always there."""
    return [
        Target(TargetKind.ALL, "", "Everything that is known"),
        Target(TargetKind.ADDRESS, "", "An address…"),
        *(Target(TargetKind.SERVER, name, f"Server: {title}") for name, title in servers.items()),
        *(Target(TargetKind.CLIENT, name, f"Client: {title}") for name, title in clients),
    ]


def request(target: Target, wanted: Wanted) -> DoctorRequest:
    """What is asked of the doctor."""
    typed = {name: value.strip() or None for name, value in wanted._asdict().items()}
    url = typed.pop("url")
    return DoctorRequest(
        url=url if target.kind is TargetKind.ADDRESS else None,
        backend=target.name if target.kind is TargetKind.SERVER else None,
        client=target.name if target.kind is TargetKind.CLIENT else None,
        **typed,
    )


def time_words(step: DoctorStep) -> str:
    """How long a step took."""
    if step.milliseconds is None or step.milliseconds < 1:
        return ""
    return f"{step.milliseconds:.0f} ms" if step.milliseconds < MINUTE_MS else f"{step.milliseconds / 1000:.0f} s"


def spoken(step: DoctorStep) -> str:
    """A step for a screen reader."""
    told = (step.title, STATES[step.state].word, step.finding, step.fix)
    return ". ".join(part.rstrip(".") for part in told if part)


def verdict(reports: Iterable[DoctorReport]) -> str:
    """One line over all that was examined; empty for a single report, which says it itself."""
    seen = list(reports)
    if len(seen) == 1:
        return ""
    bad = [report.target for report in seen if report.state is StepState.FAILED]
    if not bad:
        return f"{counted(len(seen), 'examination', 'examinations')}: none of them failed."
    return f"{len(bad)} of {counted(len(seen), 'examination', 'examinations')} failed: {', '.join(bad)}."


def as_text(reports: Iterable[DoctorReport]) -> str:
    """The reports to copy, as the core wrote them."""
    return "\n\n".join(report.text.strip() for report in reports) + "\n"

"""The report of an examination, and its text to copy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from quarterdeck.diagnosis.doctor.findings import counted
from quarterdeck.diagnosis.doctor.secrets import masked
from quarterdeck.diagnosis.doctor.targets import Target
from quarterdeck.schemas.doctor import DoctorReport, DoctorStep, StepState

_MARKS = {StepState.OK: "✓", StepState.WARN: "!", StepState.FAILED: "✗", StepState.SKIPPED: "–"}
_WORST = (StepState.FAILED, StepState.WARN, StepState.OK)


def report(
    target: Target, began: datetime, steps: Sequence[DoctorStep], url: str, repaired: str | None
) -> DoctorReport:
    """`steps` are masked already; `url` is the address that was asked."""
    state = next((each for each in _WORST if any(step.state is each for step in steps)), StepState.SKIPPED)
    made = DoctorReport(
        target=masked(target.title, *target.secrets),
        url=masked(url, *target.secrets),
        started_at=began,
        state=state,
        sentence=_sentence(state, steps),
        repaired_url=None if repaired is None else masked(repaired, *target.secrets),
        steps=list(steps),
    )
    return made.model_copy(update={"text": text_of(made)})


def _sentence(state: StepState, steps: Sequence[DoctorStep]) -> str:
    worst = [step for step in steps if step.state is state]
    if state is StepState.OK:
        left_out = next((step for step in steps if step.state is StepState.SKIPPED), None)
        return "Everything works." if left_out is None else f"What was tried works. {left_out.finding}"
    if state is StepState.SKIPPED:
        return "Nothing was examined."
    more = f" ({counted(len(worst) - 1, 'more finding')} of that kind.)" if len(worst) > 1 else ""
    return f"{worst[0].title}: {worst[0].finding}{more}"


def text_of(made: DoctorReport) -> str:
    """Lines to paste into a message to somebody who helps."""
    lines = [f"{made.target}{f' at {made.url}' if made.url and made.url != made.target else ''}",
             f"{made.started_at:%Y-%m-%d %H:%M} UTC", made.sentence, ""]  # fmt: skip
    for step in made.steps:
        took = "" if step.milliseconds is None else f" ({step.milliseconds:.0f} ms)"
        code = f" [{step.code}]" if step.code else ""
        lines.append(f"{_MARKS[step.state]} {step.title}{took}: {step.finding}{code}")
        if step.fix:
            lines.append(f"    → {step.fix}")
    if made.repaired_url:
        lines += ["", f"Better address: {made.repaired_url}"]
    return "\n".join(lines)

"""What a check of the doctor found."""

from __future__ import annotations

from typing import NamedTuple

from quarterdeck.errors import AppError
from quarterdeck.schemas.doctor import StepState


class Found(NamedTuple):
    """`code` is stable, `finding` a sentence, `fix` what to do about it."""

    state: StepState
    code: str
    finding: str
    fix: str = ""


class StepError(AppError):
    """A check that ends here; raised by what it uses."""

    @property
    def found(self) -> Found:
        return failed(self.code, self.sentence, self.hint)


def ok(finding: str, code: str = "", fix: str = "") -> Found:
    return Found(StepState.OK, code, finding, fix)


def warn(code: str, finding: str, fix: str) -> Found:
    return Found(StepState.WARN, code, finding, fix)


def failed(code: str, finding: str, fix: str = "") -> Found:
    return Found(StepState.FAILED, code, finding, fix)


def skipped(finding: str, code: str = "", fix: str = "") -> Found:
    return Found(StepState.SKIPPED, code, finding, fix)


def counted(number: int, noun: str) -> str:
    """`1 model`, `2 models`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def short(text: str, most: int = 200) -> str:
    """One line of a text."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"

"""A fault in a configuration file, with the line where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True, order=True)
class Fault:
    """`line` counts from 1, 0 where the fault is not in one line. `hint` says what to write instead."""

    line: int
    code: str
    sentence: str
    hint: str = ""
    level: Level = "error"

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.sentence} {self.hint}".rstrip()


def warning(line: int, code: str, sentence: str, hint: str = "") -> Fault:
    """A fault that does not keep the file from being used."""
    return Fault(line, code, sentence, hint, "warning")

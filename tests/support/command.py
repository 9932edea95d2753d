"""How a `quarterdeck` command ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple


class Ended(NamedTuple):
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout, which must be one JSON document."""
        return json.loads(self.out)

    @property
    def failure(self) -> tuple[str, str]:
        """Sentence and hint of a command that failed."""
        assert (self.code, self.out) == (1, "")
        sentence, hint = self.err.splitlines()
        return sentence, hint


Run = Callable[..., Ended]

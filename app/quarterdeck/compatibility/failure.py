"""How a load failed, as the journal records it, and how long a model that failed is left alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from quarterdeck.schemas.models import Cause, CauseKind


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a load failed and what the engine left behind; `signal` is a name such as SIGSEGV.

    `exceeds_card` says that the model needs more than the total memory of the card.
    """

    cause: Cause
    exit_code: int | None = None
    signal: str | None = None
    log_tail: str = ""
    exceeds_card: bool = False

    @property
    def tells_of_hardware(self) -> bool:
        """Whether the failure says something lasting about the model on this hardware."""
        kind = self.cause.kind
        return kind is CauseKind.HARDWARE or (kind is CauseKind.CAPACITY and self.exceeds_card)


class Pause(NamedTuple):
    """A model that failed so many times in a row is not loaded for clients until then (UTC)."""

    failures: int
    until: datetime

"""Which models are left alone for a while because what serves them keeps failing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from quarterdeck.settings import Settings


@dataclass(slots=True)
class _Trouble:
    failures: int = 0
    until: float = 0.0


class Health:
    """Remembers failures in a row, by the name of the model. Core loop only.

    It only orders: a model that is avoided is asked all the same where there is no other. When its time is over, one
    more failure is enough to have it avoided again.
    """

    def __init__(self, settings: Callable[[], Settings], *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` counts seconds."""
        self._settings = settings
        self._clock = clock
        self._troubles: dict[str, _Trouble] = {}

    def failed(self, name: str, *, gone: bool = False) -> None:
        """The backend answered with an error, not at all, or broke off. `gone`: nobody listens there any more.

        Not for what is wrong with a request, and not for a backend that says it is busy.
        """
        settings = self._settings()
        trouble = self._troubles.setdefault(name, _Trouble())
        trouble.failures += 1
        if gone or trouble.failures >= settings.failure_threshold:
            trouble.until = self._clock() + settings.avoid_seconds

    def answered(self, name: str) -> None:
        """The backend began a proper answer."""
        if self._troubles:
            self._troubles.pop(name, None)

    def is_avoided(self, name: str) -> bool:
        trouble = self._troubles.get(name)
        return trouble is not None and trouble.until > self._clock()

    def seconds_left(self, name: str) -> float:
        """For how long the model is still avoided; 0 when it is not."""
        trouble = self._troubles.get(name)
        return 0.0 if trouble is None else max(0.0, trouble.until - self._clock())

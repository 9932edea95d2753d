"""What an upstream is: how one family of backends reads requests and writes answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from quarterdeck.proxy.dialects.base import Asked, Fields
from quarterdeck.schemas.backends import BackendKind


@dataclass(slots=True)
class Question:
    """What is sent to a backend: `path` begins with /v1 or /api. `dropped` names what this backend has no word for."""

    path: str
    fields: Fields
    dropped: list[str] = field(default_factory=list)


class Reader(ABC):
    """Reads one streamed answer, in whatever pieces its bytes arrive."""

    @abstractmethod
    def feed(self, data: bytes) -> Iterator[Fields]:
        """The chunks of the hub that are whole now. Raises AppError when the backend tells of an error, after those.

        Lines that are no chunk are passed over; one that is longer than a sane limit is an AppError (502).
        """

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether the stream came to its proper end; one that stops before has broken off."""


class Upstream(ABC):
    """One family of backends. Has no state."""

    name: ClassVar[str]

    @abstractmethod
    def ask(self, asked: Asked, kind: BackendKind, served_id: str) -> Question:
        """The request in the backend's words. Raises AppError (501) for an operation that it does not have."""

    @abstractmethod
    def answer(self, asked: Asked, body: Fields) -> Fields:
        """A whole answer in the hub's words."""

    @abstractmethod
    def reader(self, asked: Asked) -> Reader:
        """For the answer to one streamed request."""

    @abstractmethod
    def needed_for(self, asked: Asked) -> Collection[str]:
        """The fields of the request that this upstream carries and a plain OpenAI interface does not."""

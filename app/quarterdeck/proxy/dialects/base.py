"""What a dialect is: how one family of clients writes requests and reads answers.

Every request is brought into the words of OpenAI's API, the hub; every answer comes back in them. A dialect translates
between its clients and the hub and knows nothing of backends.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

from quarterdeck.errors import AppError
from quarterdeck.schemas.requests import Operation

Fields = dict[str, Any]
"""A JSON object."""

HUB_EXTENSIONS = frozenset(
    {
        "top_k", "min_p", "typical_p", "repeat_penalty", "repeat_last_n", "mirostat", "mirostat_tau", "mirostat_eta",
        "num_ctx", "num_keep", "keep_alive", "think", "ollama_options",
    }
)  # fmt: skip
"""Parameters of the hub that OpenAI's API does not have. `think` is a boolean or low, medium, high; `ollama_options`
holds options that only Ollama knows. An upstream that has no word for one of them names it as dropped."""


@dataclass(slots=True)
class Asked:
    """One request in the hub's words.

    `fields` are those of OpenAI's request for `operation`, with HUB_EXTENSIONS. `dropped` names what the hub cannot
    carry, in the client's own words (`options.numa`). `kept` is what the dialect needs again for its answer.
    """

    operation: Operation
    fields: Fields
    stream: bool
    dropped: list[str] = field(default_factory=list)
    kept: Fields = field(default_factory=dict)

    @property
    def model(self) -> str:
        """The name that the client wrote."""
        return str(self.fields["model"])


class Writer(ABC):
    """Writes one streamed answer. `chunk` is a chat.completion.chunk, or a text_completion chunk, of the hub."""

    @abstractmethod
    def write(self, chunk: Fields) -> bytes:
        """The bytes for the client; empty where nothing is to be said yet."""

    @abstractmethod
    def end(self) -> bytes:
        """What closes the stream, after the last chunk."""

    @abstractmethod
    def error(self, error: AppError) -> bytes:
        """An error as the last event of the stream, and a proper end."""


class Dialect(ABC):
    """One family of clients. Has no state."""

    name: ClassVar[str]
    stream_type: ClassVar[str] = "text/event-stream"
    keep_alive: ClassVar[bytes | None] = b": the model is loading\n\n"
    """What keeps a stream open that has nothing to say yet; None where clients would stumble over it."""

    @abstractmethod
    def read(self, path: str, fields: Fields) -> Asked:
        """The request in the hub's words. Raises AppError (400) for what is no request of this dialect."""

    @abstractmethod
    def answer(self, asked: Asked, answer: Fields) -> Fields:
        """A whole answer of the hub in the words of the client."""

    @abstractmethod
    def writer(self, asked: Asked) -> Writer:
        """For the answer to one streamed request."""

    @abstractmethod
    def error(self, error: AppError) -> Fields:
        """The body of an error answer."""

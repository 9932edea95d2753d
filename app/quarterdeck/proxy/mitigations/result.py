"""What the mitigations made of one request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from quarterdeck.proxy.dialects.base import Asked, Fields

Repair = Callable[[Fields], Fields]
"""Takes an answer, or one chunk of one, of the hub; gives the very same one back where nothing is wrong with it."""


@dataclass(slots=True)
class Mitigated:
    """One request as its model can take it.

    `asked` is what is to be sent: the very request that came in, unless `changed`. `applied` names what was done and
    `warnings` says in sentences what a client should know of. With `whole` the backend is asked for one whole answer
    although the client wants a stream. `repair` is for whole answers, `repair_chunk` for the chunks of this one
    answer in their order: it remembers. Both are None where the answer passes as it is; what they mend is named in
    `applied` when it happens.
    """

    asked: Asked
    changed: bool = False
    applied: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    whole: bool = False
    repair: Repair | None = None
    repair_chunk: Repair | None = None

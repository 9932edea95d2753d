"""A request while it is being changed: copied at the first change, so that the one that came in stays as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from quarterdeck.proxy.dialects.base import Asked, Fields
from quarterdeck.proxy.mitigations.result import Mitigated


class Draft:
    """One request on its way through the mitigations. Lists and messages in `fields` are replaced, never changed."""

    __slots__ = ("result",)

    def __init__(self, asked: Asked) -> None:
        self.result = Mitigated(asked)

    @property
    def fields(self) -> Fields:
        """As they are now; to be read only."""
        return self.result.asked.fields

    @property
    def messages(self) -> list[Fields]:
        """The messages of a chat; to be read only."""
        messages: list[Fields] = self.result.asked.fields["messages"]
        return messages

    def put(self, name: str, value: Any) -> None:
        self._own()
        self.fields[name] = value

    def drop(self, *names: str) -> None:
        """Take fields away; those that are not there are passed over."""
        present = [name for name in names if name in self.fields]
        if present:
            self._own()
            for name in present:
                del self.fields[name]

    def tell_dropped(self, *names: str) -> None:
        """Name what the model will not see of the request."""
        self._own()
        self.result.asked.dropped.extend(names)

    def applied(self, name: str) -> None:
        if name not in self.result.applied:
            self.result.applied.append(name)

    def warn(self, sentence: str) -> None:
        self.result.warnings.append(sentence)

    def _own(self) -> None:
        if not self.result.changed:
            asked = self.result.asked
            self.result.asked = replace(asked, fields=dict(asked.fields), dropped=list(asked.dropped))
            self.result.changed = True

"""What an import is about to do, before the registry is asked what it already has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from quarterdeck.schemas.jsontext import config_hash


@dataclass
class PlannedModel:
    """One entry. `values` are what a person said, by the names of the registry's facts; `facts` what a tool measured.

    `dropped` names what is not carried over, `problem` says why the entry cannot be taken at all.
    """

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    problem: str | None = None
    locked: bool = False

    @property
    def fingerprint(self) -> str:
        """Changes whenever the entry changes."""
        return config_hash({"values": self.values, "facts": self.facts, "locked": self.locked, "why": self.problem})

    @property
    def where(self) -> str | None:
        """The path or the address."""
        return self.values.get("path") or self.values.get("url")


@dataclass
class ImportPlan:
    """A text that was read. `format` is the word for its kind, `servers` are base addresses it names."""

    format: str
    title: str
    models: list[PlannedModel] = field(default_factory=list)
    servers: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

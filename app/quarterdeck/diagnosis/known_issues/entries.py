"""The entries that come with the program, read from the YAML files beside this module, and where an entry fits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache, cached_property
from importlib import resources
from typing import Annotated, Self, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from quarterdeck.diagnosis.known_issues import names, patterns
from quarterdeck.diagnosis.known_issues.situations import Fact, Situation
from quarterdeck.diagnosis.rules import FailureClass
from quarterdeck.schemas.known_issues import KnownIssue

CLASSES = frozenset(get_args(FailureClass))
LONGEST_LINE = 2000
LONGEST_EVIDENCE = 300
LAST_LINES = 3

Signature = Annotated[str, AfterValidator(patterns.checked)]


class Shape(BaseModel):
    """A combination that shows an entry without any log: all that is given must hold.

    `services`: each takes part; one text may name choices, as in `litellm|ollama` · `model`: found in what the model
    is called · `classes`: the failure is of one of them · `facts`: each is known to hold.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    services: tuple[str, ...] = ()
    model: Signature | None = None
    classes: tuple[FailureClass, ...] = ()
    facts: tuple[Fact, ...] = ()

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if not (self.services or self.model or self.classes or self.facts):
            raise ValueError("a shape needs a condition")
        return self

    def fits(self, situation: Situation, present: frozenset[str]) -> bool:
        return (
            all(present & names.services(choices.split("|")) for choices in self.services)
            and (self.model is None or re.search(self.model, situation.model, re.IGNORECASE) is not None)
            and (not self.classes or situation.failure_class in self.classes)
            and situation.facts >= set(self.facts)
        )


class _Written(KnownIssue):
    """An entry as the files hold it: the entry itself, and where it fits.

    `last` are signatures that count only among the last lines: of a start that hangs. `log_of`: signatures count only
    in what these services wrote. `limits`: versions that have it, such as {open-webui: "<0.6.41"}.
    """

    model_config = ConfigDict(extra="forbid")

    signatures: list[Signature] = Field(default_factory=list)
    last: list[Signature] = Field(default_factory=list)
    log_of: list[str] = Field(default_factory=list)
    limits: dict[str, str] = Field(default_factory=dict)
    when: list[Shape] = Field(default_factory=list)

    @model_validator(mode="after")
    def _classes_and_limits_are_known(self) -> Self:
        if unknown := set(self.classes) - CLASSES:
            raise ValueError(f"{', '.join(sorted(unknown))}: no such class of failures")
        for limit in self.limits.values():
            if not names.is_limit(limit):
                raise ValueError(f"{limit!r} is not a limit of versions, such as >=0.3 <0.6")
        return self


class Entry:
    """An entry and where it fits. An entry of a person has no shapes: its signatures and classes tell."""

    def __init__(self, issue: KnownIssue, written: _Written | None = None) -> None:
        self.issue = issue
        self._written = written or _Written(**issue.model_dump())

    @cached_property
    def services(self) -> frozenset[str]:
        """Every service that the entry speaks of."""
        issue = self.issue
        return names.services([issue.subject, *(name for each in issue.affected for name in each.services)])

    def evidence(self, situation: Situation, present: frozenset[str]) -> str | None:
        """What shows the entry: the line, or an empty text where no line does; None when it does not fit."""
        written, issue = self._written, self.issue
        affected = names.is_affected(written.limits, situation.versions)
        if affected is False:
            return None
        line = self._line(situation.lines, present)
        if line is not None:
            return line
        if situation.known_issue == issue.id:
            return ""
        # What is mended needs a proof: a line, or a version that has it.
        if issue.still_applies is False and not affected:
            return None
        by_class = situation.failure_class in issue.classes and bool(present & self.services)
        return "" if by_class or any(shape.fits(situation, present) for shape in written.when) else None

    def _line(self, lines: Sequence[str], present: frozenset[str]) -> str | None:
        if self._written.log_of and not present & names.services(self._written.log_of):
            return None
        found = _found(self._anywhere, lines)
        return _found(self._at_the_end, _last(lines)) if found is None else found

    @cached_property
    def _anywhere(self) -> list[re.Pattern[str]]:
        return _compiled(self._written.signatures)

    @cached_property
    def _at_the_end(self) -> list[re.Pattern[str]]:
        return _compiled(self._written.last)


class EntryError(Exception):
    """A file of entries that cannot be used: a defect of the program, found by its tests."""


def parse_entries(name: str, text: str) -> list[Entry]:
    """Read one file. Raises EntryError naming the file and what is wrong."""
    try:
        documents = yaml.safe_load(text)
        return [_entry(_Written.model_validate(document)) for document in documents]
    except (yaml.YAMLError, ValidationError, TypeError) as error:
        raise EntryError(f"{name}: {error}") from error


@cache
def builtin() -> tuple[Entry, ...]:
    """All entries that come with the program, read once when first needed. Raises EntryError."""
    folder = resources.files("quarterdeck.diagnosis") / "known_issues"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    entries = [entry for file in files for entry in parse_entries(file.name, file.read_text(encoding="utf-8"))]
    ids = [entry.issue.id for entry in entries]
    if twice := {id for id in ids if ids.count(id) > 1}:
        raise EntryError(f"these entries exist twice: {', '.join(sorted(twice))}")
    return tuple(entries)


def _entry(written: _Written) -> Entry:
    fields = {name: getattr(written, name) for name in KnownIssue.model_fields}
    return Entry(KnownIssue(**fields | {"signatures": [*written.signatures, *written.last]}), written)


def _compiled(texts: Sequence[str]) -> list[re.Pattern[str]]:
    return [re.compile(text, re.IGNORECASE) for text in texts]


def _found(patterns: Sequence[re.Pattern[str]], lines: Iterable[str]) -> str | None:
    cut = (line[:LONGEST_LINE] for line in lines)
    found = (line for line in cut if any(pattern.search(line) for pattern in patterns))
    return next((line.strip()[:LONGEST_EVIDENCE] for line in found), None)


def _last(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if line.strip()][-LAST_LINES:]

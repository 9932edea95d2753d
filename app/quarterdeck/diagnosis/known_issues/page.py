"""Reads a page of known issues: Markdown in which each entry is a heading with its cause, and below it one heading for
each service or combination that is affected, with the effect, and headings for workarounds and log lines."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from markdown_it import MarkdownIt
from markdown_it.token import Token

from quarterdeck.diagnosis.known_issues.sections import Heading, SectionError, Source, read_section
from quarterdeck.schemas.known_issues import KnownIssue

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
# What stands within lines says nothing here, and takes long to read.
_MARKDOWN = MarkdownIt("commonmark").disable("inline")


@dataclass(slots=True)
class Section:
    """One entry of a page as it is written, and what was read of it; `line` counts from 1. Neither `issue` nor
    `problem`: it is no entry."""

    line: int
    raw: str
    issue: KnownIssue | None = None
    problem: str | None = None


@dataclass(slots=True)
class Page:
    """A whole page. The texts of `before` and of all sections, put together, are the page again."""

    before: str = ""
    sections: list[Section] = field(default_factory=list)

    @property
    def issues(self) -> list[KnownIssue]:
        return [each.issue for each in self.sections if each.issue]

    @property
    def problems(self) -> list[str]:
        """What could not be read, each with its line."""
        return [f"Line {each.line}: {each.problem}" for each in self.sections if each.problem]

    @property
    def text(self) -> str:
        return self.before + "".join(each.raw for each in self.sections)


def read_page(text: str, *, level: int | None = None) -> Page:
    """Read a page. `level` is that of the headings of entries; without it, it is found out."""
    lines = _LINE.findall(text.replace("\r\n", "\n").replace("\r", "\n"))
    tokens = _MARKDOWN.parse("".join(lines))
    headings = list(_headings(tokens))
    level = level or _entry_level(headings)
    tops = [number for number, heading in enumerate(headings) if heading.level <= level]
    page = Page("".join(lines[: headings[tops[0]].start] if tops else lines))
    first: dict[str, int] = {}
    for number, following in itertools.zip_longest(tops, tops[1:]):
        parts = headings[number:following]
        end = len(lines) if following is None else headings[following].start
        section = Section(parts[0].start + 1, "".join(lines[parts[0].start : end]))
        page.sections.append(section)
        if parts[0].level == level:
            _read(section, parts, Source(tokens, lines, end))
            _note_twin(section, first)
    return page


def _read(section: Section, parts: Sequence[Heading], source: Source) -> None:
    try:
        section.issue = read_section(parts, source)
    except SectionError as error:
        section.line, section.problem = error.line, str(error)


def _note_twin(section: Section, first: dict[str, int]) -> None:
    if section.issue is None:
        return
    there = first.setdefault(section.issue.id, section.line)
    if there != section.line:
        section.problem = f"“{section.issue.title}” stands already in line {there}; give one of them another title."
        section.issue = None


def _headings(tokens: Sequence[Token]) -> Iterator[Heading]:
    for place, (token, inside) in enumerate(itertools.pairwise(tokens)):
        if token.type == "heading_open" and token.level == 0 and token.map:
            start, end = token.map
            yield Heading(int(token.tag[1:]), " ".join(inside.content.split()), start, end, place)


def _entry_level(headings: Sequence[Heading]) -> int:
    """The level of the headings that are entries: above those of combinations; else below the page's own title."""
    above: list[int] = []
    for heading in headings:
        while above and above[-1] >= heading.level:
            above.pop()
        if heading.is_part_of_entry and above:
            return above[-1]
        above.append(heading.level)
    levels = sorted({heading.level for heading in headings})
    is_title = len(levels) > 1 and [heading.level for heading in headings].count(levels[0]) == 1
    return levels[1] if is_title else levels[0] if levels else 1

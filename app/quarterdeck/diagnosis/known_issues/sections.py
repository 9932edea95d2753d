"""Reads one entry of a page of known issues."""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from markdown_it.token import Token

from quarterdeck.diagnosis.known_issues import patterns
from quarterdeck.diagnosis.known_issues.entries import CLASSES
from quarterdeck.schemas.known_issues import Combination, KnownIssue

LONGEST_ID = 80
LONGEST_TITLE = 300
ANSWERS = {"yes": True, "no": False, "not known": None, "unknown": None}

_WORKAROUND = re.compile(r"(?:workarounds?|fix(?:es)?|solutions?)\s*:?", re.IGNORECASE)
_SIGNATURE = re.compile(r"(?:signatures?|log lines?|detection)\s*:?", re.IGNORECASE)
_COMBINATION = re.compile(r"`[^`]+`(?:\s+[x×]\s+`[^`]+`)*")
_WORKAROUND_BEGINS = re.compile(r"\**workarounds?\**\s*:\**\s*", re.IGNORECASE)
_DETAIL = re.compile(r"\**([A-Za-z ]+?)\**\s*:\**\s*(.*)", re.DOTALL)
_MARKER = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])(?:\s+|$)")


class SectionError(Exception):
    """An entry that cannot be read: why, in a sentence, and in which line, counted from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading: its level, its words as they are written, the lines it takes and the place of its first token."""

    level: int
    words: str
    start: int
    end: int
    token: int

    @property
    def is_about_workarounds(self) -> bool:
        return _WORKAROUND.fullmatch(self.words) is not None

    @property
    def is_about_signatures(self) -> bool:
        return _SIGNATURE.fullmatch(self.words) is not None

    @property
    def is_part_of_entry(self) -> bool:
        """Whether it can only stand within an entry: a combination of services, workarounds or log lines."""
        return self.is_about_workarounds or self.is_about_signatures or _COMBINATION.fullmatch(self.words) is not None


@dataclass(frozen=True, slots=True)
class Source:
    """A page that is read, and the line before which the entry ends."""

    tokens: Sequence[Token]
    lines: Sequence[str]
    end: int


@dataclass(slots=True)
class _Found:
    """What was read of an entry so far. `texts` are the paragraphs of the part that is read now."""

    cause: list[str] = field(default_factory=list)
    affected: list[tuple[list[str], list[str]]] = field(default_factory=list)
    workarounds: list[str] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def texts(self) -> list[str]:
        return self.affected[-1][1] if self.affected else self.cause

    def begin(self, words: str, *, deeper: bool) -> None:
        """What is affected comes next; below it, a heading is only a line of its text."""
        if deeper:
            self.texts.append(f"**{words}**")
        else:
            self.affected.append((_named(words), []))


def read_section(parts: Sequence[Heading], source: Source) -> KnownIssue:
    """The entry under the first of the headings `parts`. Raises SectionError."""
    heading, *inner = parts
    if not heading.words:
        raise SectionError(heading.start + 1, "The heading is empty.")
    if len(heading.words) > LONGEST_TITLE:
        raise SectionError(heading.start + 1, f"The title is longer than {LONGEST_TITLE} characters.")
    found = _Found()
    below = min((each.level for each in inner), default=0)
    for part, following in itertools.zip_longest(parts, inner):
        if part is not heading and not (part.is_about_workarounds or part.is_about_signatures):
            found.begin(part.words, deeper=part.level > below)
        _read_part(found, part, _blocks(source, part, following))
    return _issue(found, heading)


@dataclass(frozen=True, slots=True)
class _Block:
    """A paragraph, list or other block at the top: the tokens it is made of, and its lines from `start` on."""

    tokens: Sequence[Token]
    start: int
    lines: Sequence[str]

    @property
    def kind(self) -> str:
        return self.tokens[0].type

    @property
    def text(self) -> str:
        return "".join(self.lines).strip("\n").rstrip()

    @property
    def rest(self) -> str:
        """What stands below a list and belongs to no item of it."""
        end = (self.tokens[0].map or [0, self.start + len(self.lines)])[1]
        return "".join(self.lines[end - self.start :]).strip()

    def items(self) -> Iterator[tuple[int, str]]:
        """The items of a list: line, counted from 1, and text without the marker."""
        for token in self.tokens:
            if token.type == "list_item_open" and token.level == 1 and token.map:
                start, end = (line - self.start for line in token.map)
                if start < len(self.lines):
                    yield token.map[0] + 1, _item_text(self.lines[start:end])


def _blocks(source: Source, part: Heading, following: Heading | None) -> Iterator[_Block]:
    """The blocks below a heading. Lines of no block, such as definitions of links, go with the block before."""
    lines, start, end = source.lines, part.end, following.start if following else source.end
    while start < end and not lines[start].strip():
        start += 1
    places = itertools.takewhile(
        lambda place: (source.tokens[place].map or [0])[0] < end, range(part.token + 3, len(source.tokens))
    )
    opened = [place for place in places if source.tokens[place].level == 0 and source.tokens[place].map]
    begins = [start, *((source.tokens[place].map or [0])[0] for place in opened[1:])]
    for number, place in enumerate(opened):
        is_last = number + 1 == len(opened)
        stop = (following.token if following else len(source.tokens)) if is_last else opened[number + 1]
        ends = end if is_last else begins[number + 1]
        yield _Block(source.tokens[place:stop], begins[number], lines[begins[number] : ends])
    if not opened and start < end:
        yield _Block([Token("text", "", 0)], start, lines[start:end])


def _read_part(found: _Found, part: Heading, blocks: Iterator[_Block]) -> None:
    take: Callable[[_Found, _Block], None] = _take_text
    if part.is_about_workarounds:
        take = _take_steps
    elif part.is_about_signatures:
        take = _take_signatures
    for block in blocks:
        begins = _WORKAROUND_BEGINS.match(block.text) if block.kind == "paragraph_open" else None
        if take is _take_text and begins:
            take = _take_steps
            if rest := block.text[begins.end() :].strip():
                found.workarounds.append(rest)
        else:
            take(found, block)


def _take_text(found: _Found, block: _Block) -> None:
    details = list(_details(block)) if block.kind == "bullet_list_open" and not found.affected else []
    for line, name, value in details:
        found.details[name] = _VALUES[name](value, line)
    if text := block.rest if details else block.text:
        found.texts.append(text)


def _take_steps(found: _Found, block: _Block) -> None:
    if block.kind in ("ordered_list_open", "bullet_list_open"):
        found.workarounds += [text for _line, text in block.items() if text] + ([block.rest] if block.rest else [])
    elif block.kind == "paragraph_open" or not found.workarounds:
        found.workarounds.append(block.text)
    else:
        found.workarounds[-1] += f"\n\n{block.text}"


def _take_signatures(found: _Found, block: _Block) -> None:
    written = [(block.start + 1, block.text)]
    if block.kind in ("ordered_list_open", "bullet_list_open"):
        written = list(block.items())
    elif block.kind in ("fence", "code_block"):
        written = [(block.start + 1, line) for line in block.tokens[0].content.split("\n")]
    found.signatures += [_signature(text, line) for line, text in written if text.strip()]


def _signature(text: str, line: int) -> str:
    plain = text.strip().strip("`").strip()
    is_pattern = len(plain) > 2 and plain[0] == plain[-1] == "/"
    try:
        return patterns.checked(plain[1:-1] if is_pattern else patterns.literal(plain))
    except ValueError as error:
        raise SectionError(line, f"The log line “{plain[:80]}” cannot be used: {error}.") from None


def _details(block: _Block) -> Iterator[tuple[int, str, str]]:
    """The items of a list of details; none when it is any other list."""
    found = [(line, _DETAIL.fullmatch(text)) for line, text in block.items()]
    read = [(line, match[1].strip().lower(), match[2].strip()) for line, match in found if match]
    if len(read) == len(found) and all(name in _VALUES for _line, name, _value in read):
        yield from read


def _date(value: str, line: int) -> date:
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise SectionError(line, f"“{value}” is not a date such as 2026-11-21.") from None


def _answer(value: str, line: int) -> bool | None:
    if value.lower() not in ANSWERS:
        raise SectionError(line, f"“{value}” is neither yes, no nor not known.")
    return ANSWERS[value.lower()]


def _id(value: str, line: int) -> str:
    plain = value.strip("`")
    if len(plain) > LONGEST_ID or not re.fullmatch(r"[a-z0-9][a-z0-9-]*", plain):
        raise SectionError(line, f"“{value}” cannot be an id: only small letters, digits and hyphens can.")
    return plain


def _classes(value: str, line: int) -> list[str]:
    named = [word.strip().strip("`") for word in value.split(",") if word.strip()]
    if unknown := [word for word in named if word not in CLASSES]:
        raise SectionError(line, f"“{unknown[0]}” is not a class of failures.")
    return named


def _words(value: str, _line: int) -> str:
    return value


_VALUES: dict[str, Callable[[str, int], Any]] = {
    "id": _id, "subject": _words, "versions": _words, "still applies": _answer, "checked": _date, "source": _words,
    "classes": _classes,
}  # fmt: skip


def _issue(found: _Found, heading: Heading) -> KnownIssue:
    if not (found.cause or found.affected or found.workarounds):
        raise SectionError(heading.start + 1, f"“{heading.words}” says neither a cause nor what is affected.")
    details = found.details
    return KnownIssue(
        id=details.get("id") or slug(heading.words),
        title=heading.words,
        subject=details.get("subject") or default_subject(heading.words),
        cause="\n\n".join(found.cause),
        affected=[Combination(services=names, effect="\n\n".join(texts)) for names, texts in found.affected],
        signatures=found.signatures,
        classes=details.get("classes", []),
        workarounds=found.workarounds,
        versions=details.get("versions", ""),
        still_applies=details.get("still applies"),
        checked=details.get("checked"),
        source=details.get("source", ""),
        own=True,
    )


def slug(title: str) -> str:
    """The id that an entry of this title gets."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_ID].strip("-")
    return words or f"issue-{hashlib.sha256(title.encode()).hexdigest()[:8]}"


def default_subject(title: str) -> str:
    """What an entry is about where it does not say so: what its title names as code, else the title."""
    named = re.search(r"`([^`]+)`", title)
    return named[1] if named else title


def _named(words: str) -> list[str]:
    """The services of a combination, such as `vllm` x `webui`."""
    as_code = re.findall(r"`([^`]+)`", words)
    return as_code or [part.strip() for part in re.split(r"\s+[x×]\s+", words) if part.strip()]


def _item_text(lines: Sequence[str]) -> str:
    marker = _MARKER.match(lines[0])
    width = marker.end() if marker else 0
    first, *others = lines
    rest = [(line[width:] if not line[:width].strip() else line.lstrip()) or "\n" for line in others]
    return "".join([first[width:], *rest]).strip("\n").rstrip()

"""One pass over a log in bounded memory: which patterns it holds, where, and how it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from quarterdeck.diagnosis.matching.index import Index, Probe, lowered
from quarterdeck.diagnosis.matching.lines import COLOURS, LONGEST, bare, cleaned, writer

BLOCK = 256 * 1024
"""Characters that are searched at once."""

MOST_VAIN = 256
"""Lines remembered as telling nothing: a program that tries again and again writes the same ones."""

MOST_WRITERS = 64
"""Containers that are told apart in one log; what more of them write counts as written by one."""

KEPT_END = 48 * 1024
"""Characters of the end of a log that are kept, to see how it ended."""

_EXCEPTION = re.compile(r"[\w.]*(?:Error|Exception|Warning|Exit|Interrupt)\b:")
_FRAME = re.compile(r'File "[^"]*", line \d+')


@dataclass(frozen=True)
class Hit:
    """A line, counted from 1, in which a pattern matched, and which container wrote it."""

    number: int
    line: str
    match: re.Match[str]
    writer: str


Found = dict[Probe, re.Match[str]]
"""What was found in one line."""


class Reading:
    """What was found in what was read so far."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._hits: dict[Probe, Hit] = {}
        self._newest: dict[Probe, Hit] = {}
        self._ready_at: dict[str, int] = {}
        self._answered_at: dict[str, int] = {}
        self._open = set(index.wanted)
        self._vain: set[str] = set()
        self._writers: set[str] = set()
        self._source: tuple[int, str, Found] = (0, "", {})
        self._rest = ""
        self._waiting: list[str] = []
        self._waiting_size = 0
        self._numbered = 0
        self._before = ""
        self._end = ""

    def feed(self, text: str) -> None:
        """Read on. The text may end anywhere in a line."""
        self._waiting.append(text)
        self._waiting_size += len(text)
        if self._waiting_size >= BLOCK:
            self._search(last=False)

    def close(self) -> None:
        """The log has ended."""
        self._search(last=True)
        number, line, found = self._source
        if found and number == self.ending()[-1][0]:
            self._note(number, line, found)

    @property
    def lines(self) -> int:
        """How many lines were read."""
        return self._numbered

    def first(self, pattern: str) -> Hit | None:
        """Where a pattern was found first."""
        return self._hits.get(self._index.probes[pattern])

    def unready(self, pattern: str) -> Hit | None:
        """Where a pattern of an `until_ready` rule was found with no server becoming ready after it."""
        hit = self._newest.get(self._index.probes[pattern])
        return hit if hit and hit.number > self._ready_at.get(hit.writer, 0) else None

    @property
    def answered(self) -> bool:
        """Whether a line showed a request as answered."""
        return bool(self._answered_at)

    def answered_after(self, hit: Hit) -> bool:
        """Whether the program that wrote a line has answered a request after it."""
        return hit.number < self._answered_at.get(hit.writer, 0)

    def ending(self) -> list[tuple[int, str]]:
        """The last lines that say something, with their numbers, in their order."""
        texts = self._end.split("\n")
        first = self._numbered - len(texts) + 1
        lines = ((first + offset, cleaned(text)) for offset, text in enumerate(texts))
        return [(number, line) for number, line in lines if line]

    def _search(self, *, last: bool) -> None:
        text = "".join([self._rest, *self._waiting])
        self._waiting, self._waiting_size = [], 0
        whole = len(text) if last else text.rfind("\n") + 1
        self._rest = _shortened(text[whole:])
        if whole:
            self._take(text[:whole])

    def _take(self, block: str) -> None:
        """Search whole lines."""
        block = block.removesuffix("\n").replace("\r\n", "\n").replace("\0", "")
        if "\x1b" in block:
            block = COLOURS.sub("", block)
        first = self._numbered + 1
        for number, line, before, near in self._lines_with_words(block, first):
            self._line(number, line, before, near)
        self._numbered += block.count("\n") + 1
        self._before = block[block.rfind("\n") + 1 :][:LONGEST]
        self._end = f"{self._end}\n{block}"[-KEPT_END:] if self._end else block[-KEPT_END:]

    def _lines_with_words(self, block: str, number: int) -> Iterator[tuple[int, str, str, set[Probe]]]:
        """The lines that hold words of what is looked for: number, text, the line before, the probes that may match.

        A carriage return begins a new text in the same line, as a progress bar does.
        """
        start, stop, near = 0, -1, set[Probe]()
        before, counted = 0, 0
        for end, probes in self._index.words(lowered(block)):
            if end >= stop and near:
                # Before the next words are looked at: what was found decides what is still looked for.
                yield number, block[start:stop], self._line_before(block, before), near
                near = set()
            if self._open.isdisjoint(probes):
                continue
            if end >= stop:
                before = block.rfind("\n", start, end) + 1 or before
                number += block.count("\n", counted, before)
                counted = before
                start = max(before, block.rfind("\r", before, end) + 1)
                stop = _text_end(block, end)
            near.update(probes)
        if near:
            yield number, block[start:stop], self._line_before(block, before), near

    def _line_before(self, block: str, start: int) -> str:
        if start == 0:
            return self._before
        return block[block.rfind("\n", 0, start - 1) + 1 : start - 1]

    def _line(self, number: int, text: str, before: str, near: set[Probe]) -> None:
        if text in self._vain:
            return
        line, index = cleaned(text), self._index
        lower = lowered(line)
        found = {probe: match for probe in near & self._open if (match := probe.search(line, lower))}
        if found and index.is_benign(line, lower):
            found = {probe: match for probe, match in found.items() if probe in index.on_benign_lines}
        if not found:
            self._in_vain(text)
            return
        if _FRAME.search(before) and _FRAME.match(bare(cleaned(before))) and not _EXCEPTION.match(bare(line)):
            # The line after a frame of a traceback is source text, not a message: unless the log was cut off there.
            self._source = number, line, found
            return
        self._note(number, line, found)

    def _in_vain(self, text: str) -> None:
        """The same text tells nothing again, as long as nothing more is looked for."""
        if len(self._vain) >= MOST_VAIN:
            self._vain.clear()
        if len(text) <= LONGEST:
            self._vain.add(text)

    def _settle(self, probes: frozenset[Probe], hit: Hit) -> None:
        """These are known now: unless other containers may still say the same of themselves."""
        self._open = self._open | probes if hit.writer else self._open - probes

    def _look_for(self, probes: frozenset[Probe]) -> None:
        if not probes <= self._open:
            self._open |= probes
            self._vain.clear()

    def _note(self, number: int, line: str, found: Found) -> None:
        by = self._writer(line)
        for probe, match in found.items():
            self._hit(probe, Hit(number, line, match, by))

    def _writer(self, line: str) -> str:
        name = writer(line)
        if len(self._writers) < MOST_WRITERS:
            self._writers.add(name)
        return name if name in self._writers else ""

    def _hit(self, probe: Probe, hit: Hit) -> None:
        """Note a hit. Nothing is looked for again that can change no answer, however often a log repeats it."""
        index = self._index
        self._hits.setdefault(probe, hit)
        self._newest[probe] = hit
        self._open.discard(probe)
        if probe in index.ready:
            self._ready_at[hit.writer] = hit.number
            self._settle(index.ready, hit)
            self._look_for(index.until_ready)
        if probe in index.answered:
            self._answered_at[hit.writer] = hit.number
            self._settle(index.answered, hit)
        if probe in index.until_ready:
            self._look_for(index.ready)
        if probe in index.until_answered:
            self._look_for(index.answered)


def _text_end(block: str, position: int) -> int:
    """Where the text at `position` ends: before the next line, or before the next carriage return in the line."""
    stop = block.find("\n", position)
    stop = len(block) if stop < 0 else stop
    back = block.find("\r", position, stop)
    return stop if back < 0 else back


def _shortened(text: str) -> str:
    """What is kept of a line whose end was not read yet."""
    return text if len(text) <= BLOCK else text[:LONGEST] + text[-LONGEST:]

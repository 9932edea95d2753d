"""All patterns of the rules, and the search for their fixed words that comes before them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, cached_property

import ahocorasick

from quarterdeck.diagnosis.matching.lines import bare
from quarterdeck.diagnosis.matching.literals import shape
from quarterdeck.diagnosis.rules import RuleFile, rule_files

_LONG = 200


class Probe:
    """One pattern, however many rules use it; compiled when its words are first met."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._anchored = "^" in text
        self._shape = shape(text)
        self._also = tuple(word for words in self._shape.also if len(words) == 1 for word in words)
        self._also_one_of = tuple(words for words in self._shape.also if len(words) > 1)

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return re.compile(self.text, re.IGNORECASE)

    def search(self, line: str, lower: str) -> re.Match[str] | None:
        """Its match in a line, where `^` stands for the beginning of the line or of its message. `lower` is the line in
        lower case.
        """
        for word in self._also:
            if word not in lower:
                return None
        for words in self._also_one_of:
            for word in words:
                if word in lower:
                    break
            else:
                return None
        match = self._expression.search(line, *self._window(lower))
        return self._expression.search(bare(line)) if match is None and self._anchored else match

    def _window(self, lower: str) -> tuple[int, int]:
        """The part of a line in which it can match: of a long one, what is near its words."""
        reach, words = self._shape.reach, self._shape.words
        if reach is None or len(lower) <= _LONG:
            return 0, len(lower)
        first = min((at for word in words if (at := lower.find(word)) >= 0), default=0)
        last = max((at + len(word) for word in words if (at := lower.rfind(word)) >= 0), default=len(lower))
        # One more on either side, so that no end of the part is taken for the end of the line or of a word.
        return max(0, first - reach - 1), last + reach + 1


class Index:
    """Finds the probes whose words a text holds. Raises ValueError for a pattern without a fixed word."""

    def __init__(self, files: Sequence[RuleFile]) -> None:
        self.rules = tuple(rule for file in files for rule in file.rules)
        self.generic = _any_of(text for file in files for text in file.generic)
        self._prefixes = [re.compile(text) for file in files for text in file.prefixes]
        self.probes: dict[str, Probe] = {}
        self.benign = self._made(text for file in files for text in file.benign)
        self.ready = self._made(text for file in files for text in file.ready)
        self.answered = self._made(text for file in files for text in file.answered)
        self.until_ready = self._made(text for rule in self.rules if rule.until_ready for text in rule.lines)
        self.until_answered = self._made(text for rule in self.rules if not rule.fatal for text in rule.lines)
        reads = self._made(text for rule in self.rules for text in rule.reads)
        self.on_benign_lines = self.ready | self.answered | reads
        conditions = self._made(text for rule in self.rules for text in (*rule.lines, *rule.needs, *rule.unless))
        self.wanted = conditions | self.on_benign_lines
        self._automaton = _automaton(self.wanted)
        self._harmless = _automaton(self.benign)

    def _made(self, texts: Iterable[str]) -> frozenset[Probe]:
        """The probes of the patterns: one for each text, in whatever part it plays."""
        return frozenset(self.probes.setdefault(text, Probe(text)) for text in texts)

    def words(self, text: str) -> Iterator[tuple[int, tuple[Probe, ...]]]:
        """Where a fixed word ends in `text`, which is in lower case, and the probes that may match there."""
        found: Iterator[tuple[int, tuple[Probe, ...]]] = self._automaton.iter(text)
        return found

    def is_benign(self, line: str, lower: str) -> bool:
        """Whether a line says nothing."""
        return any(probe.search(line, lower) for _, probes in self._harmless.iter(lower) for probe in probes)

    def is_ready(self, line: str, lower: str) -> bool:
        """Whether a line shows that a server has come up."""
        near = {probe for _, probes in self.words(lower) for probe in probes}
        return any(probe.search(line, lower) for probe in near & self.ready)

    def message(self, line: str) -> str:
        """A line as it is quoted."""
        for prefix in self._prefixes:
            line = prefix.sub("", line, count=1)
        return bare(line).strip()


def lowered(text: str) -> str:
    """In lower case, of the same length."""
    # The one letter that becomes two.
    return text.replace("İ", "I").lower()


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """One pattern for all; one that never matches when there are none."""
    return re.compile("|".join(f"(?:{text})" for text in texts) or r"(?!)", re.IGNORECASE)


def _automaton(probes: Iterable[Probe]) -> ahocorasick.Automaton:
    by_word: defaultdict[str, list[Probe]] = defaultdict(list)
    for probe in probes:
        words = shape(probe.text).words
        if not words:
            raise ValueError(f"the pattern {probe.text!r} has no fixed word")
        for word in words:
            by_word[word].append(probe)
    automaton = ahocorasick.Automaton()
    # One without any word cannot be searched with.
    automaton.add_word("\0", ())
    for word, found in by_word.items():
        automaton.add_word(word, tuple(found))
    automaton.make_automaton()
    return automaton


@cache
def shipped() -> Index:
    """The index of the rules that come with the program."""
    return Index(rule_files())

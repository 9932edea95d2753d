"""Finds the cause of a failure: one pass over the log, then the rule with the highest rank whose conditions hold."""

from __future__ import annotations

import codecs
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

from quarterdeck.diagnosis import remedies
from quarterdeck.diagnosis.matching.ending import Ending, ending
from quarterdeck.diagnosis.matching.index import Index, shipped
from quarterdeck.diagnosis.matching.reading import BLOCK, Hit, Reading
from quarterdeck.diagnosis.matching.service import speaks_for
from quarterdeck.diagnosis.rules import Rule
from quarterdeck.schemas.diagnosis import Diagnosis, Evidence, OtherClass, Remedy
from quarterdeck.schemas.hardware import NvmlState
from quarterdeck.schemas.models import Cause

LONGEST_EVIDENCE = 300
LONGEST_QUOTE = 160
MOST_EVIDENCE = 3
MOST_OTHERS = 4
UNEXPLAINED = 0.3
"""How sure a failure is that no rule explains."""

_CODECS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class Death:
    """How a process ended, as far as that is known."""

    exit_code: int | None = None
    signal: str | None = None
    oom_killed: bool = False
    nvml: NvmlState | None = None

    @property
    def badly(self) -> bool:
        """Whether it was no ordinary end."""
        return self.signal is not None or self.exit_code not in (None, 0)

    @property
    def facts(self) -> dict[str, str]:
        """What the texts of rules may name."""
        return {"signal": self.signal or "", "exit_code": "" if self.exit_code is None else str(self.exit_code)}

    def fits(self, rule: Rule) -> bool:
        """Whether a rule's conditions on the end hold."""
        if rule.oom_killed and not self.oom_killed:
            return False
        if rule.gpu_states and self.nvml not in rule.gpu_states:
            return False
        if rule.signals and (self.signal is None or not {"any", self.signal} & set(rule.signals)):
            return False
        return not rule.exit_codes or (
            self.exit_code is not None and bool({"any", self.exit_code} & {*rule.exit_codes})
        )


def prepare() -> None:
    """Make the rules ready, which takes some tenths of a second once; blocking."""
    shipped()


def diagnose(
    log: Iterable[str],
    *,
    exit_code: int | None = None,
    signal: str | None = None,
    oom_killed: bool = False,
    nvml: NvmlState | None = None,
    service: str = "",
    index: Index | None = None,
) -> Cause:
    """The cause that explains `log` and the end of the process; without a known one, what is known of the end."""
    found = _read(_lines(log), Death(exit_code, signal, oom_killed, nvml), service, index)
    return found.cause(found.holding(with_end=True)[0])


def diagnose_log(
    log: Iterable[str],
    service: str = "",
    *,
    exit_code: int | None = None,
    signal: str | None = None,
    index: Index | None = None,
) -> Diagnosis:
    """What a log of lines tells, and what is known of the end of the process that wrote it."""
    return _read(_lines(log), Death(exit_code, signal), service, index).diagnosis()


def diagnose_text(
    text: str,
    service: str = "",
    *,
    exit_code: int | None = None,
    signal: str | None = None,
    nvml: NvmlState | None = None,
) -> Diagnosis:
    """The same for a log in one text."""
    parts = (text[start : start + BLOCK] for start in range(0, len(text), BLOCK))
    return _read(parts, Death(exit_code, signal, nvml=nvml), service, None).diagnosis()


def diagnose_stream(stream: BinaryIO, service: str = "", on_read: Callable[[int], None] | None = None) -> Diagnosis:
    """The same for a file of any size and encoding; `on_read` is told the bytes read so far. Raises OSError."""
    return _read(_decoded(stream, on_read or (lambda _: None)), Death(), service, None).diagnosis()


def _decoded(stream: BinaryIO, on_read: Callable[[int], None]) -> Iterable[str]:
    data = stream.read(BLOCK)
    name = next((name for mark, name in _CODECS.items() if data.startswith(mark)), "utf-8")
    decoder = codecs.getincrementaldecoder(name)(errors="replace")
    done = 0
    while data:
        done += len(data)
        yield decoder.decode(data)
        on_read(done)
        data = stream.read(BLOCK)
    yield decoder.decode(b"", final=True)


def _lines(log: Iterable[str]) -> Iterable[str]:
    """As many line ends as texts: one that comes without its own gets one."""
    for text in log:
        yield text if text.endswith("\n") else text + "\n"


def _read(log: Iterable[str], death: Death, service: str, index: Index | None) -> _Found:
    index = index or shipped()
    reading = Reading(index)
    for text in log:
        reading.feed(text)
    reading.close()
    return _Found(index, reading, death, service)


class _Found:
    """What was read, and the rules that explain it."""

    def __init__(self, index: Index, reading: Reading, death: Death, service: str) -> None:
        self._index = index
        self._reading = reading
        self._death = death
        self._service = service

    @cached_property
    def _end(self) -> Ending:
        return ending(self._reading, self._index)

    def holding(self, *, with_end: bool) -> list[Rule]:
        """The rules whose conditions hold, the best first; those on the end of the process alone only `with_end`."""
        rules = [rule for rule in self._index.rules if (with_end or rule.lines) and self._holds(rule)]
        return sorted(rules, key=lambda rule: (-rule.rank, self._position(rule)))

    def _holds(self, rule: Rule) -> bool:
        first = self._reading.first
        return (
            (rule.fatal or not self._death.badly)
            and self._death.fits(rule)
            and (not rule.lines or bool(self._proofs(rule)))
            and all(first(text) for text in rule.needs)
            and not any(first(text) for text in rule.unless)
            and speaks_for(rule.services, self._service)
        )

    def _proofs(self, rule: Rule) -> list[Hit]:
        """Where the rule's lines were found, in the order of the log."""
        reading = self._reading
        hits = [hit for text in rule.lines if (hit := reading.first(text))]
        if not rule.fatal and any(map(reading.answered_after, hits)):
            return []
        if rule.until_ready:
            hits = [hit for text in rule.lines if (hit := reading.unready(text))]
        return sorted(hits, key=lambda hit: hit.number)

    def _position(self, rule: Rule) -> int:
        proofs = self._proofs(rule)
        return proofs[0].number if proofs else self._reading.lines

    def cause(self, rule: Rule) -> Cause:
        """The rule's words with the names and numbers of the log in them."""
        proofs, end = self._proofs(rule), self._end
        values = defaultdict(str, self._values(rule))
        last = self._index.message(end.line)
        quote = f" Its last words were: “{_short(last, LONGEST_QUOTE)}”." if rule.quote and last else ""
        line = proofs[0].number if proofs else end.number
        return Cause(
            failure_class=rule.failure_class,
            kind=rule.kind,
            title=rule.title.format_map(values),
            sentence=rule.sentence.format_map(values) + quote,
            hint=rule.hint.format_map(values),
            evidence=_around(proofs[0]) if proofs else _short(end.line, LONGEST_EVIDENCE),
            line=line or None,
            confidence=rule.confidence,
            remedies=self._remedies(rule),
            known_issue=rule.known_issue,
        )

    def diagnosis(self) -> Diagnosis:
        """The best explanation and the next ones."""
        rules = self.holding(with_end=self._death.badly)
        if not rules:
            # A server that has answered goes on after an error that no rule knows, as after one of a single request.
            failed = self._end.failed and not self._reading.answered
            return self._unexplained(self._end) if failed else self._healthy()
        best, *rest = rules
        cause = self.cause(best)
        return Diagnosis(
            kind="failure",
            failure_class=best.failure_class,
            confidence=best.confidence,
            service=self._service,
            title=cause.title,
            why=cause.sentence,
            evidence=self._evidence(best),
            remedies=cause.remedies or [Remedy(title=cause.hint)],
            known_issue=cause.known_issue,
            others=_others(best, rest),
        )

    def _healthy(self) -> Diagnosis:
        empty = not self._reading.ending()
        return Diagnosis(
            kind="healthy",
            confidence=0.0 if empty else 0.7,
            service=self._service,
            title="The log is empty" if empty else "No failure found",
            why="There is nothing in it to read." if empty else "No line shows a failure.",
        )

    def _unexplained(self, end: Ending) -> Diagnosis:
        last = _short(self._index.message(end.line), LONGEST_QUOTE)
        return Diagnosis(
            kind="failure",
            failure_class="other",
            confidence=UNEXPLAINED,
            service=self._service,
            title="It ends in an error of an unknown kind",
            why=f"No known cause is in the log. It ends with: “{last}”.",
            evidence=[Evidence(line=end.number, text=_short(end.line, LONGEST_EVIDENCE))],
            remedies=[
                Remedy(title="Look for this message among the known problems of the program, or try a newer version")
            ],
        )

    def _evidence(self, rule: Rule) -> list[Evidence]:
        """The line that proves the cause, then others that speak for it."""
        context = [hit for text in rule.needs if (hit := self._reading.first(text))]
        lines = {hit.number: _around(hit) for hit in (*self._proofs(rule), *context)}
        if not lines and self._end.line:
            lines = {self._end.number: _short(self._end.line, LONGEST_EVIDENCE)}
        return [Evidence(line=number, text=text) for number, text in list(lines.items())[:MOST_EVIDENCE]]

    def _values(self, rule: Rule) -> dict[str, str]:
        """What the groups of the rule's patterns hold; the line that proves the cause has the last word."""
        others = [hit for text in (*rule.reads, *rule.needs) if (hit := self._reading.first(text))]
        values = self._death.facts
        for hit in (*others, *reversed(self._proofs(rule))):
            groups = hit.match.groupdict().items()
            values |= {name: _short(value, LONGEST_QUOTE) for name, value in groups if value}
        return values

    def _remedies(self, rule: Rule) -> list[Remedy]:
        values = self._values(rule)
        made = (remedies.remedy(each.title, each.kind, each.patch, each.command, values) for each in rule.remedies)
        return [remedy for remedy in made if remedy is not None]


def _others(best: Rule, rest: list[Rule]) -> list[OtherClass]:
    """The next classes; less sure than the best in the proportion of their ranks."""
    others: dict[str, float] = {}
    for rule in rest:
        if rule.failure_class != best.failure_class:
            others.setdefault(rule.failure_class, round(rule.confidence * rule.rank / max(best.rank, 1), 2))
    return [OtherClass(failure_class=name, confidence=sure) for name, sure in list(others.items())[:MOST_OTHERS]]


def _around(hit: Hit) -> str:
    """The line, or of a long one the part with the match."""
    line = hit.line
    begin = hit.match.start() if hit.match.string == line else 0
    if len(line) <= LONGEST_EVIDENCE or begin < LONGEST_EVIDENCE // 2:
        return _short(line, LONGEST_EVIDENCE)
    return "…" + _short(line[begin - LONGEST_EVIDENCE // 4 :], LONGEST_EVIDENCE - 1)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"

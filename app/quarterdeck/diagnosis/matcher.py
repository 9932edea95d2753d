"""Finds the cause of a failure: one pass over the log, then the rule with the highest rank whose conditions hold."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache

from quarterdeck.diagnosis.rules import Rule, RuleFile, rule_files
from quarterdeck.schemas.diagnosis import Diagnosis, Evidence, Remedy
from quarterdeck.schemas.models import Cause

LONGEST_EVIDENCE = 300
LONGEST_QUOTE = 160
# Longer lines are dumps of templates and prompts, whose words prove nothing.
LONGEST_LINE = 4000

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_TELLING = re.compile(r"error|fail|fatal|assert|abort|exception|unable|cannot|could not|denied|invalid|\bE\b", re.I)


def diagnose(
    log: Iterable[str], *, exit_code: int | None = None, signal: str | None = None, oom_killed: bool = False
) -> Cause:
    """The cause that explains `log` and the end of the process; without a known one, what is known of the end."""
    reading = _Reading(_compiled())
    for text in log:
        for line in text.splitlines():
            reading.take(line)
    ended_badly = signal is not None or exit_code not in (None, 0)
    facts = {"signal": signal or "", "exit_code": "" if exit_code is None else str(exit_code)}
    candidates = (
        rule
        for file in rule_files()
        for rule in file.rules
        if (rule.fatal or not ended_badly) and _ended_so(rule, exit_code, signal, oom_killed) and reading.holds(rule)
    )
    best = min(candidates, key=lambda rule: (-rule.rank, reading.position(rule)))
    return reading.cause(best, facts)


def diagnose_log(log: Iterable[str], service: str = "") -> Diagnosis:
    """What a log tells by itself, with nothing known of the end of the process."""
    reading = _Reading(_compiled())
    for line in log:
        reading.take(line)
    rules = sorted(
        (rule for file in rule_files() for rule in file.rules if rule.lines and reading.holds(rule)),
        key=lambda rule: (-rule.rank, reading.position(rule)),
    )
    if not rules:
        return Diagnosis(kind="healthy", service=service, title="No failure found", why="No line shows a failure.")
    best = rules[0]
    cause = reading.cause(best, {"signal": "", "exit_code": ""})
    return Diagnosis(
        kind="failure",
        failure_class=best.failure_class,
        confidence=best.confidence,
        service=service,
        title=cause.title,
        why=cause.sentence,
        evidence=[Evidence(line=reading.position(best), text=cause.evidence)],
        remedies=[Remedy(title=cause.hint)],
    )


def _ended_so(rule: Rule, exit_code: int | None, signal: str | None, oom_killed: bool) -> bool:
    if rule.oom_killed and not oom_killed:
        return False
    if rule.signals and (signal is None or not {"any", signal} & set(rule.signals)):
        return False
    return not rule.exit_codes or (exit_code is not None and bool({"any", exit_code} & set(rule.exit_codes)))


class _Compiled:
    """All patterns, each once, however many rules use it."""

    def __init__(self, files: Sequence[RuleFile]) -> None:
        texts = {text for file in files for rule in file.rules for text in (*rule.lines, *rule.needs, *rule.unless)}
        self.patterns = {text: re.compile(text, re.IGNORECASE) for text in sorted(texts)}
        self.benign = _any_of(text for file in files for text in file.benign)
        self.generic = _any_of(text for file in files for text in file.generic)
        self.prefixes = [re.compile(text) for file in files for text in file.prefixes]


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """One pattern for all; one that never matches when there are none."""
    return re.compile("|".join(f"(?:{text})" for text in texts) or r"(?!)", re.IGNORECASE)


@cache
def _compiled() -> _Compiled:
    return _Compiled(rule_files())


class _Reading:
    """What one pass over a log has found: for each pattern its first match and where that was."""

    def __init__(self, compiled: _Compiled) -> None:
        self._compiled = compiled
        self._open = dict(compiled.patterns)
        self._found: dict[str, tuple[int, re.Match[str]]] = {}
        self._number = 0
        self._last_line = ""
        self._last_telling = ""

    def take(self, line: str) -> None:
        self._number += 1
        line = _ANSI.sub("", line).rstrip()
        if not line.strip() or len(line) > LONGEST_LINE or self._compiled.benign.search(line):
            return
        for text in [text for text, pattern in self._open.items() if self._note(text, pattern, line)]:
            del self._open[text]
        if not self._compiled.generic.search(line):
            self._last_line = line
            if _TELLING.search(line):
                self._last_telling = line

    def _note(self, text: str, pattern: re.Pattern[str], line: str) -> bool:
        match = pattern.search(line)
        if match:
            self._found[text] = (self._number, match)
        return match is not None

    def holds(self, rule: Rule) -> bool:
        found = self._found
        return (
            (not rule.lines or any(text in found for text in rule.lines))
            and all(text in found for text in rule.needs)
            and not any(text in found for text in rule.unless)
        )

    def position(self, rule: Rule) -> int:
        first = self._first(rule)
        return first[0] if first else self._number

    def cause(self, rule: Rule, facts: dict[str, str]) -> Cause:
        first = self._first(rule)
        named = {
            name: _short(value or "", LONGEST_QUOTE) for name, value in (first[1].groupdict() if first else {}).items()
        }
        values = defaultdict(str, {**facts, **named})
        last = self._last_telling or self._last_line
        quote = f" Its last words were: “{_short(self._bare(last), LONGEST_QUOTE)}”." if rule.quote and last else ""
        return Cause(
            failure_class=rule.failure_class,
            kind=rule.kind,
            title=rule.title.format_map(values),
            sentence=rule.sentence.format_map(values) + quote,
            hint=rule.hint.format_map(values),
            evidence=_short((first[1].string if first else last).strip(), LONGEST_EVIDENCE),
        )

    def _first(self, rule: Rule) -> tuple[int, re.Match[str]] | None:
        return min(
            (self._found[text] for text in rule.lines if text in self._found), key=lambda hit: hit[0], default=None
        )

    def _bare(self, line: str) -> str:
        for prefix in self._compiled.prefixes:
            line = prefix.sub("", line, count=1)
        return line.strip()


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"

"""A line of a log without what only surrounds its message: colours, time, level, process, container."""

from __future__ import annotations

import re

LONGEST = 4000
"""Characters of a line that are looked at: of longer ones, which dump prompts or templates, the two ends."""

_END = LONGEST // 2

COLOURS = re.compile(r"\x1b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[()][A-Z0-9]|[=>A-Z])?")
"""Control sequences of terminals."""

# What is left of them where a log was copied from a page or a file that dropped or wrote out the control character.
_COPIED_COLOURS = re.compile(r"(?:\^\[|\\u001b|\\x1b|\\033|\\e)\[[\d;]*m|\[\d{1,2}(?:;\d{1,3})*m", re.IGNORECASE)
_COLOUR = re.compile(r"\[[\d;]*m")  # begins with a fixed sign, so that it is found much faster

# From here on a line repeats a template, or what somebody wrote to a model or it answered: words that prove nothing.
# What a template says by itself comes after a mark of its own.
_REPEATED = re.compile(
    r"\{%|\{\{|\bprompt: ?['\"]|['\"]role['\"]: ?['\"]assistant['\"], ?['\"]content|['\"]delta['\"]: ?\{"
    r"|['\"](?:chat\.completion|text_completion)\b|['\"]created_at['\"]: ?['\"][^'\"]*['\"], ?['\"](?:response|message)"
)
_SPOKEN = re.compile(r"\b(?:Jinja Exception|TemplateError|UndefinedError): ", re.IGNORECASE)

_DATE = r"\d{4}[-/]\d\d[-/]\d\d|\d\d[-/]\d\d(?:[-/]\d\d(?:\d\d)?)?|[A-Z][a-z]{2} +\d{1,2}"
_TIME = r"\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z| ?[+-]\d\d:?\d\d)?"
_LEVEL = r"(?:TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|CRITICAL|FATAL)"
_PREFIX = re.compile(
    "|".join(
        [
            rf"[\[(]?(?:{_DATE})?[T ,-]*\[?{_TIME}[\])]?(?: (?:TP|DP|PP|EP)\d+[^\]]*\])?[ :,|-]*",
            rf"\[?(?:{_DATE})[\])]? (?=\S)",
            rf"\[?{_LEVEL}\]?(?:[:|]\s*|\s+)(?:[\w./-]+\.(?:py|go|rs|cpp):\d+\]?[ :]*)?",
            r"(?:time|level|source|ts)=\S+ ",
            r"\[[\w./-]+\.(?:py|go|rs):\d+\] ?",
            r"\[?[\w./-]+\.py:\d+\] ?",
            r"\((?:[A-Z]\w+)?[ _]?[\w:, =.-]*(?:pid|rank|ip)=[^)]*\) ?",
            r"\[(?:rank|gpu|worker)[ _:]?\w*\]:? ?",
            r"[\w.-]+ [\w.@/-]+\[\d+\]: ",
            r"[\w.-]+-?\d* +\| ",
            r"(?:stdout|stderr) [FP] ",
            r">+ ",
            r"\d+\.\d+\.\d+\.\d+ [A-Z] +",
        ]
    )
)


def cleaned(line: str) -> str:
    """The line without colours, and without what it only repeats."""
    if len(line) > LONGEST:
        line = f"{line[:_END]} … {line[-_END:]}"
    if _COLOUR.search(line):
        line = _COPIED_COLOURS.sub("", line)
    if ("{" in line or "prompt:" in line) and (repeated := _REPEATED.search(line)):
        spoken = _SPOKEN.search(line, repeated.end())
        line = f"{line[: repeated.start()]} … {line[spoken.start() :]}" if spoken else line[: repeated.start()]
    return line.strip()


_CONTAINER = re.compile(r"(?!(?:trace|debug|info|warn|warning|error|critical|fatal) )([a-z0-9][a-z0-9_.-]{0,60}) +\| ")


def writer(line: str) -> str:
    """Which of several containers wrote a line, as `docker compose logs` tells it; empty where it does not."""
    match = _CONTAINER.match(line)
    return match[1] if match else ""


def bare(line: str) -> str:
    """The message of a line: what follows time, level, process and the like."""
    while match := _PREFIX.match(line):
        if match.end() == 0:
            break
        line = line[match.end() :].lstrip()
    return line

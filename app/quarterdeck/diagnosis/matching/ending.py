"""How a log ends: what its last telling line is, and whether it is plainly the end of something that failed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from quarterdeck.diagnosis.matching.index import Index, lowered
from quarterdeck.diagnosis.matching.lines import bare
from quarterdeck.diagnosis.matching.reading import Reading

CONSIDERED = 12
"""Lines of the end, without those that only follow from a failure, among which a failure counts as the end."""

LOOKED_THROUGH = 60
"""The same, among which the last telling line is looked for."""

_TELLING = re.compile(r"error|fail|fatal|assert|abort|exception|unable|cannot|could not|denied|invalid|\bE\b", re.I)

# What comes after a failure in any case: hints of libraries, tidying up, other processes that are stopped.
_AFTERMATH = re.compile(
    r'^(?:File "|[\^~\s]+$|Traceback \(most recent call last\)|For debugging consider|Compile with `?TORCH_USE'
    r"|CUDA kernel errors might|warnings?\.warn|nanobind: |resource_tracker|/\S+/resource_tracker\.py"
    r"|(?:Shutting down|Waiting for application shutdown|Application shutdown complete|Finished server process)"
    r"|The above exception was|During handling of the above|\[rank\d+\]:\[W|[\w@~:./-]*[$#%>] ?$|Killed$"
    r"|[}\])]+[,;]?$|\.\.\.$)",
    re.IGNORECASE,
)
_WARNING = re.compile(
    r"\bWARN(?:ING)?\b|\blevel=(?:info|debug|warn)|^\S{0,40}\s*(?:INFO|DEBUG|NOTICE)\b|Warning\b", re.I
)
_EXCEPTION = re.compile(
    r"^(?:\w+: )?(?:[\w]+(?:\.|::))*[A-Z]\w*(?:Error|Exception|Timeout|Refused|Failure|Exit)\w*(?:: |:?$|\()"
)
_LEVEL = re.compile(
    r"(?:^|[\s\[(|])(?:ERROR|FATAL|CRITICAL|PANIC|SEVERE)(?=[\s\])|:])|\b(?i:level=(?:error|fatal|critical|panic))\b"
    r"|\"level\": ?\"(?:error|fatal|critical)\"|^\d+\.\d+\.\d+\.\d+ E "
)
_FATAL_WORDS = re.compile(
    r"^(?:fatal|panic|critical|error|failed|failure|abort(?:ed)?)\b.{0,20}?[:!]|^\S{1,30}: (?:fatal )?error: "
    r"|\berror: \S|\bsegmentation fault\b|\bcore dumped\b|^aborted\b|^terminate called|\bunhandled exception\b"
    r"|\buncaught \w*error\b|[\"']error[\"']: ?(?:\{|[\"'](?![\"']))|\berror code: \d"
    r"|\bexit(?:ed|s|ing)?\b[^.]{0,30}\b(?:code|status)[:= ]+-?[1-9]"
    r"|\bHTTP(?:/[\d.]+|Error)?:? [45]\d\d\b|\bstatus(?:[ _]code)?[:= ]+[45]\d\d\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Ending:
    """The last telling line, by number; `failed` when the log plainly ends with it and nothing is ready after it."""

    number: int
    line: str
    failed: bool


def ending(reading: Reading, index: Index) -> Ending:
    """How what was read ends. An empty log ends in an empty line."""
    telling = last = (reading.lines, "")
    failed, considered = False, 0
    over = False
    for number, line in reversed(reading.ending()):
        if _is_noise(line, index, thorough=not last[1]):
            continue
        considered += 1
        last = last if last[1] else (number, line)
        over = over or index.is_ready(line, lowered(line))
        if considered <= CONSIDERED and not over and _shows_failure(line):
            telling, failed = (number, line), True
            break
        if not telling[1] and _TELLING.search(line):
            telling = number, line
        if considered >= (CONSIDERED if telling[1] else LOOKED_THROUGH):
            break
    number, line = telling if telling[1] else last
    return Ending(number, line, failed)


def _is_noise(line: str, index: Index, *, thorough: bool) -> bool:
    """Whether a line says nothing about the cause. Lines that tell nothing anyway are looked at `thorough`ly only."""
    if _AFTERMATH.search(bare(line)):
        return True
    if not thorough and not _TELLING.search(line):
        return False
    return bool(index.generic.search(line)) or index.is_benign(line, lowered(line))


def _shows_failure(line: str) -> bool:
    message = bare(line)
    if _EXCEPTION.search(message) and not message.startswith("Deprecat"):
        return "Warning" not in message.partition(":")[0]
    if _WARNING.search(line):
        return False
    return bool(_LEVEL.search(line) or _FATAL_WORDS.search(message))

"""Numbers and times as people read them. Memory and file sizes are binary (MiB, GiB)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from quarterdeck.schemas import lengths

MIB = 1024**2
GIB = 1024**3
UNKNOWN = "n/a"


def size(value: int | None) -> str:
    """A number of bytes: whole MiB below one GiB, GiB with one digit above."""
    if value is None:
        return UNKNOWN
    if value < MIB:
        return "under 1 MiB"
    if round(value / MIB) < 1024:
        return f"{round(value / MIB)} MiB"
    return f"{value / GIB:.1f} GiB"


def parameters(count: int | None) -> str:
    """A number of parameters as the field writes it: 135M, 7.2B."""
    if count is None:
        return UNKNOWN
    for unit, word in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= unit:
            amount = count / unit
            return f"{amount:.0f}{word}" if amount >= 20 else f"{amount:.1f}".removesuffix(".0") + word
    return str(count)


def context(tokens: int | None) -> str:
    """A context length: 8k, 128k."""
    if tokens is None:
        return UNKNOWN
    if tokens < 1000:
        return str(tokens)
    return f"{tokens // 1000}k" if tokens % 1000 == 0 else f"{max(1, round(tokens / 1024))}k"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return UNKNOWN
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def elapsed(seconds: float) -> str:
    """Time that still runs: whole seconds, so that the text does not jitter."""
    whole = int(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def uptime(seconds: float) -> str:
    """How long something has run, as coarse as people need it, so that it need not be told every second."""
    return "under 1 min" if seconds < 60 else lengths.duration(seconds)


def listed(names: Sequence[str], most: int) -> str:
    """Names between commas, the later ones only counted."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def counted(count: int, one: str, many: str) -> str:
    """A number with the word that fits it."""
    return f"{count:,} {one if count == 1 else many}"


def moment(at: datetime | None, now: datetime) -> str:
    """A moment in local time, near days by name; `now` and `at` are aware or both naive."""
    if at is None:
        return "Never"
    local, today = at.astimezone(), now.astimezone().date()
    clock = f"{local:%H:%M}"
    if local.date() == today:
        return f"Today {clock}"
    if local.date() == today - timedelta(days=1):
        return f"Yesterday {clock}"
    return f"{local.day} {local:%b %Y} {clock}"


def one_line(text: str) -> str:
    """The first line of a longer text, without blanks around it."""
    stripped = text.strip()
    return stripped.splitlines()[0].strip() if stripped else ""


def inside(text: str) -> str:
    """The text within a sentence: its first letter small, the rest as it is."""
    return text[:1].lower() + text[1:]


def sentence_start(text: str) -> str:
    """The text with its first letter as a capital and the rest as it is; names such as vLLM stay as they are."""
    word = text.partition(" ")[0].rstrip(".,:;")
    is_name = word[1:] != word[1:].lower() or "_" in word or "." in word
    return text if is_name else text[:1].upper() + text[1:]

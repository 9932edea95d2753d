"""What an import would do, in words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from quarterdeck.gui.presenters import text
from quarterdeck.gui.presenters.badges import Tone
from quarterdeck.gui.presenters.engines import BACKEND_TITLES
from quarterdeck.schemas.discovery import ImportAction, ImportEntry, ImportPreview

FILE_FILTER = (
    "Lists and configurations (*.json *.yaml *.yml Modelfile *.Modelfile *.modelfile *.txt *.env);;All files (*)"
)
LONGEST_VALUE = 60


class EntryRow(NamedTuple):
    """One entry as a line of the table; `wanted` says whether it can be chosen."""

    name: str
    word: str
    icon: str
    tone: Tone
    engine: str
    where: str
    wanted: bool


_WORDS = {
    ImportAction.ADD: ("New", "add", Tone.OK),
    ImportAction.CHANGE: ("Changes", "edit", Tone.INFO),
    ImportAction.SAME: ("Same as now", "ok", Tone.NEUTRAL),
    ImportAction.SKIP: ("Skipped", "remove", Tone.WARN),
}
_FIELDS = {
    "load_config": "Options", "path": "File", "url": "Server", "backend": "Engine", "served_name": "Name at its server",
    "aliases": "Other names", "roles": "Roles", "capabilities": "Capabilities", "group": "Group", "pinned": "Pinned",
    "idle_timeout": "Unload when idle", "context_length": "Context length", "quantization": "Quantization",
    "deprecated": "Deprecated", "locked": "Locked", "expected_hash": "Checksum", "family": "Family", "format": "Format",
    "notes": "Notes", "size_bytes": "Size", "parameter_count": "Parameters", "has_chat_template": "Chat template",
}  # fmt: skip


def row(entry: ImportEntry) -> EntryRow:
    word, icon, tone = _WORDS[entry.action]
    return EntryRow(
        name=entry.name,
        word=word,
        icon=icon,
        tone=tone,
        engine=BACKEND_TITLES.get(entry.backend or "", ""),
        where=entry.where or "",
        wanted=entry.action in (ImportAction.ADD, ImportAction.CHANGE),
    )


def detail(entry: ImportEntry) -> str:
    """Everything about one entry: why it is skipped, what changes, what is not carried over."""
    lines = [entry.reason] if entry.reason else []
    for field, (before, after) in entry.changes.items():
        label = _FIELDS.get(field, field)
        was = "" if before in (None, "", [], {}) else f", instead of {_value(before)}"
        lines.append(f"{label}: {_value(after)}{was}")
    if entry.dropped:
        lines.append(f"Not carried over: {', '.join(entry.dropped)}")
    if not lines:
        lines.append("It is in the list already, exactly like this." if entry.action is ImportAction.SAME else "")
    return "\n".join(line for line in lines if line)


def heading(preview: ImportPreview) -> str:
    """What was read and what would come of it."""
    counts = _counts(preview.entries, ("new", "with changes", "the same as now", "skipped"))
    return f"{preview.title}: {counts or 'no models'}"


def result(done: ImportPreview) -> str:
    """What came of it."""
    counts = _counts(done.entries, ("added", "changed", "unchanged", "skipped"))
    return text.sentence_start(f"{counts}.") if counts else "There was nothing to take over."


def notes(preview: ImportPreview) -> list[str]:
    """Warnings, and the servers that the text names."""
    found = list(preview.warnings)
    if preview.servers:
        found.append(
            f"It also names {text.counted(len(preview.servers), 'server', 'servers')}: {', '.join(preview.servers)}."
        )
    return found


def _counts(entries: Sequence[ImportEntry], words: tuple[str, str, str, str]) -> str:
    """How many entries there are of each action, in the order of ImportAction."""
    counts = Counter(entry.action for entry in entries)
    parts = [f"{counts[action]:,} {word}" for action, word in zip(ImportAction, words, strict=True) if counts[action]]
    return ", ".join(parts)


def _value(value: object) -> str:
    words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return words if len(words) <= LONGEST_VALUE else f"{words[:LONGEST_VALUE]}…"

"""Known issues in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from quarterdeck.gui.presenters.badges import Badge, Tone
from quarterdeck.gui.presenters.text import counted
from quarterdeck.schemas.known_issues import ImportedIssues, KnownIssue

APPLIES: dict[bool | None, Badge] = {
    True: Badge("warn", "Still applies", Tone.WARN, "It is not solved in current versions."),
    False: Badge("ok", "Solved", Tone.OK, "Current versions do not have it any more."),
    None: Badge("unknown", "Not known", Tone.NEUTRAL, "Nobody has checked whether current versions still have it."),
}
# Names and commands stand between backticks in the page.
_CODE = re.compile(r"`([^`]+)`")
# What stands for more than one text in a signature, and what it is read as; in this order. The marks of a pattern that
# are meant as themselves wait elsewhere meanwhile.
_ASIDE = 0xE000
_READ_AS: tuple[tuple[str, str], ...] = (
    (r"\\b|\(\?i\)|[\^$]", ""),
    (r"\(\?:[^()|]*\)\?", ""),
    (r"\((?:\?:)?([^()|]*)(?:\|[^()]*)?\)\??", r"\1"),
    (r"(?:\[[^\]]*\]|\\[Swd]|\.(?=[{*+?]))(?:\{[^}]*\}|[*+?])*", "…"),
    (r"\\s[*+?]?", " "),
    (r"(?<=\w)\?|(?<=['\" ])\?", ""),
    (r"…(?:\s*…)+", "…"),
    (r"\s{2,}", " "),
)
# What the services of the page are called; others are shown as they are written.
_NAMES = {
    "aphrodite": "Aphrodite", "base-url": "Base URL", "chatui": "ChatUI", "codex": "Codex", "comfyui": "ComfyUI",
    "connections": "Connections", "cors": "CORS", "docker": "Docker", "driver": "GPU driver",
    "exllamav2": "ExLlamaV2", "flashinfer": "FlashInfer", "gemma-2": "Gemma 2", "host": "This computer",
    "litellm": "LiteLLM", "llamacpp": "llama.cpp", "load-balancer": "Load balancer", "mistralrs": "mistral.rs",
    "ollama": "Ollama", "openai-compatible": "OpenAI-compatible", "openedai-speech": "OpenedAI Speech",
    "optillm": "OptiLLM", "quarterdeck": "Quarterdeck", "qwen": "Qwen", "raglite": "RAGLite",
    "reverse-proxy": "Reverse proxy", "rocm": "ROCm", "searxng": "SearXNG", "tabbyapi": "TabbyAPI",
    "third-party": "Internet", "tls": "TLS", "vllm": "vLLM", "webui": "Open WebUI", "websocket": "WebSocket",
    "wsl": "WSL",
}  # fmt: skip
EXAMPLE = """## What is wrong, in a few words

Why it happens.

### `service` x `another service or model`

What one sees then.

### Workarounds

1. What to do about it.
"""


class IssueRow(NamedTuple):
    """An entry as the list shows it; `needle` is what the search looks through."""

    issue: KnownIssue
    title: str
    subject: str
    badge: Badge
    origin: str
    needle: str


def called(service: str) -> str:
    """What people call a service that the page names."""
    return _NAMES.get(service.lower(), service)


def to_row(issue: KnownIssue) -> IssueRow:
    about = _about(issue)
    words = [issue.id, issue.title, issue.subject, about, issue.cause, issue.versions, *issue.workarounds]
    words += issue.signatures
    for combination in issue.affected:
        words += [*combination.services, *map(called, combination.services), combination.effect]
    return IssueRow(
        issue, issue.title, about, APPLIES[issue.still_applies], "Yours" if issue.own else "Built in",
        " ".join(words).lower(),
    )  # fmt: skip


def _about(issue: KnownIssue) -> str:
    """What an entry is about; an entry of one's own may have no subject besides its title."""
    if issue.subject != issue.title:
        return called(issue.subject)
    services = dict.fromkeys(service for one in issue.affected for service in one.services)
    return ", ".join(map(called, services))


def matching(rows: Iterable[IssueRow], typed: str) -> list[IssueRow]:
    """The entries in which every word occurs."""
    words = typed.lower().split()
    return [row for row in rows if all(word in row.needle for word in words)]


def sections(issue: KnownIssue) -> list[tuple[str, list[str]]]:
    """The parts of an entry that say something: a heading and its lines."""
    affected = [f"{' × '.join(map(called, one.services))}: {one.effect}" for one in issue.affected]
    checked = f"Checked on {issue.checked:%d %b %Y}" if issue.checked is not None else ""
    parts = [
        ("Why", [issue.cause]),
        ("Who is affected", affected),
        ("What to do", list(issue.workarounds)),
        ("Versions", [issue.versions]),
        ("Shows in logs as", list(dict.fromkeys(map(readable, issue.signatures)))),
        ("Known from", [issue.source, checked]),
    ]
    told = [(heading, [_CODE.sub(r"“\1”", line) for line in lines if line]) for heading, lines in parts]
    return [(heading, [f"• {line}" for line in lines] if len(lines) > 1 else lines) for heading, lines in told if lines]


def readable(signature: str) -> str:
    """A signature as the words that it looks for; an ellipsis stands for whatever is between them."""
    text = re.sub(r"\\([^\w\s])", lambda found: chr(_ASIDE + ord(found[1])), signature)
    for pattern, words in _READ_AS:
        text = re.sub(pattern, words, text)
    return "".join(chr(ord(one) - _ASIDE) if _ASIDE <= ord(one) < _ASIDE + 128 else one for one in text).strip()


def imported_words(result: ImportedIssues) -> str:
    """What came of reading a page."""
    counts = [
        f"added {counted(len(result.added), 'entry', 'entries')}" if result.added else "",
        f"replaced {counted(len(result.replaced), 'entry', 'entries')}" if result.replaced else "",
    ]
    done = " and ".join(part for part in counts if part) or "nothing was added"
    return f"{done[:1].upper()}{done[1:]}."


def count_words(shown: int, total: int) -> str:
    """How many entries there are, and how many the search left."""
    return counted(total, "entry", "entries") if shown == total else f"{shown} of {total} entries"


def first_match(rows: Sequence[IssueRow], id: str) -> int:
    """Where an entry stands; -1 when it is not there."""
    return next((place for place, row in enumerate(rows) if row.issue.id == id), -1)

"""The requests of clients in words: rows, filters, figures and the facts of one of them. Times in milliseconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from http import HTTPStatus
from math import ceil
from typing import NamedTuple

from quarterdeck.gui.presenters.badges import Badge, Tone
from quarterdeck.gui.presenters.changes import remarks
from quarterdeck.gui.presenters.text import counted, duration
from quarterdeck.schemas.requests import RequestView

CLIENT_LEFT = 499

_DIALECTS = {"openai": "OpenAI", "ollama": "Ollama", "anthropic": "Anthropic", "responses": "Responses"}
_OPERATIONS = {
    "chat": "Chat", "completion": "Completion", "embeddings": "Embeddings", "rerank": "Rerank", "speech": "Speech",
    "transcription": "Transcription", "images": "Images",
}  # fmt: skip
_ROUTES = {
    "exact": "its own name", "alias": "another name of the model", "capability": "a capability",
    "pattern": "a pattern", "balance": "shared among models", "default": "the model for unknown names",
    "fallback": "a fallback",
}  # fmt: skip


class Outcomes(StrEnum):
    """Which requests are shown."""

    ALL = "all"
    FAILED = "failed"
    CHANGED = "changed"


OUTCOME_CHOICES = (
    ("All requests", Outcomes.ALL),
    ("Not answered", Outcomes.FAILED),
    ("Changed on their way", Outcomes.CHANGED),
)


class RequestRow(NamedTuple):
    """One request as the table holds it; `needle` is what a search looks into."""

    view: RequestView
    time: str
    badge: Badge
    model: str
    operation: str
    dialect: str
    backend: str
    first: str
    total: str
    speed: str
    changes: str
    needle: str

    @property
    def id(self) -> str:
        return self.view.id


def to_row(view: RequestView, backend_title: str = "") -> RequestRow:
    """`backend_title` is the name that people know the backend by."""
    names = dict.fromkeys(name for name in (view.asked, view.model) if name)
    words = (
        view.model, view.asked, view.backend, backend_title, view.path, view.key, view.client, view.error, kind(view),
        view.id, str(view.status), *view.dropped, *view.applied,
        *(item for each in remarks(view) for item in each.items),
    )  # fmt: skip
    return RequestRow(
        view=view,
        time=f"{view.at.astimezone():%H:%M:%S}",
        badge=outcome(view),
        # One that was refused before it was read has but its path.
        model=" → ".join(names) or view.path,
        operation=operation(view),
        dialect=dialect(view),
        backend=backend_title or view.backend or "",
        first=milliseconds(view.first_token_ms),
        total=milliseconds(view.total_ms),
        speed=speed(view.tokens_per_second),
        changes=changes(view),
        needle="\n".join(word.lower() for word in words if word),
    )


def outcome(view: RequestView) -> Badge:
    """How a request ended."""
    sentence = view.error or ""
    if view.status == CLIENT_LEFT:
        return Badge("close", "Client left", Tone.NEUTRAL, sentence or "The client went away before the end.")
    if view.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Badge("error", f"Failed, {view.status}", Tone.ERROR, sentence or "The request failed.")
    if view.status >= HTTPStatus.BAD_REQUEST:
        return Badge("warn", f"Refused, {view.status}", Tone.WARN, sentence or "The request was refused.")
    if view.error:
        return Badge("error", "Broke off", Tone.ERROR, sentence)
    return Badge("ok", "Answered", Tone.OK, f"Answered with status {view.status}.")


def failed(view: RequestView) -> bool:
    return view.status >= HTTPStatus.BAD_REQUEST or bool(view.error)


def operation(view: RequestView) -> str:
    """What was asked; empty where the request was refused before it was read."""
    if not (view.model or view.asked) and failed(view):
        return ""
    return _OPERATIONS.get(view.operation, view.operation)


def dialect(view: RequestView) -> str:
    """In whose words it was asked."""
    return _DIALECTS.get(view.dialect, view.dialect)


def kind(view: RequestView) -> str:
    """What was asked, and in whose words."""
    return " · ".join(part for part in (operation(view), dialect(view)) if part)


def changes(view: RequestView) -> str:
    """How much was changed on the way; empty when nothing was."""
    count = len(view.dropped) + len(view.applied)
    return counted(count, "change", "changes") if count else ""


def milliseconds(value: float | None) -> str:
    if value is None:
        return ""
    if value < 999.5:
        return f"{value:.0f} ms" if value >= 9.95 else f"{value:.1f} ms"
    return duration(value / 1000)


def speed(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} tok/s"


class RequestFilter(NamedTuple):
    """Which rows are shown: every word occurs, and outcome and model fit. An empty model means all."""

    words: tuple[str, ...] = ()
    outcomes: Outcomes = Outcomes.ALL
    model: str = ""

    @classmethod
    def of(cls, text: str, outcomes: Outcomes, model: str) -> RequestFilter:
        return cls(tuple(text.lower().split()), outcomes, model)

    def accepts(self, row: RequestRow) -> bool:
        view = row.view
        if self.model and view.model != self.model:
            return False
        if self.outcomes is Outcomes.FAILED and not failed(view):
            return False
        if self.outcomes is Outcomes.CHANGED and not (view.dropped or view.applied):
            return False
        return all(word in row.needle for word in self.words)


def figures(views: Sequence[RequestView]) -> str:
    """What the shown requests have in common, in one line."""
    if not views:
        return ""
    parts = [counted(len(views), "request", "requests")]
    if bad := sum(failed(view) for view in views):
        parts.append(f"{bad:,} not answered")
    first = sorted(view.first_token_ms for view in views if view.first_token_ms is not None)
    if first:
        typical, slow = first[(len(first) - 1) // 2], first[ceil(len(first) * 0.95) - 1]
        parts.append(f"first token {milliseconds(typical)}, 95 % within {milliseconds(slow)}")
    speeds = [view.tokens_per_second for view in views if view.tokens_per_second is not None]
    if speeds:
        parts.append(f"{sum(speeds) / len(speeds):.1f} tokens/s")
    return " · ".join(parts)


def models_in(rows: Iterable[RequestRow]) -> list[str]:
    """The models that answered, by name."""
    return sorted({row.view.model for row in rows if row.view.model})


def facts(row: RequestRow) -> list[tuple[str, str]]:
    """Label and value of what is known of a request, in reading order."""
    view = row.view
    rows = [
        ("Asked for", view.asked if view.asked != view.model else ""),
        ("Model", view.model),
        ("Backend", row.backend),
        ("Found by", _ROUTES.get(view.route, view.route)),
        ("Tried before", ", ".join(view.tried)),
        ("Request", f"{kind(view)}{', streamed' if view.stream else ''} · {view.path}"),
        ("API key", view.key or ""),
        ("Client", view.client or ""),
        ("Waited for the model", milliseconds(view.waited_ms)),
        ("First token after", milliseconds(view.first_token_ms)),
        ("Whole answer after", milliseconds(view.total_ms)),
        ("Tokens", _tokens(view)),
        ("Time", f"{view.at.astimezone():%Y-%m-%d %H:%M:%S}"),
        ("Request id", view.id),
    ]
    return [(label, value) for label, value in rows if value]


def _tokens(view: RequestView) -> str:
    parts = [f"{view.prompt_tokens:,} in"] if view.prompt_tokens is not None else []
    if view.completion_tokens is not None:
        parts.append(f"{view.completion_tokens:,} out")
    if view.tokens_per_second is not None:
        parts.append(f"{view.tokens_per_second:.1f} per second")
    return ", ".join(parts)

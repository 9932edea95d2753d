"""The facts about a model that its overview lists."""

from __future__ import annotations

from datetime import datetime

from quarterdeck.gui.presenters import text
from quarterdeck.gui.presenters.card import BACKEND_TITLES
from quarterdeck.schemas.models import ModelView

_LAYERS = {"curated": "Your own list", "discovered": "Found on this computer"}


def facts(model: ModelView, now: datetime, backend_title: str = "") -> list[tuple[str, str]]:
    """Label and value, in reading order; what is not known says so."""
    context = f"{model.context_length:,} tokens" if model.context_length is not None else text.UNKNOWN
    rows = [
        ("Name for clients", model.name),
        ("Engine", backend_title or BACKEND_TITLES.get(model.backend, model.backend)),
        ("Size", text.size(model.size_bytes)),
        ("Quantization", model.quantization or text.UNKNOWN),
        ("Parameters", text.parameters(model.parameter_count)),
        ("Architecture", model.architecture or text.UNKNOWN),
        ("Context length", context),
        ("Chat template", _template(model.has_chat_template)),
        ("Origin", _LAYERS.get(model.layer, text.sentence_start(model.layer))),
        ("Loaded so far", _loads(model.total_loads)),
        ("Last loaded", text.moment(model.last_loaded, now) if model.last_loaded else ""),
    ]
    if model.url:
        rows.insert(1, ("Server", model.url))
    return [(label, value) for label, value in rows if value]


def _template(present: bool | None) -> str:
    return text.UNKNOWN if present is None else ("Yes" if present else "No – chats may go wrong")


def _loads(count: int) -> str:
    return {0: "Never", 1: "Once"}.get(count, f"{count} times")

"""The facts about a model that its overview lists."""

from __future__ import annotations

from datetime import datetime

from quarterdeck.gui.presenters import text
from quarterdeck.gui.presenters.engines import BACKEND_TITLES
from quarterdeck.gui.presenters.remarks import cooling
from quarterdeck.schemas.models import ModelView

_LAYERS = {"curated": "Your own list", "discovered": "Found by a scan"}
_SOURCES = {
    "ollama": "Ollama",
    "hf_cache": "the Hugging Face cache",
    "folder": "a model folder",
    "lm_studio": "LM Studio’s folder",
    "server": "a running server",
    "import": "an import",
}


def facts(model: ModelView, now: datetime, backend_title: str = "") -> list[tuple[str, str]]:
    """Label and value, in reading order; what is not known says so."""
    context = f"{model.context_length:,} tokens" if model.context_length is not None else text.UNKNOWN
    rows = [
        ("Name for clients", model.name),
        ("Other names", ", ".join(model.aliases)),
        ("Clients", f"Do not see it. {model.hidden}" if model.hidden else ""),
        ("Server", model.url or ""),
        ("Engine", backend_title or BACKEND_TITLES.get(model.backend, model.backend)),
        ("Size", text.size(model.size_bytes)),
        ("VRAM", text.size(model.vram_bytes) if model.loaded and model.vram_bytes is not None else ""),
        ("Quantization", _with_layer(model, "quantization", model.quantization or text.UNKNOWN)),
        ("Parameters", _with_layer(model, "parameter_count", text.parameters(model.parameter_count))),
        ("Architecture", _with_layer(model, "architecture", model.architecture or text.UNKNOWN)),
        ("Context length", _with_layer(model, "context_length", context)),
        ("Chat template", _with_layer(model, "has_chat_template", _template(model.has_chat_template))),
        ("Capabilities", _with_layer(model, "capabilities", ", ".join(model.capabilities))),
        ("Roles", ", ".join(model.roles)),
        ("Origin", _origin(model)),
        ("Loaded so far", _loads(model.total_loads)),
        ("Last loaded", text.moment(model.last_loaded, now) if model.last_loaded else ""),
        ("Pause", _pause(model, now)),
    ]
    return [(label, value) for label, value in rows if value]


def version_words(model: ModelView) -> str:
    """Whether the model is held to one version of its files."""
    if not model.locked:
        return "Not locked: its files may change."
    if not model.expected_hash:
        return "Locked. Its files are remembered at the first check."
    return f"Locked to the files with the checksum {model.expected_hash.removeprefix('sha256:')[:12]}…"


def _with_layer(model: ModelView, field: str, value: str) -> str:
    """The value, and that it is a person's where it is."""
    set_here = bool(value) and value != text.UNKNOWN and model.layers.get(field) == "curated"
    return f"{value} (set by you)" if set_here else value


def _origin(model: ModelView) -> str:
    layer = _LAYERS.get(model.layer, text.sentence_start(model.layer))
    source = _SOURCES.get(model.source or "")
    if source is None:
        return layer
    return f"{layer}, in {source}" if model.layer == "discovered" else f"{layer}; also in {source}"


def _pause(model: ModelView, now: datetime) -> str:
    if not cooling(model, now):
        return ""
    return f"It failed; requests load it again from {text.moment(model.cooldown_until, now)} on."


def _template(present: bool | None) -> str:
    return text.UNKNOWN if present is None else ("Yes" if present else "No – chats may go wrong")


def _loads(count: int) -> str:
    return {0: "Never", 1: "Once"}.get(count, f"{count} times")

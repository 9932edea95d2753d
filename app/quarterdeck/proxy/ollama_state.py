"""What Ollama's interface tells of models, made from what Quarterdeck knows. Nothing is asked, nothing is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Any

from quarterdeck.backends.ollama_api import full_tag
from quarterdeck.proxy.dialects.base import Fields
from quarterdeck.schemas.jsontext import parse_load_config
from quarterdeck.schemas.models import ModelView

OLLAMA_VERSION = "0.9.3"
"""The version of Ollama whose interface this is; clients decide by it what they may use."""

NEVER = timedelta(days=106_751)
"""How far away Ollama puts the end of a model that stays: the longest time that it can count."""

_CAPABILITIES = {"chat": "completion", "embeddings": "embedding"}
_CONTEXT_OPTIONS = ("num_ctx", "n_ctx", "ctx_size", "max_model_len", "context_length")
_BILLION, _MILLION, _THOUSAND = 10**9, 10**6, 10**3


def listed(view: ModelView) -> Fields:
    """An entry of `/api/tags`."""
    tag = full_tag(view.name)
    return {
        "name": tag,
        "model": tag,
        "modified_at": stamp(view.created_at),
        "size": view.size_bytes or 0,
        "digest": _digest(view),
        "details": details(view),
    }


def running(view: ModelView, *, config: Mapping[str, Any], ends_in: float | None) -> Fields:
    """An entry of `/api/ps`; `ends_in` are the seconds until the model goes when nobody uses it, None means never."""
    tag = full_tag(view.name)
    stays = NEVER if ends_in is None else timedelta(seconds=ends_in)
    return {
        "name": tag,
        "model": tag,
        "size": max(view.size_bytes or 0, view.vram_bytes or 0),
        "digest": _digest(view),
        "details": details(view),
        "expires_at": stamp(datetime.now(UTC) + stays),
        "size_vram": view.vram_bytes or 0,
        "context_length": context(config) or view.context_length or 0,
    }


def shown(view: ModelView) -> Fields:
    """The answer of `/api/show` for a model of which no Ollama can tell."""
    architecture = view.architecture or view.family or "unknown"
    facts = {
        "general.architecture": architecture,
        "general.basename": view.name,
        # `ollama show` breaks without these numbers, known or not.
        "general.parameter_count": view.parameter_count or 0,
        f"{architecture}.embedding_length": 0,
        f"{architecture}.context_length": view.context_length,
    }
    window = context(parse_load_config(view.load_config))
    parameters = "" if window is None else f"{'num_ctx':<30} {window}"
    return {
        "modelfile": "\n".join(_modelfile(view, window)),
        "parameters": parameters,
        "template": "",
        "details": details(view),
        "model_info": {key: value for key, value in facts.items() if value is not None},
        "tensors": [],
        "capabilities": capabilities(view),
        "modified_at": stamp(view.created_at),
    }


def capabilities(view: ModelView) -> list[str]:
    """What the model can, in Ollama's words; a model of which nothing is known completes."""
    return list(dict.fromkeys(_CAPABILITIES.get(each, each) for each in view.capabilities)) or ["completion"]


def details(view: ModelView) -> Fields:
    family = view.family or view.architecture or ""
    return {
        "parent_model": "",
        "format": view.format or "",
        "family": family,
        "families": [family] if family else None,
        "parameter_size": human_count(view.parameter_count),
        "quantization_level": view.quantization or "",
    }


def context(config: Mapping[str, Any]) -> int | None:
    """The context length in tokens that a load_config asks for, whatever the engine calls it."""
    found = (config.get(name) for name in _CONTEXT_OPTIONS)
    return next((each for each in found if isinstance(each, int) and each > 0), None)


def human_count(number: int | None) -> str:
    """A number of parameters as Ollama writes it, such as 134.52M; empty where it is not known."""
    if number is None:
        return ""
    if number >= _BILLION:
        return f"{number // _BILLION}B" if number % _BILLION == 0 else f"{number / _BILLION:.1f}B"
    if number >= _MILLION:
        return f"{number // _MILLION}M" if number % _MILLION == 0 else f"{number / _MILLION:.2f}M"
    return f"{number / _THOUSAND:.0f}K" if number >= _THOUSAND else str(number)


def stamp(moment: datetime) -> str:
    """A time as Ollama writes it."""
    return moment.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def _digest(view: ModelView) -> str:
    """Stands for the content: it stays while the model is the same one."""
    content = (view.name, view.path, view.url, view.served_name, view.size_bytes)
    return hashlib.sha256(repr(content).encode()).hexdigest()


def _modelfile(view: ModelView, window: int | None) -> list[str]:
    # Where the file is, is nobody's business but the owner's of this machine.
    source = PurePath(view.path).name if view.path else view.hf_path or view.served_name
    lines = ["# Modelfile generated by Quarterdeck", f"FROM {source}"]
    return lines if window is None else [*lines, f"PARAMETER num_ctx {window}"]

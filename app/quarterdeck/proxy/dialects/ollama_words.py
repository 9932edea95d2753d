"""The words of Ollama's API that its clients and its servers have in common."""

from __future__ import annotations

import contextlib
import json
from itertools import zip_longest
from typing import Any

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Fields
from quarterdeck.proxy.values import as_list, as_object, as_objects

SAME_OPTIONS = (
    "temperature", "top_p", "seed", "frequency_penalty", "presence_penalty",
    "top_k", "min_p", "typical_p", "repeat_penalty", "repeat_last_n",
    "mirostat", "mirostat_tau", "mirostat_eta", "num_ctx", "num_keep",
)  # fmt: skip
"""Entries of `options` that are called the same in the hub."""

ROOT_WORDS = ("system", "template", "context", "truncate", "shift", "_debug_render_only", "width", "height", "steps")
"""Fields beside `options` that only Ollama knows; in the hub they stand in `ollama_options` too."""

THINK_LEVELS = ("low", "medium", "high")

_IMAGE_TYPES = (("/9j/", "jpeg"), ("iVBORw0KGgo", "png"), ("R0lGOD", "gif"), ("UklGR", "webp"), ("Qk", "bmp"))


def invalid(sentence: str, hint: str = "") -> AppError:
    """The error for a request that is none."""
    return AppError("invalid_request", sentence, hint, status=400)


def objects(value: object, name: str) -> list[Fields]:
    """The list of JSON objects that `name` must be; empty for null. Raises AppError (400) otherwise."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise invalid(f"The field “{name}” must be a list of objects.")
    return value


def text(value: object, name: str) -> str:
    """The text that `name` must be; empty for null. Raises AppError (400) otherwise."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise invalid(f"The field “{name}” must be a text.")
    return value


def texts(value: object, name: str) -> list[str]:
    """The list of texts that `name` must be; empty for null. Raises AppError (400) otherwise."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise invalid(f"The field “{name}” must be a list of texts.")
    return value


def stop_words(value: object) -> list[str]:
    """The texts that end an answer, from one text or a list."""
    return [value] if isinstance(value, str) else texts(value, "stop")


def arguments_object(value: object) -> Fields:
    """The arguments of a call as Ollama has them, an object; what is none stands in it under `arguments`."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value) if value.strip() else {}
    if isinstance(value, dict):
        return value
    return {} if value is None else {"arguments": value}


def data_url(image: str) -> str:
    """A picture in base64 as a data URL; the type is read from its first bytes."""
    if image.startswith("data:"):
        return image
    kind = next((kind for start, kind in _IMAGE_TYPES if image.startswith(start)), "png")
    return f"data:image/{kind};base64,{image}"


def hub_logprobs(entries: Any, *, chat: bool) -> Fields | None:
    """Ollama's log probabilities in the hub's words, which differ for chats and for completions."""
    entries = as_objects(entries)
    if not entries:
        return None
    if chat:
        return {"content": entries}
    return {
        "tokens": [each.get("token") for each in entries],
        "token_logprobs": [each.get("logprob") for each in entries],
        "top_logprobs": [
            {str(top.get("token")): top.get("logprob") for top in as_objects(each.get("top_logprobs"))} or None
            for each in entries
        ],
    }


def ollama_logprobs(logprobs: Any) -> list[Fields] | None:
    """The hub's log probabilities of a choice, of a chat or a completion, in Ollama's words."""
    logprobs = as_object(logprobs)
    if entries := as_objects(logprobs.get("content")):
        return [_entry(each) for each in entries]
    tokens, values, tops = (as_list(logprobs.get(name)) for name in ("tokens", "token_logprobs", "top_logprobs"))
    return [
        {"token": token, "logprob": value}
        | ({"top_logprobs": [{"token": name, "logprob": each} for name, each in as_object(top).items()]} if top else {})
        for token, value, top in zip_longest(tokens, values[: len(tokens)], tops[: len(tokens)])
    ] or None


def _entry(entry: Fields) -> Fields:
    kept = {name: entry[name] for name in ("token", "logprob", "bytes") if entry.get(name) is not None}
    tops = as_objects(entry.get("top_logprobs"))
    return kept | ({"top_logprobs": [_entry(each) for each in tops]} if tops else {})

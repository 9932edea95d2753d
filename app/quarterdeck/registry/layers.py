"""The layers of a model's facts: what a person said stands over what scans found, fact by fact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CURATED = "curated"
DISCOVERED = "discovered"

Facts = Mapping[str, Any]

_DEFAULTS: dict[str, Any] = {
    "backend": "embedded",
    "served_name": None,
    "path": None,
    "url": None,
    "hf_path": None,
    "cache_location": None,
    "load_config": {},
    "size_bytes": None,
    "architecture": None,
    "parameter_count": None,
    "quantization": None,
    "context_length": None,
    "has_chat_template": None,
    "capabilities": [],
    "format": None,
    "source": None,
    "family": None,
    "aliases": [],
    "roles": [],
    "group": None,
    "pinned": False,
    "idle_timeout": None,
    "deprecated": False,
    "client_policy": {},
}

FIELDS = tuple(_DEFAULTS)
"""The facts that layers may state; each is a column of the model's table. A layer may hold notes of its own besides."""

POLICIES = frozenset(
    {"aliases", "roles", "capabilities", "group", "pinned", "idle_timeout", "deprecated", "client_policy"}
)
"""The facts that a person decides besides the load_config; null takes the decision back."""


def merge(discovered: Facts, curated: Facts) -> dict[str, Any]:
    """What both layers say together. Curated wins, load_config key by key, and null never wins over a value."""
    merged = {key: value for key, value in discovered.items() if value is not None}
    for key, value in curated.items():
        if value is None:
            continue
        below = merged.get(key)
        if key == "load_config" and isinstance(below, Mapping):
            merged[key] = {**below, **{name: v for name, v in value.items() if v is not None or name not in below}}
        else:
            merged[key] = value
    return merged


def effective(name: str, discovered: Facts, curated: Facts) -> dict[str, Any]:
    """The value of every fact of the model called `name`, with a default where no layer speaks."""
    merged = merge(discovered, curated)
    values = {field: merged[field] if field in merged else _copy(default) for field, default in _DEFAULTS.items()}
    values["served_name"] = values["served_name"] or name
    return values


def origins(discovered: Facts, curated: Facts) -> dict[str, str]:
    """The layer that each fact comes from; facts that no layer states are left out."""
    found = {field: DISCOVERED for field in FIELDS if discovered.get(field) is not None}
    return found | {field: CURATED for field in FIELDS if curated.get(field) is not None}


def highest(curated: Facts) -> str:
    """The highest layer that speaks of a model."""
    return CURATED if any(value is not None for value in curated.values()) else DISCOVERED


def changed(before: Facts, after: Facts) -> dict[str, tuple[object, object]]:
    """The facts that differ, old and new."""
    return {field: (before.get(field), after.get(field)) for field in FIELDS if before.get(field) != after.get(field)}


def _copy(default: Any) -> Any:
    return default.copy() if isinstance(default, list | dict) else default

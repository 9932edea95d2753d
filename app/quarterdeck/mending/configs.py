"""Patches of a load_config: merged in the words of the engine, and compared before and after."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from quarterdeck.backends.options import Option
from quarterdeck.schemas.problems import Change

ABSENT = "not set"


def merged(options: Sequence[Option], config: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with the entries of `patch` in it; a null removes an entry, whichever of its names it goes by.

    Of environment variables and other pairs only those named change.
    """
    names = {alias: option.name for option in options for alias in (option.name, *option.also)}
    pairs = {option.name for option in options if option.kind == "pairs"}
    changed = {names.get(key, key): value for key, value in patch.items()}
    for key in pairs & changed.keys():
        changed[key] = _paired(config.get(key), changed[key])
    kept = {key: value for key, value in config.items() if names.get(key, key) not in changed}
    return kept | {key: value for key, value in changed.items() if value is not None}


def _paired(before: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return patch
    known = before if isinstance(before, Mapping) else {}
    texts = {name: value if value is None else str(value) for name, value in patch.items()}
    return {name: value for name, value in {**known, **texts}.items() if value is not None} or None


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Every entry that differs, in the order of the new config, then what is gone."""
    keys = [*after, *(key for key in before if key not in after)]
    return [
        Change(what=key, before=shown(before, key), after=shown(after, key))
        for key in keys
        if key not in before or key not in after or before[key] != after[key]
    ]


def shown(config: Mapping[str, Any], key: str) -> str:
    """An entry as a person reads it."""
    if key not in config:
        return ABSENT
    value = config[key]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

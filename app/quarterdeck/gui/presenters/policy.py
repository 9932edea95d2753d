"""How a model is named for clients and when it is unloaded, as a person edits it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from quarterdeck.gui.presenters.text import duration
from quarterdeck.schemas.models import ConfigPatch, ModelView

MINUTE = 60.0
_SEPARATORS = re.compile(r"[,;\n]")


class Policy(NamedTuple):
    """The fields of the form. `idle_timeout` in seconds: None follows the general setting, 0 means never."""

    aliases: tuple[str, ...] = ()
    group: str = ""
    pinned: bool = False
    idle_timeout: float | None = None


def policy(model: ModelView) -> Policy:
    return Policy(tuple(model.aliases), model.group or "", model.pinned, model.idle_timeout)


def names_in(text: str) -> tuple[str, ...]:
    """The names in a text between commas; blanks around them and repeats do not count."""
    found = (part.strip() for part in _SEPARATORS.split(text))
    return tuple(dict.fromkeys(part for part in found if part))


def changes(before: Policy, after: Policy) -> dict[str, Any]:
    """The fields of a ConfigPatch that differ."""
    values: dict[str, Any] = {
        "aliases": list(after.aliases), "group": after.group.strip() or None, "pinned": after.pinned,
        "idle_timeout": after.idle_timeout,
    }  # fmt: skip
    differ = {
        "aliases": before.aliases != after.aliases,
        "group": before.group.strip() != after.group.strip(),
        "pinned": before.pinned is not after.pinned,
        "idle_timeout": before.idle_timeout != after.idle_timeout,
    }
    return {name: value for name, value in values.items() if differ[name]}


def patch(before: Policy, after: Policy, load_config: str | None) -> ConfigPatch:
    """Everything that changed, as one request."""
    values = changes(before, after)
    return ConfigPatch(**values) if load_config is None else ConfigPatch(load_config=load_config, **values)


def general_idle(seconds: float) -> str:
    """The general setting in words."""
    return "General setting (never)" if not seconds else f"General setting (after {duration(seconds)})"

"""What a person decides about a model: its other names, its roles, who it lives with. Runs on the database's thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlmodel import Session

from quarterdeck.errors import AppError
from quarterdeck.registry import rows
from quarterdeck.registry.facts import clean_capabilities
from quarterdeck.registry.layers import POLICIES
from quarterdeck.registry.names import LONGEST_NAME, clean_name, fold
from quarterdeck.schemas.jsontext import parse_load_config
from quarterdeck.schemas.models import ConfigPatch
from quarterdeck.storage.tables import Model

_MOST_WORDS = 200


def apply(session: Session, name: str, patch: ConfigPatch) -> Model:
    """Put what is given into the curated layer; null takes a word back. AppError `unknown_model`, `duplicate_model`."""
    row = rows.get(session, name)
    given = patch.model_dump(include=patch.model_fields_set & POLICIES)
    if patch.load_config is not None:
        given["load_config"] = patch.load_config
    curated: dict[str, Any] = dict(row.curated)
    for field, value in given.items():
        cleaned = _cleaned(field, value)
        if cleaned is None:
            curated.pop(field, None)
        else:
            curated[field] = cleaned
    if "aliases" in curated:
        curated["aliases"] = [alias for alias in curated["aliases"] if fold(alias) != fold(row.name)]
        _check_aliases(session, row, curated["aliases"])
    rows.restate(row, curated=curated)
    return row


def _cleaned(field: str, value: Any) -> Any:
    clean = _CLEAN.get(field)
    return value if clean is None or value is None else clean(value)


def _aliases(values: list[str]) -> list[str]:
    return _once([clean_name(value) for value in _short("aliases", values) if value.strip()])


def _roles(values: list[str]) -> list[str]:
    return _once([" ".join(value.split()) for value in _short("roles", values) if value.strip()])


def _capabilities(values: list[str]) -> list[str]:
    return clean_capabilities(_short("capabilities", values))


def _group(value: str) -> str | None:
    return " ".join(value.split())[:LONGEST_NAME] or None


def _short(field: str, values: list[str]) -> list[str]:
    if len(values) > _MOST_WORDS or any(len(value) > LONGEST_NAME for value in values):
        raise AppError(
            "bad_list",
            f"The list “{field}” is too long.",
            f"Give at most {_MOST_WORDS} entries of {LONGEST_NAME} signs.",
        )
    return values


def _once(values: list[str]) -> list[str]:
    """Without those that differ only in case."""
    return list({fold(value): value for value in reversed(values)}.values())[::-1]


def _check_aliases(session: Session, row: Model, aliases: list[str]) -> None:
    others = rows.reach(each for each in rows.everything(session) if each.name != row.name)
    for alias in aliases:
        if owner := others.get(fold(alias)):
            raise AppError(
                "duplicate_model",
                f"Clients already reach the model “{owner}” under the name “{alias}”.",
                "Choose another name, or take it from that model first.",
                status=409,
            )


_CLEAN: dict[str, Callable[[Any], Any]] = {
    "load_config": parse_load_config, "aliases": _aliases, "roles": _roles, "capabilities": _capabilities,
    "group": _group,
}  # fmt: skip

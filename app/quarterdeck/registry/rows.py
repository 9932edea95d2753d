"""What the registry does with single rows inside a transaction. Runs on the database's thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlmodel import Session, col, select

from quarterdeck.errors import AppError
from quarterdeck.registry import layers
from quarterdeck.registry.names import fold
from quarterdeck.storage.tables import LoadAttempt, Model


def get(session: Session, name: str) -> Model:
    """Raises AppError `unknown_model` (404)."""
    row = session.get(Model, name)
    if row is None:
        raise AppError(
            "unknown_model",
            f"There is no model named “{name}”.",
            "Look at the list of models for its exact name, or add it.",
            status=404,
        )
    return row


def everything(session: Session) -> list[Model]:
    """All models in the order of their names."""
    return list(session.exec(select(Model).order_by(Model.name)))


def some(session: Session, names: Iterable[str]) -> list[Model]:
    """Those of the models in `names` that exist, in the order of their names."""
    wanted = list(names)
    found: list[Model] = []
    for start in range(0, len(wanted), 500):
        part = select(Model).where(col(Model.name).in_(wanted[start : start + 500]))
        found.extend(session.exec(part))
    return sorted(found, key=lambda row: row.name)


def tried(session: Session) -> set[str]:
    """The names of models that were loaded, or were tried to."""
    return set(session.exec(select(LoadAttempt.model_name).distinct()))


def make(name: str, curated: Mapping[str, Any], discovered: Mapping[str, Any], *, installed: bool = True) -> Model:
    """A new row, not yet in the database."""
    return Model(
        name=name,
        layer=layers.highest(curated),
        curated=_stated(curated),
        discovered=_stated(discovered),
        installed=installed,
        **layers.effective(name, discovered, curated),
    )


def restate(
    row: Model, *, curated: Mapping[str, Any] | None = None, discovered: Mapping[str, Any] | None = None
) -> bool:
    """Give the row new layers and the effective values that follow from them; whether anything changed.

    Only columns that differ are written, so that a row that stays as it is costs nothing.
    """
    above = row.curated if curated is None else _stated(curated)
    below = row.discovered if discovered is None else _stated(discovered)
    values: dict[str, Any] = {
        **layers.effective(row.name, below, above),
        "curated": above,
        "discovered": below,
        "layer": layers.highest(above),
    }
    differ = {field: value for field, value in values.items() if getattr(row, field) != value}
    for field, value in differ.items():
        setattr(row, field, value)
    return bool(differ)


def strong_names(row: Model) -> set[str]:
    """The folded names under which clients reach this model and no other.

    A model on a server is known to the server by an id that other servers may use too, so that id is no claim.
    """
    names = {fold(row.name), *map(fold, row.aliases)}
    return names if row.url else names | {fold(row.served_name)}


def reach(models: Iterable[Model]) -> dict[str, str]:
    """Every folded name that is taken, and the model it belongs to."""
    return {name: row.name for row in models for name in strong_names(row)}


def check_free(session: Session, new: Model) -> None:
    """Raises AppError `duplicate_model` (409) when another model has one of the new one's names."""
    if session.get(Model, new.name) is not None:
        raise AppError(
            "duplicate_model",
            f"There is already a model named “{new.name}”.",
            "Choose another name, or remove that model first.",
            status=409,
        )
    taken = reach(everything(session))
    for name in (new.name, new.served_name, *new.aliases):
        if fold(name) in strong_names(new) and fold(name) in taken:
            raise AppError(
                "duplicate_model",
                f"Clients already reach the model “{taken[fold(name)]}” under the name “{name}”.",
                "Choose another name.",
                status=409,
            )


def _stated(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if value is not None}

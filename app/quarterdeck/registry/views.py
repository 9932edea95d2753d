"""A row of the model's table as every client sees it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from quarterdeck.registry import layers
from quarterdeck.schemas.jsontext import config_hash, to_text
from quarterdeck.schemas.models import ModelView, Retest, Status

if TYPE_CHECKING:
    from quarterdeck.storage.tables import Model

TESTING_ROLE = "testing"


class Views:
    """Makes ModelViews. `hardware` is the fingerprint of this machine, empty until it is known."""

    def __init__(self, include_non_installed: Callable[[], bool]) -> None:
        self.hardware = ""
        self._include = include_non_installed

    def of(self, row: Model) -> ModelView:
        stored = {field: getattr(row, field) for field in _stored(type(row))}
        return ModelView(
            **stored,
            load_config=to_text(row.load_config) if row.load_config else "{}",
            layers=layers.origins(row.discovered, row.curated),
            hidden=next(iter(self.reasons(row)), None),
            retest=self._retest(row),
        )

    def reasons(self, row: Model) -> list[str]:
        """Why clients do not see the model, in words; empty when they do."""
        found = []
        if row.deprecated:
            found.append("It is marked as deprecated.")
        if TESTING_ROLE in row.roles:
            found.append("It has the role “testing”, which keeps it from clients.")
        if not row.installed and not self._include():
            found.append(f"“{row.path}” is not there." if row.path else f"The server at {row.url} no longer offers it.")
        return found

    def _retest(self, row: Model) -> Retest | None:
        """Why the status may no longer hold."""
        if row.status is Status.UNKNOWN:
            return None
        if row.status_hardware and self.hardware and row.status_hardware != self.hardware:
            return Retest.HARDWARE
        if row.status_config_hash and row.status_config_hash != config_hash(row.load_config):
            return Retest.CONFIG
        return None


@cache
def _stored(table: type[Model]) -> tuple[str, ...]:
    return tuple(set(ModelView.model_fields) & set(table.model_fields) - {"load_config"})

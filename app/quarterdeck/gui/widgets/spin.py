"""Number fields that look like the other fields."""

from __future__ import annotations

from typing import TypeVar

from PySide6.QtWidgets import QAbstractSpinBox

S = TypeVar("S", bound=QAbstractSpinBox)
INDENT = 6


def aligned(spin: S) -> S:
    """Begin the number where text fields begin; the style sheet's padding does not reach the field inside."""
    spin.lineEdit().setTextMargins(INDENT, 0, INDENT, 0)
    return spin

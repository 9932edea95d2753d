"""Tokens are readable in both schemes, and the window follows a change live."""

from __future__ import annotations

import dataclasses

import pytest
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from quarterdeck.gui import theme
from quarterdeck.gui.theme import DARK, LIGHT, Shade, Tokens


def _luminance(colour: str) -> float:
    parts = [getattr(QColor(colour), part)() for part in ("redF", "greenF", "blueF")]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("of", [LIGHT, DARK], ids=["light", "dark"])
def test_text_has_contrast(of: Tokens) -> None:
    pairs = [(text, ground) for text in (of.text, of.muted) for ground in
             (of.window, of.sidebar, of.surface, of.hover)]  # fmt: skip
    pairs += [(of.text, of.selection), (of.on_accent, of.accent), (of.on_accent, of.accent_hover)]
    pairs += [(of.accent, of.surface), (of.accent, of.window)]
    shades = [value for value in (getattr(of, f.name) for f in dataclasses.fields(of)) if isinstance(value, Shade)]
    assert len(shades) == 5
    pairs += [(shade.fg, ground) for shade in shades for ground in (shade.bg, of.surface, of.window)]
    poor = {pair: round(_contrast(*pair), 2) for pair in pairs if _contrast(*pair) < 4.5}
    assert not poor


@pytest.mark.parametrize("of", [LIGHT, DARK], ids=["light", "dark"])
def test_graph_lines_have_contrast_and_differ(of: Tokens) -> None:
    assert len(set(of.series)) == 6
    assert all(_contrast(line, of.surface) >= 3 for line in of.series)


def test_the_scheme_changes_live(qapp: QApplication, qtbot: QtBot) -> None:
    theme.choose("light")
    assert theme.tokens() is LIGHT
    with qtbot.waitSignal(theme.notifier.changed):
        theme.choose("dark")
    assert theme.tokens() is DARK
    assert qapp.palette().color(QPalette.ColorRole.Window) == QColor(DARK.window)
    with qtbot.waitSignal(theme.notifier.changed):
        theme.choose("light")


@pytest.mark.parametrize("name", sorted(path.stem for path in theme.ASSETS.glob("*.svg")))
def test_every_icon_can_be_drawn(qapp: QApplication, name: str) -> None:
    image = theme.icon(name, "#ff0000").pixmap(24, 24).toImage()
    assert any(image.pixelColor(x, y).alpha() for x in range(image.width()) for y in range(image.height()))

"""Colours and icons of the window: one table of tokens per colour scheme, followed live."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from PySide6.QtCore import QByteArray, QObject, QRectF, Qt, Signal, Slot
from PySide6.QtGui import QColor, QGuiApplication, QIcon, QPainter, QPalette, QPixmap
from PySide6.QtWidgets import QApplication

ASSETS = Path(__file__).parent / "assets"
ICON_SIZES = (16, 20, 24, 32, 48, 64)


class Shade(NamedTuple):
    """The colours of one status: text and shape, quiet background, outline."""

    fg: str
    bg: str
    line: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """Every colour of the window, as `#rrggbb`; the only place where colours are written."""

    dark: bool
    window: str
    sidebar: str
    surface: str
    hover: str
    border: str
    text: str
    muted: str
    accent: str
    accent_hover: str
    on_accent: str
    selection: str
    ok: Shade
    info: Shade
    warn: Shade
    error: Shade
    neutral: Shade
    series: tuple[str, str, str, str, str, str]


LIGHT = Tokens(
    dark=False,
    window="#f5f6f8",
    sidebar="#eceef2",
    surface="#ffffff",
    hover="#eef1f6",
    border="#d5d9e1",
    text="#1a1f29",
    muted="#586174",
    accent="#2356c8",
    accent_hover="#1c48ab",
    on_accent="#ffffff",
    selection="#dce6fb",
    ok=Shade("#176335", "#e3f4e9", "#86c79f"),
    info=Shade("#1c4fb5", "#e6eefc", "#97b4ec"),
    warn=Shade("#7f4a00", "#fdf1dc", "#dcae62"),
    error=Shade("#a81e26", "#fcebeb", "#e29a9d"),
    neutral=Shade("#4b5466", "#edeff3", "#bcc2ce"),
    series=("#0072b2", "#b35900", "#00775a", "#a84f86", "#2a7da8", "#c04a00"),
)

DARK = Tokens(
    dark=True,
    window="#171a20",
    sidebar="#1c2027",
    surface="#20242c",
    hover="#2a2f39",
    border="#363d49",
    text="#e8eaef",
    muted="#a3acbb",
    accent="#7ea6ff",
    accent_hover="#98b8ff",
    on_accent="#0e1729",
    selection="#2b3c63",
    ok=Shade("#7fd6a0", "#1b3326", "#35694b"),
    info=Shade("#9bbcff", "#1f2c48", "#3c568d"),
    warn=Shade("#f2c36b", "#3a2e17", "#7a612e"),
    error=Shade("#ff9ea2", "#422125", "#84424a"),
    neutral=Shade("#b9c1ce", "#2c323c", "#4a5361"),
    series=("#56b4e9", "#e69f00", "#2fc79a", "#e08fc0", "#8fd0f5", "#ff8a4c"),
)


class _Notifier(QObject):
    """Tells widgets that paint themselves to take the tokens anew."""

    changed = Signal()

    @Slot()
    def refresh(self) -> None:
        app = QApplication.instance()
        if isinstance(app, QApplication):
            _paint(app)
            self.changed.emit()


notifier = _Notifier()
_choice = "system"
_dark = False


def tokens() -> Tokens:
    return DARK if _dark else LIGHT


def install(app: QApplication, choice: str = "system") -> None:
    """Set style, palette and style sheet, and follow the desktop from now on. `choice`: system, light or dark."""
    app.setStyle("Fusion")
    choose(choice)
    _paint(app)
    app.styleHints().colorSchemeChanged.connect(notifier.refresh)


def choose(choice: str) -> None:
    """Override the desktop's colour scheme with `light` or `dark`, or follow it with `system`."""
    global _choice  # noqa: PLW0603 - one application has one colour scheme
    _choice = choice
    hints = QGuiApplication.styleHints()
    if choice == "system":
        hints.unsetColorScheme()
    else:
        hints.setColorScheme(Qt.ColorScheme.Dark if choice == "dark" else Qt.ColorScheme.Light)
    # Desktops without a colour-scheme service take the override but never announce it.
    if _wants_dark() != _dark:
        notifier.refresh()


def _wants_dark() -> bool:
    if _choice != "system":
        return _choice == "dark"
    scheme = QGuiApplication.styleHints().colorScheme()
    if "dark" in os.environ.get("GTK_THEME", "").lower():
        return True
    return scheme == Qt.ColorScheme.Dark


def _paint(app: QApplication) -> None:
    from quarterdeck.gui.stylesheet import sheet

    global _dark  # noqa: PLW0603
    _dark = _wants_dark()
    current = tokens()
    app.setPalette(_palette(current))
    app.setStyleSheet(sheet(current, app.font().pointSizeF()))


def _palette(of: Tokens) -> QPalette:
    palette = QPalette()
    role = QPalette.ColorRole
    colours = {
        role.Window: of.window, role.WindowText: of.text, role.Base: of.surface, role.AlternateBase: of.hover,
        role.Text: of.text, role.Button: of.surface, role.ButtonText: of.text, role.BrightText: of.error.fg,
        role.Highlight: of.accent, role.HighlightedText: of.on_accent, role.ToolTipBase: of.surface,
        role.ToolTipText: of.text, role.PlaceholderText: of.muted, role.Link: of.accent, role.LinkVisited: of.accent,
        role.Light: of.hover, role.Midlight: of.border, role.Mid: of.border, role.Dark: of.border,
        role.Shadow: of.border, role.Accent: of.accent,
    }  # fmt: skip
    for which, colour in colours.items():
        palette.setColor(which, QColor(colour))
    for which in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, which, QColor(of.muted))
    return palette


def icon(name: str, color: str | None = None) -> QIcon:
    """The icon `gui/assets/NAME.svg` in `color` (default: the text colour of the current scheme)."""
    current = tokens()
    return _icon(name, color or current.text, current.muted)


def app_icon() -> QIcon:
    """The icon of the application, from its PNGs: the same picture that the desktop's menu shows."""
    made = QIcon()
    for path in ASSETS.glob("quarterdeck-*.png"):
        made.addFile(str(path))
    return made


@lru_cache(maxsize=512)
def pixmap(name: str, color: str, size: int, ratio: float = 1.0) -> QPixmap:
    """The icon as a pixmap of `size` logical pixels."""
    return _render(_svg(name, color), round(size * ratio), ratio)


@lru_cache(maxsize=256)
def _icon(name: str, color: str, disabled: str) -> QIcon:
    made = QIcon()
    for mode, shade in ((QIcon.Mode.Normal, color), (QIcon.Mode.Disabled, disabled)):
        source = _svg(name, shade)
        for size in ICON_SIZES:
            made.addPixmap(_render(source, size), mode)
    return made


@lru_cache(maxsize=512)
def _svg(name: str, color: str) -> bytes:
    return (ASSETS / f"{name}.svg").read_text(encoding="utf-8").replace("currentColor", color).encode()


def _render(source: bytes, pixels: int, ratio: float = 1.0) -> QPixmap:
    from PySide6.QtSvg import QSvgRenderer

    drawn = QPixmap(pixels, pixels)
    drawn.fill(Qt.GlobalColor.transparent)
    painter = QPainter(drawn)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    QSvgRenderer(QByteArray(source)).render(painter, QRectF(0, 0, pixels, pixels))
    painter.end()
    drawn.setDevicePixelRatio(ratio)
    return drawn

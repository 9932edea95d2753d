"""Bars across the top of the window for conditions that last: what happened, what to do, buttons that do it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from PySide6.QtCore import Slot
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from quarterdeck.gui import theme


class Deed(NamedTuple):
    """A button of a banner."""

    words: str
    action: Callable[[], object]


class Banner(QFrame):
    """One lasting condition. `severity` is info, warning or error."""

    def __init__(self, severity: str, sentence: str, hint: str = "", deeds: tuple[Deed, ...] = ()) -> None:
        super().__init__()
        self.sentence = sentence
        self._tone = {"warning": "warn"}.get(severity, severity if severity in ("info", "error") else "warn")
        self.setObjectName("banner")
        self.setAccessibleName(f"{severity.capitalize()}: {sentence}")
        self.setAccessibleDescription(hint)
        self._picture = QLabel()
        words = QLabel(f"{sentence} {hint}".strip())
        words.setWordWrap(True)
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 8, 10, 8)
        row.setSpacing(10)
        row.addWidget(self._picture)
        row.addWidget(words, 1)
        for deed in deeds:
            button = QPushButton(deed.words)
            button.clicked.connect(lambda _checked=False, action=deed.action: action())
            row.addWidget(button)
        self._paint()
        theme.notifier.changed.connect(self._paint)

    @Slot()
    def _paint(self) -> None:
        shade: theme.Shade = getattr(theme.tokens(), self._tone)
        self.setStyleSheet(
            f"#banner {{ background: {shade.bg}; border: 1px solid {shade.line}; border-radius: 9px; }}"
            f"#banner > QLabel {{ color: {shade.fg}; background: transparent; }}"
        )
        side = self.fontMetrics().height() + 4
        self._picture.setPixmap(theme.pixmap(self._tone, shade.fg, side, self.devicePixelRatioF()))


class BannerArea(QWidget):
    """The banners in force, by key; setting a key again replaces its banner."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.banners: dict[str, Banner] = {}
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(16, 12, 16, 0)
        self._column.setSpacing(6)
        self.hide()

    def put(self, key: str, banner: Banner) -> None:
        self.take(key)
        self.banners[key] = banner
        self._column.addWidget(banner)
        self.show()

    def take(self, key: str) -> None:
        banner = self.banners.pop(key, None)
        if banner is not None:
            self._column.removeWidget(banner)
            banner.hide()
            banner.deleteLater()
        self.setVisible(bool(self.banners))

"""The sidebar: the pages, and below them the address for clients and the state of the core."""

from __future__ import annotations

from typing import NamedTuple

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QButtonGroup, QFrame, QHBoxLayout, QLabel, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.widgets.count_mark import CountMark

MARGIN = 10
PADDING = 11


class Place(NamedTuple):
    """One page of the window, as the sidebar lists it."""

    key: str
    title: str
    icon: str
    module: str
    page: str


PLACES = (
    Place("models", "Models", "models", "quarterdeck.gui.pages.models", "ModelsPage"),
    Place("gpu", "GPU", "gpu", "quarterdeck.gui.pages.gpu", "GpuPage"),
    Place("backends", "Backends", "backends", "quarterdeck.gui.pages.backends", "BackendsPage"),
    Place("requests", "Requests", "requests", "quarterdeck.gui.pages.requests", "RequestsPage"),
    Place("routing", "Routing", "routing", "quarterdeck.gui.pages.routing", "RoutingPage"),
    Place("connect", "Connect", "connect", "quarterdeck.gui.pages.connect", "ConnectPage"),
    Place("diagnosis", "Diagnosis", "diagnosis", "quarterdeck.gui.pages.diagnosis", "DiagnosisPage"),
    Place("logs", "Logs", "logs", "quarterdeck.gui.pages.logs", "LogsPage"),
    Place("settings", "Settings", "settings", "quarterdeck.gui.pages.settings", "SettingsPage"),
)


class Sidebar(QFrame):
    """Emits `chosen(key)`, and `address_wanted` when the address is to be copied."""

    chosen = Signal(str)
    address_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("sidebar")
        self.narrow = False
        self.buttons: dict[str, QToolButton] = {}
        self.marks: dict[str, CountMark] = {}
        self._group = QButtonGroup(self)
        column = QVBoxLayout(self)
        column.setContentsMargins(MARGIN, 14, MARGIN, 12)
        column.setSpacing(4)
        column.addWidget(self._brand())
        column.addSpacing(10)
        for number, place in enumerate(PLACES, start=1):
            column.addWidget(self._button(place, number))
        column.addStretch()
        self._state_icon = QLabel()
        self._state = QLabel()
        self._state.setProperty("role", "muted")
        self._state.setWordWrap(True)
        line = QHBoxLayout()
        line.setContentsMargins(PADDING + 2, 0, 4, 0)
        line.addWidget(self._state_icon)
        line.addWidget(self._state, 1)
        column.addLayout(line)
        self.address = QToolButton()
        self.address.setProperty("kind", "quiet")
        self.address.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.address.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.address.clicked.connect(self.address_wanted)
        column.addWidget(self.address)
        self._tone = "neutral"
        self.show_state("Starting…", "neutral")
        self.show_address(None)
        self._paint()
        theme.notifier.changed.connect(self._paint)

    def choose(self, key: str) -> None:
        self.buttons[key].setChecked(True)

    def show_state(self, words: str, tone: str) -> None:
        """`tone` is ok, info, warn, error or neutral."""
        self._tone = tone
        self._state.setText(words)
        self._state_icon.setToolTip(words)
        self._state_icon.setAccessibleName(f"State: {words}")
        self._paint_state()

    @property
    def state(self) -> str:
        return self._state.text()

    def show_address(self, url: str | None) -> None:
        """The address clients use; None while there is none."""
        self.address.setEnabled(url is not None)
        self.address.setText("" if self.narrow else (url or "No address for clients").removeprefix("http://"))
        self.address.setAccessibleName(f"Copy the address for clients, {url}" if url else "No address for clients yet")
        self.address.setToolTip(f"Copy {url}" if url else "Clients cannot reach Quarterdeck yet.")
        self._url = url

    def show_count(self, key: str, count: int, meaning: str) -> None:
        """A number on the button of a page; `meaning` says what is counted."""
        place = next(place for place in PLACES if place.key == key)
        self.marks[key].show_count(count)
        told = f"{place.title}, {meaning}" if count else place.title
        self.buttons[key].setAccessibleName(told)
        self.buttons[key].setToolTip(f"{told} ({_shortcut(PLACES.index(place) + 1)})")

    def set_narrow(self, narrow: bool) -> None:
        """Icons alone in a small window; names stay in tool-tips and for screen readers."""
        self.narrow = narrow
        style = Qt.ToolButtonStyle.ToolButtonIconOnly if narrow else Qt.ToolButtonStyle.ToolButtonTextBesideIcon
        for button in self.buttons.values():
            button.setToolButtonStyle(style)
        self.address.setToolButtonStyle(style)
        self._name.setVisible(not narrow)
        self._state.setVisible(not narrow)
        self.show_address(self._url)
        room = 0 if narrow else 24 * self.fontMetrics().averageCharWidth()
        self.setFixedWidth(room + self._icon_side() + 2 * (MARGIN + PADDING) + 4)

    def _icon_side(self) -> int:
        return round(self.fontMetrics().height() * 1.3)

    def _brand(self) -> QWidget:
        holder = QWidget()
        holder.setProperty("plain", "true")
        row = QHBoxLayout(holder)
        row.setContentsMargins(PADDING - 2, 0, 0, 0)
        row.setSpacing(10)
        side = round(self.fontMetrics().height() * 1.6)
        picture = QLabel()
        picture.setPixmap(theme.app_icon().pixmap(QSize(side, side), self.devicePixelRatioF()))
        self._name = QLabel("Quarterdeck")
        self._name.setProperty("role", "heading")
        row.addWidget(picture)
        row.addWidget(self._name, 1)
        return holder

    def _button(self, place: Place, number: int) -> QToolButton:
        button = QToolButton()
        button.setProperty("kind", "nav")
        button.setText(place.title)
        button.setCheckable(True)
        button.setAccessibleName(place.title)
        button.setToolTip(f"{place.title} ({_shortcut(number)})")
        button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        button.clicked.connect(lambda _checked=False, key=place.key: self.chosen.emit(key))
        self._group.addButton(button)
        self.buttons[place.key] = button
        self.marks[place.key] = CountMark(button)
        return button

    def _paint_state(self) -> None:
        shade: theme.Shade = getattr(theme.tokens(), self._tone)
        name = {"neutral": "queued"}.get(self._tone, self._tone)
        side = self.fontMetrics().height()
        self._state_icon.setPixmap(theme.pixmap(name, shade.fg, side, self.devicePixelRatioF()))

    @Slot()
    def _paint(self) -> None:
        side = self._icon_side()
        for place in PLACES:
            self.buttons[place.key].setIcon(theme.icon(place.icon))
            self.buttons[place.key].setIconSize(QSize(side, side))
        self.address.setIcon(theme.icon("copy", theme.tokens().muted))
        self.address.setIconSize(QSize(side, side) * 0.85)
        self._paint_state()


def _shortcut(number: int) -> str:
    return QKeySequence(f"Ctrl+{number}").toString()

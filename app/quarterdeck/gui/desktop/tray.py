"""The icon in the desktop's tray and its menu."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QRectF, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QAction, QColor, QIcon, QPainter, QPixmap
from PySide6.QtWidgets import QMenu, QSystemTrayIcon

from quarterdeck.gui import theme
from quarterdeck.gui.desktop.tray_state import Line, TrayState, tray_state

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store

TRY_EVERY_MS = 1000
TRIES = 30
SIZES = (16, 22, 24, 32, 48, 64)
MOST_RESTARTS = 3
OVERLAYS = {"loading": "loading", "loaded": "loaded", "warn": "warn", "error": "error"}


class Tray(QObject):
    """Shows the state of the store; asks for what a person chooses by signals.

    The tray of a desktop may appear after the login programs were started, so it is looked for again for a while.
    """

    toggle_wanted = Signal()
    quit_wanted = Signal()
    unload_wanted = Signal(str)
    cancel_wanted = Signal(str)
    unload_all_wanted = Signal()
    restart_wanted = Signal(str)

    def __init__(
        self,
        store: Store,
        *,
        icon: QSystemTrayIcon | None = None,
        available: Callable[[], bool] = QSystemTrayIcon.isSystemTrayAvailable,
    ) -> None:
        super().__init__()
        self._store = store
        self._available = available
        self._icon = icon
        self._state: TrayState | None = None
        self._tries = 0
        self._shapes: dict[str, QIcon] = {}
        self.menu = QMenu()
        self._build_menu()
        self._clock = QTimer(self, interval=TRY_EVERY_MS)
        self._clock.timeout.connect(self.look)
        for signal in (store.models_reset, store.model_changed, store.model_removed, store.backends_changed,
                       store.issues_changed, store.connection_changed, store.status_changed):  # fmt: skip
            signal.connect(self.refresh)
        self.refresh()
        self.look()

    @property
    def present(self) -> bool:
        """Whether a person can see the icon, so that the window may hide."""
        return self._icon is not None and self._icon.isVisible() and self._available()

    @Slot()
    def look(self) -> None:
        """Show the icon as soon as the desktop has a place for it."""
        self._tries += 1
        if not self._available():
            if self._tries < TRIES:
                self._clock.start()
            else:
                self._clock.stop()
            return
        self._clock.stop()
        if self._icon is None:
            self._icon = QSystemTrayIcon(self)
        if self._icon.contextMenu() is None:
            self._icon.setContextMenu(self.menu)
            self._icon.activated.connect(self._on_activated)
        self._show_state()
        self._icon.show()

    def hide(self) -> None:
        self._clock.stop()
        if self._icon is not None:
            self._icon.hide()

    def say(self, title: str, words: str) -> None:
        """A notification of the desktop."""
        if self._icon is not None and self._icon.supportsMessages():
            self._icon.showMessage(title, words, self._picture("idle"))

    def window_shown(self, shown: bool) -> None:
        self.toggle.setText("Hide Quarterdeck" if shown else "Show Quarterdeck")

    @Slot()
    def refresh(self) -> None:
        """Bring menu, icon and tool-tip up to date; unchanged parts are left alone."""
        state = tray_state(self._store)
        if state == self._state:
            return
        self._state = state
        self.address.setText(state.address)
        self.quit.setText(state.quit_words)
        self._loading.show(state.loading)
        self._cancels.show(tuple(Line(line.key, f"Cancel loading {line.key}") for line in state.loading))
        self._loaded.show(state.loaded)
        few = len(state.backends) <= MOST_RESTARTS
        self._backends.show(state.backends if few else ())
        self._more_backends.show(() if few else _without_verb(state.backends))
        self.restarts.menuAction().setVisible(not few)
        self.unload_all.setEnabled(bool(state.loaded))
        self._show_state()

    def _show_state(self) -> None:
        if self._icon is not None and self._state is not None:
            self._icon.setIcon(self._picture(self._state.shape))
            self._icon.setToolTip(self._state.tip)

    def _build_menu(self) -> None:
        self.toggle = self._action("Show Quarterdeck", self.toggle_wanted.emit)
        self.menu.addSeparator()
        self.address = self._action("No address for clients", None)
        self._loading = _Section(self.menu, None)
        self._cancels = _Section(self.menu, self.cancel_wanted.emit)
        self._loaded = _Section(self.menu, self.unload_wanted.emit)
        self.unload_all = self._action("Unload all", self.unload_all_wanted.emit)
        self.unload_all.setEnabled(False)
        self._backends = _Section(self.menu, self.restart_wanted.emit)
        self.restarts = self.menu.addMenu("Restart a backend")
        self._more_backends = _Section(self.restarts, self.restart_wanted.emit)
        self.menu.addSeparator()
        self.quit = self._action("Quit", self.quit_wanted.emit)

    def _action(self, words: str, chosen: Callable[[], object] | None) -> QAction:
        action = self.menu.addAction(words)
        if chosen is None:
            action.setEnabled(False)
        else:
            action.triggered.connect(lambda _checked=False: chosen())
        return action

    def _picture(self, shape: str) -> QIcon:
        if shape not in self._shapes:
            self._shapes[shape] = picture(shape)
        return self._shapes[shape]

    @Slot(QSystemTrayIcon.ActivationReason)
    def _on_activated(self, reason: QSystemTrayIcon.ActivationReason) -> None:
        if reason == QSystemTrayIcon.ActivationReason.Trigger:
            self.toggle_wanted.emit()


def _without_verb(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """The entries of a menu whose title says the verb already."""
    return tuple(Line(line.key, line.words.removeprefix("Restart ")) for line in lines)


class _Section:
    """The entries of one kind, kept in place by an end mark; a desktop's menu dislikes being rebuilt while open."""

    def __init__(self, menu: QMenu, chosen: Callable[[str], object] | None) -> None:
        self._menu = menu
        self._chosen = chosen
        self._end = menu.addSeparator()
        self._end.setVisible(False)
        self._actions: dict[str, QAction] = {}

    def show(self, lines: tuple[Line, ...]) -> None:
        wanted = {line.key for line in lines}
        for key in [key for key in self._actions if key not in wanted]:
            action = self._actions.pop(key)
            self._menu.removeAction(action)
            action.deleteLater()
        for line in lines:
            action = self._actions.get(line.key) or self._add(line.key)
            if action.text() != line.words:
                action.setText(line.words)
        self._end.setVisible(bool(lines))

    def _add(self, key: str) -> QAction:
        action = QAction(self._menu)
        if self._chosen is None:
            action.setEnabled(False)
        else:
            action.triggered.connect(lambda _checked=False, chosen=self._chosen: chosen(key))
        self._menu.insertAction(self._end, action)
        self._actions[key] = action
        return action


def picture(shape: str) -> QIcon:
    """The application's icon with the sign of a state in its corner; the states differ by shape, not only colour."""
    base = theme.app_icon()
    if shape not in OVERLAYS:
        return base
    made = QIcon()
    shades = {
        "loading": theme.LIGHT.info,
        "loaded": theme.LIGHT.ok,
        "warn": theme.LIGHT.warn,
        "error": theme.LIGHT.error,
    }
    for size in SIZES:
        drawn = QPixmap(size, size)
        drawn.fill(Qt.GlobalColor.transparent)
        painter = QPainter(drawn)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.drawPixmap(0, 0, base.pixmap(size, size))
        side = round(size * 0.62)
        corner = QRectF(size - side, size - side, side, side)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(shades[shape].bg))
        painter.drawEllipse(corner)
        painter.drawPixmap(corner.toRect(), theme.pixmap(OVERLAYS[shape], shades[shape].fg, side))
        painter.end()
        made.addPixmap(drawn)
    return made

"""What the close button does, so that the window can always be found again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Slot

from quarterdeck.gui.widgets.banner import Banner, Deed

if TYPE_CHECKING:
    from quarterdeck.gui.desktop.tray import Tray
    from quarterdeck.gui.window import MainWindow

TOLD_TRAY = "told/tray"
TOLD_NO_TRAY = "told/no-tray"
NO_TRAY = "no-tray"


class Closing(QObject):
    """Hides into the tray only where there is one; each way is explained once."""

    def __init__(self, window: MainWindow, tray: Tray, action: Callable[[], str]) -> None:
        super().__init__()
        self._window = window
        self._tray = tray
        self._action = action

    def close(self) -> bool:
        """Do what the setting says; False when that is to quit."""
        action = self._action()
        if action == "quit":
            return False
        if action == "tray" and self._tray.present:
            self._window.hide()
            self._tell_tray()
        else:
            self._window.showMinimized()
            if action == "tray":
                self._tell_no_tray()
        return True

    def start_minimized(self) -> None:
        if not self._tray.present:
            self._window.showMinimized()

    @Slot()
    def toggle(self) -> None:
        """The window hides when it can be seen, and comes to the front when it cannot."""
        if self._window.isVisible() and not self._window.isMinimized():
            self._window.hide()
        else:
            self._window.bring_to_front()

    def _tell_tray(self) -> None:
        if self._window.once(TOLD_TRAY):
            self._tray.say(
                "Quarterdeck keeps running",
                "Clients can still use it. Choose Quit in this icon's menu to end it, or change what closing does in "
                "Settings.",
            )

    def _tell_no_tray(self) -> None:
        if self._window.once(TOLD_NO_TRAY):
            self._window.banners.put(
                NO_TRAY,
                Banner(
                    "info",
                    "Your desktop shows no tray, so closing minimised the window and Quarterdeck kept running.",
                    "Press Ctrl+Q to quit, or change what closing does in Settings. "
                    "On GNOME an extension for AppIndicators adds a tray.",
                    (Deed("Got it", lambda: self._window.banners.take(NO_TRAY)),),
                ),
            )

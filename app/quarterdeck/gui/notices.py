"""What the store reports, said in the frame of the window: toasts, banners, the state in the sidebar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Slot

from quarterdeck.errors import AppError
from quarterdeck.gui.presenters.text import counted
from quarterdeck.gui.widgets.banner import Banner, Deed

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store
    from quarterdeck.gui.window import MainWindow

CONNECTION = "connection"
ISSUE = "issue:"


class Notices(QObject):
    """Connects a store with the frame of a window."""

    def __init__(self, store: Store, window: MainWindow) -> None:
        super().__init__(window)
        self._store = store
        self._window = window
        store.toast.connect(window.toasts.show_toast)
        store.offer.connect(window.toasts.offer)
        store.issues_changed.connect(self._on_issues)
        store.connection_changed.connect(self._on_connection)
        store.connection_failed.connect(self._on_connection_failed)
        store.problems.changed.connect(self._on_problems)
        for signal in (store.status_changed, store.models_reset, store.model_changed, store.model_removed):
            signal.connect(self.refresh)

    def starting(self) -> None:
        self._window.sidebar.show_state("Starting…", "neutral")

    def failed(self, error: AppError) -> None:
        self._window.sidebar.show_state("Not running", "error")
        self._window.sidebar.address.setToolTip(error.sentence)

    @Slot()
    def copy_address(self) -> None:
        url = self._url()
        if url is not None:
            self._window.copy_address(url)

    @Slot()
    def refresh(self) -> None:
        """State and address in the sidebar."""
        if not self._store.connected:
            return
        self._window.sidebar.show_address(self._url())
        loading, loaded = self._store.loading(), self._store.loaded()
        if loading:
            self._window.sidebar.show_state(f"Loading {loading[0].name}", "info")
        elif loaded:
            words = f"{loaded[0].name} is loaded" if len(loaded) == 1 else f"{len(loaded)} models are loaded"
            self._window.sidebar.show_state(words, "ok")
        else:
            self._window.sidebar.show_state("Ready, no model loaded", "ok")

    def _url(self) -> str | None:
        status = self._store.status
        return f"{status.public_url}/v1" if status is not None and status.public_url else None

    @Slot(bool)
    def _on_connection(self, connected: bool) -> None:
        if connected:
            self._window.banners.take(CONNECTION)
            self.refresh()
        else:
            self._window.sidebar.show_address(None)

    @Slot(object)
    def _on_connection_failed(self, error: AppError) -> None:
        self._window.sidebar.show_state("Not connected", "error")
        if self._window.filled and CONNECTION not in self._window.banners.banners:
            text = "What you see may be out of date. It is tried again by itself."
            self._window.banners.put(CONNECTION, Banner("error", error.sentence, text))

    @Slot()
    def _on_problems(self) -> None:
        count = self._store.problems.pressing
        meaning = counted(count, "serious problem", "serious problems")
        self._window.sidebar.show_count("diagnosis", count, meaning)

    @Slot()
    def _on_issues(self) -> None:
        banners = self._window.banners
        wanted = {ISSUE + code: issue for code, issue in self._store.issues.items()}
        for key in [key for key in banners.banners if key.startswith(ISSUE) and key not in wanted]:
            banners.take(key)
        for key, issue in wanted.items():
            shown = banners.banners.get(key)
            if shown is None or shown.sentence != issue.sentence:
                banners.put(key, Banner(issue.severity, issue.sentence, issue.hint, self._deeds(issue.code)))

    def _deeds(self, code: str) -> tuple[Deed, ...]:
        if "port" in code or "public" in code:
            return (Deed("Choose another port", self._show_port),)
        return (Deed("Dismiss", lambda: self._window.banners.take(ISSUE + code)),)

    def _show_port(self) -> None:
        self._window.go("settings")
        page = self._window.page()
        focus = getattr(page, "focus_setting", None)
        if focus is not None:
            focus("port")

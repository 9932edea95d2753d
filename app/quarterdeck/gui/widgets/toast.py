"""Short messages over the bottom of the window that go by themselves; nothing important is said here alone."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, QSize, Qt, QTimer, Slot
from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent, QEnterEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QToolButton, QVBoxLayout, QWidget

from quarterdeck.gui import theme

STAY_MS = 7_000
STAY_ERROR_MS = 15_000
MOST = 3


class Toast(QFrame):
    """One message, with an optional button. The clock stops while the pointer or the focus is on it."""

    def __init__(self, text: str, kind: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.text = text
        self._kind = kind if kind in ("ok", "info", "warn", "error") else "info"
        self.setProperty("card", "true")
        self._picture = QLabel()
        words = QLabel(text)
        words.setTextFormat(Qt.TextFormat.PlainText)
        words.setWordWrap(True)
        words.setMinimumWidth(self.fontMetrics().averageCharWidth() * 44)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(14, 10, 8, 10)
        self._row.setSpacing(10)
        self._row.addWidget(self._picture)
        self._row.addWidget(words, 1)
        self._close = QToolButton()
        self._close.setProperty("kind", "quiet")
        self._close.setAccessibleName("Close this message")
        self._close.setToolTip("Close this message")
        self._close.clicked.connect(self.leave)
        self._row.addWidget(self._close)
        self._clock = QTimer(self, singleShot=True)
        self._clock.setInterval(STAY_ERROR_MS if self._kind == "error" else STAY_MS)
        self._clock.timeout.connect(self.leave)
        self._clock.start()
        self._paint()
        theme.notifier.changed.connect(self._paint)

    def add_button(self, words: str, action: Callable[[], object]) -> None:
        button = QPushButton(words)
        button.clicked.connect(lambda: (action(), self.leave()))
        self._row.insertWidget(self._row.count() - 1, button)
        # Made visible at once, so that the area above makes room for it.
        button.show()
        self.updateGeometry()

    @Slot()
    def leave(self) -> None:
        self._clock.stop()
        self.hide()
        self.deleteLater()

    def enterEvent(self, event: QEnterEvent) -> None:
        self._clock.stop()
        super().enterEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        if self.isVisible():
            self._clock.start()
        super().leaveEvent(event)

    @Slot()
    def _paint(self) -> None:
        shade: theme.Shade = getattr(theme.tokens(), self._kind)
        side = self.fontMetrics().height() + 2
        self._picture.setPixmap(theme.pixmap(self._kind, shade.fg, side, self.devicePixelRatioF()))
        self._close.setIcon(theme.icon("close", theme.tokens().muted))
        self._close.setIconSize(QSize(side, side))


class ToastArea(QWidget):
    """Stacks the newest toasts above the lower edge of `over`, in its middle."""

    def __init__(self, over: QWidget) -> None:
        super().__init__(over)
        self._over = over
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(8)
        over.installEventFilter(self)
        self.hide()

    def show_toast(self, text: str, kind: str = "info") -> Toast:
        before = self.toasts()
        # The same words twice say nothing new.
        others = [old for old in before if old.text != text]
        for old in before:
            if old.text == text or old in others[: max(0, len(others) + 1 - MOST)]:
                old.leave()
        toast = Toast(text, kind, self)
        toast.destroyed.connect(self._settle)
        self._column.addWidget(toast)
        toast.show()
        self.show()
        self.raise_()
        self._settle()
        QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(toast, text))
        return toast

    def offer(self, text: str, verb: str, action: Callable[[], object], kind: str = "ok") -> None:
        """A toast whose button does something, such as undoing."""
        self.show_toast(text, kind).add_button(verb, action)
        self._settle()

    def toasts(self) -> list[Toast]:
        return [toast for toast in self.findChildren(Toast) if not toast.isHidden()]

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self._over and event.type() == QEvent.Type.Resize:
            self._settle()
        return False

    @Slot()
    def _settle(self) -> None:
        if not self.toasts():
            self.hide()
            return
        self._column.invalidate()
        self._column.activate()
        size = self.sizeHint()
        width = min(size.width(), self._over.width() - 32)
        height = max(size.height(), self._column.heightForWidth(width))
        self.setGeometry((self._over.width() - width) // 2, self._over.height() - height - 20, width, height)

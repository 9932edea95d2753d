"""A chat with one model through the address that clients use, with its speed measured."""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QEvent, QObject, Qt, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget
from shiboken6 import isValid

from quarterdeck.errors import AppError
from quarterdeck.gui.details.transcript import Message, Transcript
from quarterdeck.gui.presenters.chat import ChatFigures, piece
from quarterdeck.schemas.models import ModelView, Phase
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.commands import Commands
    from quarterdeck.gui.store import Store

PROMPT_LINES = 3
REDRAW_SECONDS = 0.05


class Exchange:
    """One prompt and the answer that arrives for it."""

    def __init__(self, prompt: str, answer: Message, messages: list[dict[str, Any]]) -> None:
        self.prompt = prompt
        self.answer = answer
        self.messages = messages
        self.received: list[str] = []
        self.figures = ChatFigures(monotonic())

    @property
    def text(self) -> str:
        return "".join(self.received)

    def close(self, problem: str) -> None:
        """Keep what arrived in the conversation and show how it ended."""
        if self.text:
            self.messages.append({"role": "assistant", "content": self.text})
        elif self.messages:
            # A message without an answer would be sent again with the next one.
            self.messages.pop()
        if isValid(self.answer):
            self.answer.set_words(self.text)
            ending = "\n".join(part for part in (problem, self.figures.line()) if part)
            self.answer.set_figures(ending, error=bool(problem))


class TryItTab(QWidget):
    """Sends prompts and shows the answers as they arrive; loads the model first when it is not loaded."""

    def __init__(self, store: Store, commands: Commands, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store, self._commands = store, commands
        self._name = ""
        self._messages: list[dict[str, Any]] = []
        self._task: asyncio.Task[str] | None = None
        self._build()

    @property
    def answering(self) -> bool:
        return self._task is not None

    def show_model(self, model: ModelView) -> None:
        if model.name != self._name:
            self.stop()
            self._name = model.name
            self.clear()
        self._show_state(model)

    def _build(self) -> None:
        self.note = QLabel()
        self.note.setWordWrap(True)
        self.note.setProperty("role", "muted")
        self.transcript = Transcript()
        self.prompt = QPlainTextEdit()
        self.prompt.setPlaceholderText("Write a message. Enter sends it, Shift+Enter starts a new line.")
        self.prompt.setAccessibleName("Message to the model")
        self.prompt.setTabChangesFocus(True)
        self.prompt.setFixedHeight(self.fontMetrics().lineSpacing() * PROMPT_LINES + 20)
        self.prompt.installEventFilter(self)
        self.prompt.textChanged.connect(self._show_buttons)
        self.fresh = QPushButton("Start over")
        self.fresh.setToolTip("Forget this conversation")
        self.fresh.clicked.connect(self.clear)
        self.stop_button = QPushButton("Stop")
        self.stop_button.setToolTip("Stop the answer; what has arrived stays")
        self.stop_button.clicked.connect(self.stop)
        self.send_button = QPushButton("Send")
        self.send_button.setProperty("kind", "primary")
        self.send_button.clicked.connect(self.send)
        row = QHBoxLayout()
        row.addWidget(self.fresh)
        row.addStretch(1)
        row.addWidget(self.stop_button)
        row.addWidget(self.send_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 14, 16, 14)
        column.setSpacing(10)
        column.addWidget(self.transcript, 1)
        column.addWidget(self.note)
        column.addWidget(self.prompt)
        column.addLayout(row)
        self._show_buttons()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self.prompt and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and plain:
                self.send()
                return True
        return super().eventFilter(watched, event)

    def _show_state(self, model: ModelView) -> None:
        if model.phase is Phase.LOADED:
            note = (
                "" if model.has_chat_template is not False else "This model has no chat template; answers may be odd."
            )
        elif model.phase in (Phase.QUEUED, Phase.LOADING):
            note = f"{model.name} is being loaded."
        else:
            note = f"{model.name} is not loaded. Sending a message loads it first."
        self.note.setText(note)
        self.note.setVisible(bool(note))

    @Slot()
    def _show_buttons(self) -> None:
        empty = not self.prompt.toPlainText().strip()
        self.stop_button.setVisible(self.answering)
        self.send_button.setEnabled(not self.answering and not empty)
        self.send_button.setToolTip("Write a message first." if empty else "Send the message (Enter)")
        self.fresh.setEnabled(bool(self._messages) and not self.answering)

    @Slot()
    def send(self) -> None:
        words = self.prompt.toPlainText().strip()
        if not words or self.answering or not self._name:
            return
        self.prompt.clear()
        self.transcript.add("You", words)
        self._messages.append({"role": "user", "content": words})
        exchange = Exchange(words, self.transcript.add(self._name), self._messages)
        self._task = spawn(self._answer(self._name, exchange), name=f"chat with {self._name}")
        # A task that is cancelled before its first step never reaches a `finally` of its own.
        self._task.add_done_callback(partial(self._finish, exchange))
        self._show_buttons()

    @Slot()
    def stop(self) -> None:
        """Stop the answer under way; what has arrived stays."""
        if self._task is not None:
            self._task.cancel()

    @Slot()
    def clear(self) -> None:
        self._messages = []
        self.transcript.clear()
        self._show_buttons()

    async def _answer(self, name: str, exchange: Exchange) -> str:
        """Stream the answer; gives what went wrong, in words."""
        try:
            if not await self._ready(name, exchange.answer):
                return f"{name} was not loaded, so the message was not sent."
            await self._stream(name, exchange)
        except AppError as error:
            return f"{error.sentence} {error.hint}".strip()
        return "" if exchange.received else "The model answered with nothing."

    async def _ready(self, name: str, answer: Message) -> bool:
        """Load the model when it is not loaded; a load under way is waited for by the request itself."""
        model = self._store.models.get(name)
        if model is None or model.phase is not Phase.UNLOADED:
            return model is not None
        answer.set_figures(f"Loading {name}…")
        return await self._commands.load(name)

    async def _stream(self, name: str, exchange: Exchange) -> None:
        if self._store.client is None:
            raise AppError("core_unreachable", "Quarterdeck's core is not running.", "Start Quarterdeck again.")
        exchange.answer.set_figures("Waiting for the first token…")
        exchange.figures = ChatFigures(monotonic())
        drawn = 0.0
        chunks = self._store.client.chat(name, exchange.messages, stream_options={"include_usage": True})
        async for chunk in chunks:
            part, now = piece(chunk), monotonic()
            exchange.figures.take(part, now)
            if part.words:
                exchange.received.append(part.words)
            if now - drawn >= REDRAW_SECONDS:
                drawn = now
                exchange.answer.set_words(exchange.text)
                exchange.answer.set_figures(exchange.figures.line() + (" · thinking" if part.thinking else ""))

    def _finish(self, exchange: Exchange, task: asyncio.Task[str]) -> None:
        if not isValid(self):
            return
        self._task = None
        failed = task.cancelled() or task.exception() is not None
        stopped = "" if exchange.received else "Stopped."
        exchange.close(stopped if failed else task.result())
        unanswered = not exchange.text and exchange.messages is self._messages
        if unanswered and not self.prompt.toPlainText():
            self.prompt.setPlainText(exchange.prompt)
        self._show_buttons()

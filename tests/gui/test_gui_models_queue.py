"""The queue above the models: who loads, who waits and why, and cancelling either."""

from __future__ import annotations

import pytest
from fake_core import FakeCore
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from quarterdeck.gui.commands import Commands
from quarterdeck.gui.store import Store
from quarterdeck.gui.widgets.queue_panel import QueuePanel
from quarterdeck.schemas.models import Phase
from quarterdeck.schemas.system import QueueEntry


@pytest.fixture
def panel(store: Store, qtbot: QtBot) -> QueuePanel:
    made = QueuePanel(store, Commands(store))
    qtbot.addWidget(made)
    made.resize(900, 150)
    return made


def entry(model: str, position: int, **fields: object) -> QueueEntry:
    return QueueEntry.model_validate({"model": model, "position": position} | fields)


def test_it_is_gone_while_nobody_waits(panel: QueuePanel, core: FakeCore, store: Store, qtbot: QtBot) -> None:
    assert panel.isHidden()
    core.enqueue(entry("qwen3-8b", 0))
    qtbot.waitUntil(lambda: bool(store.queue))
    assert panel.isHidden()
    core.enqueue(entry("qwen3-8b", 0, waiting_s=3, expected_s=9), entry("mistral-7b", 1))
    qtbot.waitUntil(lambda: not panel.isHidden())
    assert panel.texts()[0].startswith("qwen3-8b: Loading · 3 s · ready in about ")
    core.enqueue()
    qtbot.waitUntil(panel.isHidden)


def test_waiting_loads_have_places_and_reasons(panel: QueuePanel, core: FakeCore, qtbot: QtBot) -> None:
    core.enqueue(
        entry("mistral-7b", 1, why="Waits until “qwen3-8b” is loaded.", waiters=3), entry("qwen3-8b", 0),
    )  # fmt: skip
    qtbot.waitUntil(lambda: len(panel.texts()) == 2)
    assert panel.texts()[1] == "1. mistral-7b: Waiting for 0 s · 3 requests · Waits until “qwen3-8b” is loaded"


def test_a_waiting_load_can_be_cancelled(panel: QueuePanel, core: FakeCore, qtbot: QtBot) -> None:
    core.change("mistral-7b", phase=Phase.QUEUED)
    core.enqueue(entry("qwen3-8b", 0), entry("mistral-7b", 1))
    qtbot.waitUntil(lambda: len(panel.texts()) == 2)
    button = panel.cancel_button("mistral-7b")
    assert button.accessibleName() == "Cancel loading mistral-7b"
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: core.called("POST", "/api/orchestrate/cancel") == [{"model_name": "mistral-7b"}])


def test_a_long_queue_is_shortened_and_opens(panel: QueuePanel, core: FakeCore, qtbot: QtBot) -> None:
    panel.show()
    core.enqueue(*(entry(f"m{place}", place) for place in range(9)))
    qtbot.waitUntil(lambda: len(panel.texts()) == 3)
    assert panel.more.text() == "Show 6 more"
    qtbot.mouseClick(panel.more, Qt.MouseButton.LeftButton)
    assert len(panel.texts()) == 9
    assert panel.more.text() == "Show fewer"


def test_the_queue_is_read_with_the_state(core: FakeCore, store: Store, panel: QueuePanel, qtbot: QtBot) -> None:
    core.queue = [entry("qwen3-8b", 0), entry("mistral-7b", 1)]
    core.publish("stream", "reset", {})
    qtbot.waitUntil(lambda: not panel.isHidden())
    core.drop()
    qtbot.waitUntil(panel.isHidden)

"""The Backends page: cards with facts, buttons that call the core, questions before something in use stops."""

from __future__ import annotations

import pytest
from fake_core import FakeCore
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from quarterdeck.gui.pages import backends as page_module
from quarterdeck.gui.pages.backends import BackendsPage
from quarterdeck.gui.store import Store
from quarterdeck.schemas.backends import BackendState, BackendView


@pytest.fixture
def page(store: Store, qtbot: QtBot) -> BackendsPage:
    made = BackendsPage(store)
    qtbot.addWidget(made)
    made.resize(900, 700)
    made.show()
    made.page_shown()
    return made


def set_backends(core: FakeCore, page: BackendsPage, qtbot: QtBot, *views: BackendView) -> None:
    """Replace what the core has and let the page ask anew."""
    core.backends = {view.name: view for view in views}
    page.page_hidden()
    page.page_shown()
    qtbot.waitUntil(lambda: list(page._store.backends.values()) == list(views))


def view(**fields: object) -> BackendView:
    return BackendView.model_validate({"name": "embedded", "title": "llama.cpp"} | fields)


def buttons(page: BackendsPage, name: str = "embedded") -> list[str]:
    return [button.text() for button in page.card(name).findChildren(QPushButton) if button.isVisible()]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The answers of a person to the next questions; an unexpected question fails."""
    given: list[bool] = []

    async def confirm(*_parent: object, **_texts: object) -> bool:
        return given.pop(0)

    monkeypatch.setattr(page_module, "confirm", confirm)
    return given


def test_a_running_backend_shows_what_it_is(page: BackendsPage, core: FakeCore, qtbot: QtBot) -> None:
    running = view(state="running", version="b99", models=["qwen3-8b"], pid=4711, address="http://127.0.0.1:9",
                   memory_bytes=412 * 1024**2, uptime_s=60.0, command="worker --model a.gguf")  # fmt: skip
    set_backends(core, page, qtbot, running)
    card = page.card("embedded")
    assert card.accessibleName() == "llama.cpp, Running, qwen3-8b"
    shown = {name: card.fact(name) for name in ("Version", "Process", "Memory", "Address")}
    assert shown == {"Version": "b99", "Process": "4711", "Memory": "412 MiB", "Address": "http://127.0.0.1:9"}
    assert card.fact("Running since") != ""
    assert sorted(buttons(page)) == ["Copy", "Logs", "Restart", "Stop"]


def test_the_command_line_is_copied(page: BackendsPage, core: FakeCore, qtbot: QtBot) -> None:
    set_backends(core, page, qtbot, view(state="running", command="worker --model 'a b.gguf'"))
    copy = next(button for button in page.card("embedded").findChildren(QPushButton) if button.text() == "Copy")
    qtbot.mouseClick(copy, Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == "worker --model 'a b.gguf'"


def test_start_asks_the_core_and_shows_what_came_of_it(page: BackendsPage, core: FakeCore, qtbot: QtBot) -> None:
    set_backends(core, page, qtbot, view(state="stopped"))
    qtbot.mouseClick(page.card("embedded").buttons["start"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(core.called("POST", "/api/backends/embedded/start")) == 1)
    core.publish("backend", "changed", view(state="running"))
    qtbot.waitUntil(lambda: sorted(buttons(page)) == ["Logs", "Restart", "Stop"])


def test_a_failure_is_said_on_the_card(page: BackendsPage, core: FakeCore, qtbot: QtBot) -> None:
    set_backends(core, page, qtbot, view(state="stopped"))
    failure = {"detail": "The port is in use.", "code": "port", "hint": "Stop what uses it."}
    core.answers[("POST", "/api/backends/embedded/start")] = (424, failure)
    qtbot.mouseClick(page.card("embedded").buttons["start"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.card("embedded").error_text == "The port is in use. Stop what uses it.")
    assert page.card("embedded").buttons["start"].isEnabled()


def test_stopping_what_is_in_use_is_asked_first(
    page: BackendsPage, core: FakeCore, qtbot: QtBot, answers: list[bool]
) -> None:
    set_backends(core, page, qtbot, view(state="running", models=["qwen3-8b"]))
    path = "/api/backends/embedded/stop"
    core.answers[("POST", path)] = (200, view(state="stopped").model_dump(mode="json"))
    answers.append(False)
    qtbot.mouseClick(page.card("embedded").buttons["stop"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not answers)
    assert core.called("POST", path) == []
    answers.append(True)
    qtbot.mouseClick(page.card("embedded").buttons["stop"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(core.called("POST", path)) == 1)


def test_stopping_an_idle_backend_needs_no_question(
    page: BackendsPage, core: FakeCore, qtbot: QtBot, answers: list[bool]
) -> None:
    set_backends(core, page, qtbot, view(state="running"))
    qtbot.mouseClick(page.card("embedded").buttons["stop"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(core.called("POST", "/api/backends/embedded/stop")) == 1)


def test_a_change_of_state_arrives_by_event(page: BackendsPage, core: FakeCore, qtbot: QtBot) -> None:
    set_backends(core, page, qtbot, view(state="running"))
    core.publish("backend", "changed", view(state="failed", last_error="It died on signal 11."))
    qtbot.waitUntil(lambda: page.card("embedded").error_text == "It died on signal 11.")
    assert sorted(buttons(page)) == ["Logs", "Start"]


def test_logs_are_asked_of_the_window(page: BackendsPage, core: FakeCore, qtbot: QtBot) -> None:
    set_backends(core, page, qtbot, view(state=BackendState.STOPPED))
    with qtbot.waitSignal(page.logs_wanted) as asked:
        qtbot.mouseClick(page.card("embedded").logs, Qt.MouseButton.LeftButton)
    assert asked.args == ["embedded"]


def test_without_backends_the_page_says_what_belongs_here(page: BackendsPage, core: FakeCore, qtbot: QtBot) -> None:
    set_backends(core, page, qtbot)
    qtbot.waitUntil(lambda: page.empty_text.startswith("There are no backends yet."))


def test_backends_come_and_go_in_the_order_of_the_core(page: BackendsPage, core: FakeCore, qtbot: QtBot) -> None:
    set_backends(core, page, qtbot, view(), view(name="ollama", title="Ollama"))
    qtbot.waitUntil(lambda: page.card("ollama").y() > page.card("embedded").y())
    set_backends(core, page, qtbot, view(name="ollama", title="Ollama"))
    with pytest.raises(KeyError):
        page.card("embedded")

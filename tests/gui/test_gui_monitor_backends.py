"""The Backends page: cards with facts, buttons that call the core, questions before something in use stops."""

from __future__ import annotations

import asyncio

import pytest
from fake_core import FakeCore
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from quarterdeck.gui import backend_commands as commands_module
from quarterdeck.gui.backend_commands import BackendCommands
from quarterdeck.gui.dialogs.add_server import AddServerDialog
from quarterdeck.gui.dialogs.report import Report
from quarterdeck.gui.pages.backends import BackendsPage
from quarterdeck.gui.store import Store
from quarterdeck.schemas.backends import BackendState, BackendView
from quarterdeck.schemas.discovery import FoundServer, PassedOver, ScanResult


@pytest.fixture
def told(store: Store) -> list[str]:
    """Everything that toasts said, and the actions they offered."""
    words: list[str] = []
    store.toast.connect(lambda text, _kind: words.append(text))
    store.offer.connect(lambda text, verb, _action, _kind: words.append(f"{text} [{verb}]"))
    return words


@pytest.fixture
def page(store: Store, qtbot: QtBot) -> BackendsPage:
    commands = BackendCommands(store)
    made = BackendsPage(store, commands)
    commands._window = made
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


RUNNING = ["stop", "restart"]


def view(**fields: object) -> BackendView:
    return BackendView.model_validate({"name": "embedded", "title": "llama.cpp"} | fields)


def buttons(page: BackendsPage, name: str = "embedded") -> list[str]:
    return sorted(button.text() for button in page.card(name).findChildren(QPushButton) if button.isVisible())


def press(qtbot: QtBot, page: BackendsPage, action: str, name: str = "embedded") -> None:
    qtbot.mouseClick(page.card(name).buttons[action], Qt.MouseButton.LeftButton)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The answers of a person to the next questions; an unexpected question fails."""
    given: list[bool] = []

    async def confirm(*_parent: object, **_texts: object) -> bool:
        return given.pop(0)

    monkeypatch.setattr(commands_module, "confirm", confirm)
    return given


def test_a_running_backend_shows_what_it_is(page: BackendsPage, core: FakeCore, qtbot: QtBot) -> None:
    running = view(state="running", version="b99", models=["qwen3-8b"], pid=4711, address="http://127.0.0.1:9",
                   memory_bytes=412 * 1024**2, uptime_s=60.0, command="worker --model a.gguf", actions=RUNNING,
                   instances=[{"model": "qwen3-8b", "uptime_s": 65, "vram_bytes": 5 * 1024**3,
                               "active_requests": 2}])  # fmt: skip
    set_backends(core, page, qtbot, running)
    card = page.card("embedded")
    assert card.accessibleName() == "llama.cpp, Running"
    shown = {name: card.fact(name) for name in ("Version", "Process", "Memory", "Address", "Up for")}
    assert shown == {"Version": "b99", "Process": "4711", "Memory": "412 MiB", "Address": "http://127.0.0.1:9",
                     "Up for": "1 min"}  # fmt: skip
    assert card.instances.texts() == [["qwen3-8b", "2 requests", "5.0 GiB", "n/a", "1 min", ""]]
    assert buttons(page) == ["Copy", "Restart", "Show log", "Stop"]
    assert page.summary_text == "1 of 1 running"


def test_the_command_line_is_copied(page: BackendsPage, core: FakeCore, qtbot: QtBot) -> None:
    set_backends(core, page, qtbot, view(state="running", command="worker --model 'a b.gguf'"))
    copy = next(button for button in page.card("embedded").findChildren(QPushButton) if button.text() == "Copy")
    qtbot.mouseClick(copy, Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == "worker --model 'a b.gguf'"


def test_each_of_several_models_has_its_own_command_line(page: BackendsPage, core: FakeCore, qtbot: QtBot) -> None:
    both = [{"model": name, "command": f"serve {name}"} for name in ("one", "two")]
    set_backends(core, page, qtbot, view(state="running", instances=both, command="serve one"))
    card = page.card("embedded")
    second = card.instances._rows[1][1]
    qtbot.mouseClick(second, Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == "serve two"
    assert "Copy" not in buttons(page)


def test_start_asks_the_core_and_shows_what_came_of_it(page: BackendsPage, core: FakeCore, qtbot: QtBot) -> None:
    set_backends(core, page, qtbot, view(state="stopped", actions=["start"]))
    press(qtbot, page, "start")
    qtbot.waitUntil(lambda: len(core.called("POST", "/api/backends/embedded/start")) == 1)
    core.publish("backend", "changed", view(state="running", actions=RUNNING))
    qtbot.waitUntil(lambda: buttons(page) == ["Restart", "Show log", "Stop"])


def test_while_an_action_runs_it_says_so_and_takes_no_other(
    page: BackendsPage, core: FakeCore, told: list[str], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_backends(core, page, qtbot, view(state="running", actions=RUNNING))
    gate = asyncio.Event()
    answer = core._answer

    async def slow(method: str, path: str, body: object) -> tuple[int, object]:
        await gate.wait()
        return await answer(method, path, body)

    monkeypatch.setattr(core, "_answer", slow)
    press(qtbot, page, "restart")
    card = page.card("embedded")
    qtbot.waitUntil(lambda: card.doing_text.startswith("Restarting · "))
    assert not any(button.isEnabled() for button in card.buttons.values())
    gate.set()
    qtbot.waitUntil(lambda: card.doing_text == "")
    assert card.buttons["stop"].isEnabled()
    assert told == ["Restarted llama.cpp"]


def test_a_failure_is_said_on_the_card(page: BackendsPage, core: FakeCore, qtbot: QtBot) -> None:
    set_backends(core, page, qtbot, view(state="stopped", actions=["start"]))
    failure = {"detail": "The port is in use.", "code": "port", "hint": "Stop what uses it."}
    core.answers[("POST", "/api/backends/embedded/start")] = (424, failure)
    press(qtbot, page, "start")
    qtbot.waitUntil(lambda: page.card("embedded").error_text == "The port is in use. Stop what uses it.")
    assert page.card("embedded").buttons["start"].isEnabled()
    core.publish("backend", "changed", view(state="running", actions=RUNNING))
    qtbot.waitUntil(lambda: page.card("embedded").error_text == "")


@pytest.mark.parametrize(
    "in_use",
    [
        {"instances": [{"model": "qwen3-8b", "active_requests": 1}]},
        {"owner": {"kind": "systemd", "name": "ollama.service"}},
        {"owner": {"kind": "docker", "name": "vllm"}},
    ],
)
def test_stopping_what_is_in_use_or_not_ours_is_asked_first(
    page: BackendsPage, core: FakeCore, qtbot: QtBot, answers: list[bool], in_use: dict[str, object]
) -> None:
    set_backends(core, page, qtbot, view(state="running", actions=RUNNING, **in_use))
    path = "/api/backends/embedded/stop"
    core.answers[("POST", path)] = (200, view(state="stopped").model_dump(mode="json"))
    answers.append(False)
    press(qtbot, page, "stop")
    qtbot.waitUntil(lambda: not answers)
    assert core.called("POST", path) == []
    answers.append(True)
    press(qtbot, page, "stop")
    qtbot.waitUntil(lambda: len(core.called("POST", path)) == 1)


def test_stopping_an_idle_backend_needs_no_question(
    page: BackendsPage, core: FakeCore, qtbot: QtBot, answers: list[bool]
) -> None:
    set_backends(core, page, qtbot, view(state="running", actions=RUNNING))
    press(qtbot, page, "stop")
    qtbot.waitUntil(lambda: len(core.called("POST", "/api/backends/embedded/stop")) == 1)


def test_a_change_of_state_arrives_by_event(page: BackendsPage, core: FakeCore, qtbot: QtBot) -> None:
    set_backends(core, page, qtbot, view(state="running", actions=RUNNING))
    core.publish("backend", "changed", view(state="failed", last_error="It died on signal 11.", actions=["start"]))
    qtbot.waitUntil(lambda: page.card("embedded").error_text == "It died on signal 11.")
    assert buttons(page) == ["Show log", "Start"]


def test_logs_are_asked_of_the_window(page: BackendsPage, core: FakeCore, qtbot: QtBot) -> None:
    set_backends(core, page, qtbot, view(state=BackendState.STOPPED))
    with qtbot.waitSignal(page.logs_wanted) as asked:
        qtbot.mouseClick(page.card("embedded").logs, Qt.MouseButton.LeftButton)
    assert asked.args == ["embedded"]


def test_without_backends_the_page_offers_to_look_for_them(page: BackendsPage, core: FakeCore, qtbot: QtBot) -> None:
    set_backends(core, page, qtbot)
    qtbot.waitUntil(lambda: page.empty.isVisible())
    assert page.empty.title.text() == "No backends yet"
    qtbot.mouseClick(page.empty.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(core.called("POST", "/api/scan")) == 1)


def test_backends_come_and_go_in_the_order_of_the_core(page: BackendsPage, core: FakeCore, qtbot: QtBot) -> None:
    set_backends(core, page, qtbot, view(), view(name="ollama", title="Ollama"))
    qtbot.waitUntil(lambda: page.card("ollama").y() > page.card("embedded").y())
    set_backends(core, page, qtbot, view(name="ollama", title="Ollama"))
    with pytest.raises(KeyError):
        page.card("embedded")


def test_a_look_around_says_what_it_found_and_keeps_it_to_be_read(
    page: BackendsPage, core: FakeCore, store: Store, told: list[str], qtbot: QtBot
) -> None:
    core.scan_gate = asyncio.Event()
    core.found = ScanResult(
        added=["a", "b"], servers=[FoundServer(url="http://127.0.0.1:1234", product="lm-studio", title="LM Studio",
                                               state="up")],
        passed_over=[PassedOver(where="/models/x.gguf", reason="It is cut off.", hint="Download it again.")],
    )  # fmt: skip
    details: list[object] = []
    store.offer.connect(lambda _text, _verb, action, _kind: details.append(action))
    qtbot.mouseClick(page.scan, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.scan.text() == "Looking…")
    qtbot.mouseClick(page.scan, Qt.MouseButton.LeftButton)
    core.scan_gate.set()
    qtbot.waitUntil(lambda: bool(told))
    assert told == ["Scan finished: 2 new models; 1 server answers. 1 item was passed over. [Details]"]
    qtbot.waitUntil(lambda: page.scan.text() == "Look for servers")
    assert len(core.called("POST", "/api/scan")) == 1
    details[0]()  # type: ignore[operator]
    qtbot.waitUntil(lambda: any(one.isVisible() for one in page.findChildren(Report)))
    report = page.findChildren(Report)[0]
    assert "/models/x.gguf: It is cut off. Download it again." in report.body.toPlainText()
    report.reject()


def adding(qtbot: QtBot, page: BackendsPage) -> AddServerDialog:
    qtbot.mouseClick(page.add, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: any(one.isVisible() for one in page.findChildren(AddServerDialog)))
    dialog = next(one for one in page.findChildren(AddServerDialog) if one.isVisible())
    qtbot.waitUntil(lambda: dialog.kind.findText("LM Studio") > 0)
    return dialog


def test_a_server_is_added_with_the_address_of_a_product(
    page: BackendsPage, core: FakeCore, told: list[str], qtbot: QtBot
) -> None:
    dialog = adding(qtbot, page)
    assert not dialog.send.isEnabled()
    dialog.kind.setCurrentIndex(dialog.kind.findText("LM Studio"))
    assert dialog.url.text() == "http://127.0.0.1:1234"
    assert "Developer tab" in dialog.hint.text()
    dialog.key.setText("secret")
    qtbot.mouseClick(dialog.send, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: told == ["Added server-1"])
    assert core.called("POST", "/api/servers") == [
        {"url": "http://127.0.0.1:1234", "kind": "openai-compatible", "api_key": "secret"}
    ]
    qtbot.waitUntil(lambda: page.card("server-1").isVisible())


def test_a_server_of_the_system_needs_the_name_of_its_unit(page: BackendsPage, core: FakeCore, qtbot: QtBot) -> None:
    dialog = adding(qtbot, page)
    dialog.url.setText("127.0.0.1:8001")
    dialog.owner.setCurrentIndex(1)
    assert dialog.send.toolTip() == "Name the unit first."
    dialog.owner_name.setText("vllm.service")
    qtbot.mouseClick(dialog.send, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bool(core.called("POST", "/api/servers")))
    assert core.called("POST", "/api/servers") == [
        {"url": "http://127.0.0.1:8001", "owner": {"kind": "systemd", "name": "vllm.service"}}
    ]


def test_a_server_that_cannot_be_added_keeps_what_was_typed(page: BackendsPage, core: FakeCore, qtbot: QtBot) -> None:
    core.answers["POST", "/api/servers"] = (
        502, {"detail": "Nothing answers at 127.0.0.1:1.", "code": "no_server", "hint": "Start the server first."},
    )  # fmt: skip
    dialog = adding(qtbot, page)
    dialog.url.setText("127.0.0.1:1")
    qtbot.mouseClick(dialog.send, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.problem.isVisible())
    assert dialog.problem.text() == "Nothing answers at 127.0.0.1:1. Start the server first."
    assert dialog.send.isEnabled()
    dialog.reject()


def test_a_server_is_removed_after_a_question(
    page: BackendsPage, core: FakeCore, qtbot: QtBot, answers: list[bool]
) -> None:
    set_backends(core, page, qtbot, view(name="lm", title="LM Studio", state="running", actions=["remove"]))
    answers.append(True)
    press(qtbot, page, "remove", "lm")
    qtbot.waitUntil(lambda: len(core.called("DELETE", "/api/servers/lm")) == 1)
    qtbot.waitUntil(lambda: page.empty.isVisible())


def test_twenty_servers_scroll(page: BackendsPage, core: FakeCore, qtbot: QtBot) -> None:
    many = [view(name=f"server-{n}", title=f"Server {n}", state="running", actions=RUNNING) for n in range(20)]
    set_backends(core, page, qtbot, *many)
    assert page.summary_text == "20 of 20 running"
    last = page.card("server-19")
    qtbot.waitUntil(lambda: last.y() > page.height())
    assert last.width() <= page.width()

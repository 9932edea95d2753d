"""The Connect page: guides to copy, the test, web servers, and what is said without an address."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_core import FakeCore
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from quarterdeck.gui.dialogs.keys import KeysDialog
from quarterdeck.gui.pages.connect import ConnectPage
from quarterdeck.gui.store import Store
from quarterdeck.schemas.access import ConnectGuide, ConnectStep, ConnectTest


@pytest.fixture
def page(store: Store, core: FakeCore, qtbot: QtBot) -> Iterator[ConnectPage]:
    made = ConnectPage(store)
    qtbot.addWidget(made)
    made.resize(1100, 760)
    made.show()
    qtbot.waitExposed(made)
    made.page_shown()
    qtbot.waitUntil(lambda: made.list.count() > 0)
    yield made
    made.page_hidden()


def titles(page: ConnectPage) -> list[str]:
    return [page.list.item(place).text() for place in range(page.list.count())]


def clipboard() -> str:
    return QGuiApplication.clipboard().text()


def test_programs_and_web_servers_are_listed(page: ConnectPage, qtbot: QtBot) -> None:
    assert titles(page) == [
        "Programs", "openai (Python)", "Open WebUI (Ollama)", "Web server in front", "nginx", "Caddy",
    ]  # fmt: skip
    qtbot.waitUntil(lambda: page.guide.title.text() == "openai (Python)")
    page.choose("server:nginx")
    assert page.guide.title.text() == "nginx"
    assert "proxy_buffering off" in page.guide.snippet.toPlainText()
    assert not page.guide.test.isVisible()


def test_every_setting_can_be_copied(page: ConnectPage, qtbot: QtBot) -> None:
    told: list[str] = []
    page._store.toast.connect(lambda text, _kind: told.append(text))
    qtbot.waitUntil(lambda: len(page.guide.copy_buttons) == 3)
    page.guide.copy_buttons[0].click()
    assert clipboard() == "http://127.0.0.1:8100/v1"
    page.guide.copy_snippet.click()
    assert clipboard().startswith("client = OpenAI(")
    assert told == ["Copied Base URL", "Copied the lines"]
    assert page.guide.copy_buttons[1].accessibleName() == "Copy “API key”"


def test_headings_cannot_be_chosen(page: ConnectPage) -> None:
    headings = [page.list.item(place) for place in (0, 3)]
    assert all(not heading.flags() & Qt.ItemFlag.ItemIsSelectable for heading in headings)


def test_a_connection_is_tested_with_the_key(page: ConnectPage, core: FakeCore, qtbot: QtBot) -> None:
    core.clients.test = ConnectTest(client="openai", ok=False, steps=[
        ConnectStep(title="Address", ok=True, sentence="It answers."),
        ConnectStep(title="Key", ok=False, sentence="Clients need an API key.", hint="Make one."),
    ])  # fmt: skip
    page.guide.key.setText(" qd-secret ")
    page.guide.test.setFocus()
    page.guide.test.click()
    page.guide.test.click()
    assert page.guide.test.text() == "Testing…"
    qtbot.waitUntil(lambda: len(page.guide.result) == 2)
    assert page.guide.result == ["Address: It answers.", "Key: Clients need an API key. Make one."]
    assert core.called("POST", "/api/connect/test") == [{"client": "openai", "key": "qd-secret"}]
    qtbot.waitUntil(lambda: page.guide.test.text() == "Test the connection")
    assert page.guide.test.hasFocus()
    page.choose("client:open-webui-ollama")
    assert page.guide.result == []


def test_a_test_that_cannot_be_made_says_why(page: ConnectPage, core: FakeCore, qtbot: QtBot) -> None:
    core.answers["POST", "/api/connect/test"] = (
        503, {"detail": "Nothing listens.", "code": "no_address", "hint": "Free the port."},
    )  # fmt: skip
    page.guide.test.click()
    qtbot.waitUntil(lambda: page.guide.result == ["Test: Nothing listens. Free the port."])


def test_guides_follow_the_address_and_the_choice_stays(page: ConnectPage, core: FakeCore, qtbot: QtBot) -> None:
    page.choose("client:open-webui-ollama")
    core.clients.guides[1].fields["Ollama API"] = "http://127.0.0.1:8200"
    core.clients.guides.append(ConnectGuide(client="curl", title="curl", dialect="openai"))
    page._store.status_changed.emit()
    qtbot.waitUntil(lambda: "curl" in titles(page))
    assert page.guide.title.text() == "Open WebUI (Ollama)"
    page.guide.copy_buttons[0].click()
    assert clipboard() == "http://127.0.0.1:8200"


def test_without_an_address_it_is_said_what_to_do(store: Store, core: FakeCore, qtbot: QtBot) -> None:
    core.answers["GET", "/api/connect"] = (
        503, {"detail": "Clients cannot reach Quarterdeck.", "code": "no_address", "hint": "Free port 8100."},
    )  # fmt: skip
    page = ConnectPage(store)
    qtbot.addWidget(page)
    page.show()
    page.page_shown()
    qtbot.waitUntil(lambda: page.empty.title.text() == "Clients cannot reach Quarterdeck.")
    assert page.empty.words.text() == "Free port 8100."
    del core.answers["GET", "/api/connect"]
    page.empty.button.click()
    qtbot.waitUntil(lambda: page.list.count() > 0)
    page.page_hidden()


def test_the_keys_are_one_click_away(page: ConnectPage, qtbot: QtBot) -> None:
    page.keys.click()
    qtbot.waitUntil(lambda: any(dialog.isVisible() for dialog in page.findChildren(KeysDialog)))
    next(iter(page.findChildren(KeysDialog))).reject()

"""API keys in the window: the list, making one, its text that is shown once, revoking one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from fake_core import NOW, FakeCore
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QDialog, QWidget
from pytestqt.qtbot import QtBot

from quarterdeck.gui.access_commands import AccessCommands
from quarterdeck.gui.dialogs.add_key import AddKeyDialog, NewKeyDialog
from quarterdeck.gui.dialogs.ask import Question
from quarterdeck.gui.dialogs.keys import KeysDialog
from quarterdeck.gui.presenters.connect import EXPIRIES, key_badge, key_row, key_rows, keys_summary, limits, may_use
from quarterdeck.gui.store import Store
from quarterdeck.schemas.access import KeyView


def make_key(name: str, **fields: object) -> KeyView:
    return KeyView.model_validate({"name": name, "begins_with": "qd-abcde", "created_at": NOW} | fields)


@pytest.fixture
def dialog(store: Store, core: FakeCore, qtbot: QtBot) -> Iterator[KeysDialog]:
    core.clients.keys = {"webui": make_key("webui"), "old": make_key("old", revoked_at=NOW)}
    made = KeysDialog(AccessCommands(store), store, None)
    qtbot.addWidget(made)
    made.open()
    qtbot.waitUntil(lambda: made.rows.rowCount() == 2)
    yield made
    made.reject()


def shown(dialog: QWidget, kind: type[QDialog], qtbot: QtBot) -> QDialog:
    """The dialog of this kind that is open, once it is."""
    qtbot.waitUntil(lambda: any(each.isVisible() for each in dialog.findChildren(kind)))
    return next(each for each in dialog.findChildren(kind) if each.isVisible())


def test_keys_are_listed_without_their_texts(dialog: KeysDialog, qtbot: QtBot) -> None:
    cells = [[dialog.rows.index(row, column).data() for column in range(3)] for row in range(2)]
    assert cells == [["webui", "qd-abcde…", "Valid"], ["old", "qd-abcde…", "Revoked"]]
    assert dialog.summary.text() == "1 key is valid. Clients need one of them."
    dialog.table.selectRow(1)
    assert not dialog.revoke_button.isEnabled()
    dialog.table.selectRow(0)
    assert dialog.revoke_button.isEnabled()


def test_a_key_is_made_and_shown_once(dialog: KeysDialog, core: FakeCore, qtbot: QtBot) -> None:
    dialog.add_button.click()
    form = shown(dialog, AddKeyDialog, qtbot)
    assert isinstance(form, AddKeyDialog)
    assert not form.send.isEnabled()
    form.name.setText(" phone ")
    form.models.setText("qwen3-8b, mistral-7b")
    form.requests.setValue(60)
    form.concurrency.setValue(2)
    form.expires.setCurrentIndex(2)
    form.profile.setCurrentIndex(form.profile.findData("fail-fast"))
    form.admin.setChecked(True)
    form.send.click()
    told = shown(dialog, NewKeyDialog, qtbot)
    assert isinstance(told, NewKeyDialog)
    body = core.called("POST", "/api/keys")[0]
    ends = datetime.fromisoformat(body.pop("expires_at"))
    assert timedelta(days=6, hours=23) < ends - datetime.now(UTC) < timedelta(days=7, hours=1)
    assert body == {
        "name": "phone", "models": ["qwen3-8b", "mistral-7b"], "admin": True, "requests_per_minute": 60,
        "concurrency": 2, "profile": "fail-fast",
    }  # fmt: skip
    assert told.key.text() == "qd-abcdefghijkl"
    told.copy.click()
    assert QGuiApplication.clipboard().text() == "qd-abcdefghijkl"
    qtbot.keyClick(told, Qt.Key.Key_Escape)
    assert told.isVisible()
    told.close_button.click()
    qtbot.waitUntil(lambda: dialog.rows.rowCount() == 3)


def test_a_name_that_is_taken_is_said_in_the_dialog(dialog: KeysDialog, qtbot: QtBot) -> None:
    dialog.add_button.click()
    form = shown(dialog, AddKeyDialog, qtbot)
    assert isinstance(form, AddKeyDialog)
    form.name.setText("webui")
    form.send.click()
    qtbot.waitUntil(form.problem.isVisible)
    assert form.problem.text() == "There is already a key named “webui”. Choose another name."
    assert form.made is None
    form.reject()


def test_a_key_is_revoked_after_a_question(dialog: KeysDialog, core: FakeCore, qtbot: QtBot) -> None:
    dialog.table.selectRow(0)
    dialog.revoke_button.click()
    shown(dialog, Question, qtbot).done(QDialog.DialogCode.Rejected)
    qtbot.waitUntil(lambda: not any(each.isVisible() for each in dialog.findChildren(Question)))
    assert core.called("DELETE", "/api/keys/webui") == []
    dialog.revoke_button.click()
    shown(dialog, Question, qtbot).done(QDialog.DialogCode.Accepted)
    qtbot.waitUntil(lambda: core.called("DELETE", "/api/keys/webui") == [None])
    qtbot.waitUntil(lambda: dialog.summary.text().startswith("There is no key"))


def test_without_keys_it_is_said_what_they_are_for(store: Store, core: FakeCore, qtbot: QtBot) -> None:
    dialog = KeysDialog(AccessCommands(store), store, None)
    qtbot.addWidget(dialog)
    dialog.open()
    qtbot.waitUntil(lambda: dialog.empty.title.text() == "No API keys yet")
    dialog.empty.button.click()
    shown(dialog, AddKeyDialog, qtbot).reject()
    dialog.reject()


def test_keys_that_cannot_be_read_say_why(store: Store, core: FakeCore, qtbot: QtBot) -> None:
    core.answers["GET", "/api/keys"] = (500, {"detail": "The database is away.", "code": "x", "hint": "Try later."})
    dialog = KeysDialog(AccessCommands(store), store, None)
    qtbot.addWidget(dialog)
    dialog.open()
    qtbot.waitUntil(lambda: dialog.empty.title.text() == "The database is away.")
    dialog.reject()


def test_the_state_of_a_key_is_told_in_words() -> None:
    ended = make_key("a", expires_at=NOW)
    assert [key_badge(key, NOW).word for key in (make_key("a"), ended, make_key("a", revoked_at=NOW))] == [
        "Valid", "Expired", "Revoked",
    ]  # fmt: skip
    assert key_badge(ended, NOW - timedelta(seconds=1)).word == "Valid"
    rows = key_rows([ended, make_key("z"), make_key("B")], NOW)
    assert [row.view.name for row in rows] == ["B", "z", "a"]
    # An expired key still keeps others out.
    assert keys_summary([key_row(ended, NOW)]) == "0 keys are valid. Clients need one of them."
    assert keys_summary([]).startswith("There is no key")


def test_what_a_key_may_do_is_told_in_words() -> None:
    assert (may_use(make_key("a")), limits(make_key("a"))) == ("All models", "None")
    assert may_use(make_key("a", models=["b", "c", "d", "e"], admin=True)) == "b, c, d and 1 more, control"
    limited = make_key("a", requests_per_minute=60, tokens_per_minute=10_000, concurrency=2, profile="patient")
    assert limits(limited) == "60 requests/min, 10,000 tokens/min, 2 at a time, profile patient"


def test_keys_end_when_they_should() -> None:
    assert [expiry.end(NOW) for expiry in EXPIRIES][:2] == [None, NOW + timedelta(days=1)]

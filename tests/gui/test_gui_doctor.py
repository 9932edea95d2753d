"""The doctor in the window: what is examined, steps as they come, cancelling, the report to copy."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from fake_core import FakeCore
from fake_diagnosis import make_doctor_report, make_steps
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from quarterdeck.gui.diagnosis.doctor_tab import DoctorTab
from quarterdeck.gui.presenters.doctor import Target, TargetKind, Wanted, request, targets, time_words, verdict
from quarterdeck.gui.store import Store
from quarterdeck.schemas.doctor import DoctorStep, StepState


@pytest.fixture
def tab(store: Store, qtbot: QtBot) -> Iterator[DoctorTab]:
    made = DoctorTab(store)
    qtbot.addWidget(made)
    made.resize(900, 700)
    made.show()
    made.tab_shown()
    qtbot.waitUntil(lambda: made.form.target.count() == 5)
    yield made
    made.cancel()


def choose(tab: DoctorTab, title: str) -> None:
    tab.form.target.setCurrentText(title)


def test_all_that_is_known_can_be_chosen(tab: DoctorTab) -> None:
    offered = [tab.form.target.itemText(place) for place in range(tab.form.target.count())]
    assert offered == [
        "Everything that is known", "An address…", "Server: llama.cpp (built in)", "Client: openai (Python)",
        "Client: Open WebUI (Ollama)",
    ]  # fmt: skip


def test_steps_appear_as_they_come(tab: DoctorTab, core: FakeCore, qtbot: QtBot) -> None:
    core.diagnosis.gate = asyncio.Event()
    core.diagnosis.told = [*make_steps(failed=True), make_doctor_report(
        "gateway", state=StepState.FAILED, sentence="The certificate expired.", repaired_url="https://gateway.test/v1",
    )]  # fmt: skip
    choose(tab, "Server: llama.cpp (built in)")
    tab.form.button.click()
    qtbot.waitUntil(lambda: len(tab.lists) == 1 and len(tab.lists[0].steps) == 1)
    assert tab.form.button.text() == "Cancel"
    assert tab.line.text().startswith("Examining…")
    core.diagnosis.gate.set()
    qtbot.waitUntil(lambda: tab.form.button.text() == "Examine")
    assert core.called("POST", "/api/doctor") == [{"backend": "embedded"}]
    assert tab.lists[0].texts[1] == "Certificate. Failed. The certificate expired on 1 May 2026. Renew it"
    # The card says it; the line over it does not say it again.
    assert tab.line.isHidden()
    tab.lists[0].copy.click()
    assert QGuiApplication.clipboard().text() == "Report on gateway"


def test_cancel_ends_it_and_keeps_what_was_found(tab: DoctorTab, core: FakeCore, qtbot: QtBot) -> None:
    core.diagnosis.gate = asyncio.Event()
    tab.form.button.click()
    qtbot.waitUntil(lambda: len(tab.lists) == 1)
    tab.form.button.click()
    qtbot.waitUntil(lambda: tab.line.text() == "Cancelled after 1 step.")
    assert core.diagnosis.cancelled
    assert tab.form.button.text() == "Examine"
    assert len(tab.lists[0].steps) == 1


def test_an_address_with_all_that_was_typed(tab: DoctorTab, core: FakeCore, qtbot: QtBot) -> None:
    choose(tab, "An address…")
    assert not tab.form.button.isEnabled()
    tab.form.url.setText(" https://gateway.test ")
    tab.form.more.click()
    tab.form.key.setText("secret")
    tab.form.websocket.setText("/ws/socket.io")
    qtbot.keyClick(tab.form.url, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: len(tab.reports) == 1)
    assert core.called("POST", "/api/doctor") == [
        {"url": "https://gateway.test", "key": "secret", "websocket": "/ws/socket.io"}
    ]


def test_every_connection_has_its_own_card(tab: DoctorTab, core: FakeCore, qtbot: QtBot) -> None:
    core.diagnosis.told = [
        *make_steps(), make_doctor_report("one"), *make_steps(),
        make_doctor_report("two", state=StepState.FAILED),
    ]  # fmt: skip
    tab.form.button.click()
    qtbot.waitUntil(lambda: len(tab.reports) == 2)
    qtbot.waitUntil(tab.copy.isVisible)
    assert tab.line.text() == "1 of 2 examinations failed: two."
    tab.copy.click()
    assert QGuiApplication.clipboard().text() == "Report on one\n\nReport on two\n"
    tab.form.button.click()
    qtbot.waitUntil(lambda: len(tab.reports) == 2)
    assert len(tab.lists) == 2


def test_a_refusal_is_told(tab: DoctorTab, core: FakeCore, qtbot: QtBot) -> None:
    core.answers[("POST", "/api/doctor")] = (
        400, {"detail": "That is no address.", "code": "bad_url", "hint": "Begin with http://."},
    )  # fmt: skip
    tab.form.button.click()
    qtbot.waitUntil(lambda: tab.line.text() == "That is no address. Begin with http://.")
    assert tab.form.button.text() == "Examine"


def test_a_server_can_be_examined_from_elsewhere(tab: DoctorTab, core: FakeCore, qtbot: QtBot) -> None:
    tab.examine(TargetKind.SERVER, "embedded")
    qtbot.waitUntil(lambda: core.called("POST", "/api/doctor") == [{"backend": "embedded"}])


def test_only_what_belongs_to_the_target_is_asked() -> None:
    typed = Wanted(url="http://left.over", model=" ", origin="http://localhost:3000")
    asked = request(Target(TargetKind.CLIENT, "openai", ""), typed)
    assert asked.model_dump(exclude_none=True) == {"client": "openai", "origin": "http://localhost:3000"}
    assert [one.kind for one in targets({}, [])] == [TargetKind.ALL, TargetKind.ADDRESS]


def test_words_about_steps() -> None:
    step = DoctorStep(name="dns", title="Name", state=StepState.OK, finding="")
    assert time_words(step) == ""
    assert time_words(step.model_copy(update={"milliseconds": 0.2})) == ""
    assert time_words(step.model_copy(update={"milliseconds": 4.6})) == "5 ms"
    assert time_words(step.model_copy(update={"milliseconds": 12_400})) == "12 s"
    assert verdict([make_doctor_report("a")]) == ""
    assert verdict([make_doctor_report("a"), make_doctor_report("b")]).endswith("none of them failed.")

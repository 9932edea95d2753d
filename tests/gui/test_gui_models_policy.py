"""Other names, group, pin and idle time in the details; the version lock; what the facts say of layers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from fake_core import NOW, FakeCore, make_model
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from quarterdeck.gui.commands import Commands
from quarterdeck.gui.details.panel import CONFIGURATION, DetailsPanel
from quarterdeck.gui.details.policy_form import AFTER, GENERAL, NEVER
from quarterdeck.gui.presenters.facts import facts, version_words
from quarterdeck.gui.presenters.policy import Policy, changes, general_idle, names_in, patch
from quarterdeck.gui.presenters.remarks import remark
from quarterdeck.gui.store import Store
from quarterdeck.schemas.models import Phase

PATCH = ("PATCH", "/api/models/qwen3-8b/config")


@pytest.fixture
def panel(store: Store, qtbot: QtBot) -> Iterator[DetailsPanel]:
    made = DetailsPanel(store, Commands(store))
    qtbot.addWidget(made)
    made.resize(460, 760)
    made.show_model("qwen3-8b", CONFIGURATION)
    made.show()
    qtbot.waitExposed(made)
    yield made


def press(qtbot: QtBot, button: QWidget) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_only_what_changed_is_saved(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    tab = panel.configuration
    assert not tab.bar.save.isEnabled()
    tab.policy.aliases.setText(" gpt-4o, coder,, gpt-4o")
    tab.policy.pinned.setChecked(True)
    press(qtbot, tab.bar.save)
    qtbot.waitUntil(lambda: core.called(*PATCH) == [{"aliases": ["gpt-4o", "coder"], "pinned": True}])
    qtbot.waitUntil(lambda: not tab.bar.save.isEnabled())
    tab.policy.idle.setCurrentIndex(AFTER)
    tab.policy.minutes.setValue(2.5)
    tab.policy.group.setText("writers")
    press(qtbot, tab.bar.save)
    qtbot.waitUntil(lambda: core.called(*PATCH)[1:] == [{"group": "writers", "idle_timeout": 150.0}])
    tab.policy.idle.setCurrentIndex(GENERAL)
    tab.policy.group.setText("")
    qtbot.waitUntil(tab.bar.save.isEnabled)
    press(qtbot, tab.bar.save)
    qtbot.waitUntil(lambda: core.called(*PATCH)[2:] == [{"group": None, "idle_timeout": None}])


def test_options_and_names_are_saved_together(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    tab = panel.configuration
    tab.editor.setPlainText('{"n_ctx": 1024}')
    tab.policy.aliases.setText("coder")
    press(qtbot, tab.bar.save)
    qtbot.waitUntil(lambda: core.called(*PATCH) == [{"load_config": '{"n_ctx": 1024}', "aliases": ["coder"]}])


def test_an_edit_is_kept_while_another_model_is_looked_at(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    tab = panel.configuration
    tab.policy.aliases.setText("coder")
    panel.show_model("mistral-7b")
    assert tab.policy.aliases.text() == ""
    assert panel.unsaved() == {"qwen3-8b"}
    panel.show_model("qwen3-8b")
    assert tab.policy.aliases.text() == "coder"
    core.change("qwen3-8b", pinned=True)
    qtbot.waitUntil(lambda: panel._store.models["qwen3-8b"].pinned)
    assert tab.policy.aliases.text() == "coder"
    press(qtbot, tab.bar.revert)
    assert (tab.policy.aliases.text(), tab.policy.pinned.isChecked()) == ("", True)


def test_a_change_elsewhere_shows_while_nothing_is_edited(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    core.change("qwen3-8b", aliases=["a", "b"], idle_timeout=0.0)
    qtbot.waitUntil(lambda: panel.configuration.policy.aliases.text() == "a, b")
    assert panel.configuration.policy.idle.currentIndex() == NEVER
    assert not panel.configuration.bar.save.isEnabled()


def test_a_name_that_is_taken_is_said_below(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    core.answers[PATCH] = (409, {"detail": "“coder” is taken.", "code": "duplicate_model", "hint": "Choose another."})
    tab = panel.configuration
    tab.policy.aliases.setText("coder")
    press(qtbot, tab.bar.save)
    qtbot.waitUntil(lambda: tab.bar.words.text() == "“coder” is taken. Choose another.")
    assert tab.bar.save.isEnabled()
    assert tab.editor.problem is None


def test_the_general_idle_time_is_named(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    assert panel.configuration.policy.idle.itemText(GENERAL) == "General setting (never)"
    core.publish("setting", "changed", core.settings["idle_timeout"].model_copy(update={"value": 600}))
    wanted = "General setting (after 10 min 0 s)"
    qtbot.waitUntil(lambda: panel.configuration.policy.idle.itemText(GENERAL) == wanted)


def test_a_version_is_locked_checked_and_unlocked(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    panel.show_model("qwen3-8b", 0)
    row = panel.overview.version
    assert row.words.text() == "Not locked: its files may change."
    press(qtbot, row.lock)
    qtbot.waitUntil(lambda: row.words.text() == "Locked to the files with the checksum 0123456789ab…")
    press(qtbot, row.verify)
    qtbot.waitUntil(lambda: len(core.called("POST", "/api/models/qwen3-8b/verify")) == 1)
    qtbot.waitUntil(row.unlock.isEnabled)
    press(qtbot, row.unlock)
    qtbot.waitUntil(lambda: row.lock.isVisible() and not row.unlock.isVisible())


def test_files_that_changed_are_a_clear_violation(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    told: list[str] = []
    panel._store.toast.connect(lambda text, _kind: told.append(text))
    core.change("qwen3-8b", locked=True, expected_hash="sha256:00")
    core.answers["POST", "/api/models/qwen3-8b/verify"] = (
        409, {"detail": "The files of qwen3-8b changed.", "code": "version_lock_violation", "hint": "Unlock it."},
    )  # fmt: skip
    panel.show_model("qwen3-8b", 0)
    qtbot.waitUntil(panel.overview.version.verify.isVisible)
    press(qtbot, panel.overview.version.verify)
    qtbot.waitUntil(lambda: told == ["The files of qwen3-8b changed. Unlock it."])
    assert panel.error.text() == "The files of qwen3-8b changed."


@given(st.lists(st.text(st.characters(exclude_characters=",;\n\r", exclude_categories=["Cs"]), max_size=9)))
def test_names_are_read_as_they_are_written(names: list[str]) -> None:
    wanted = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
    assert names_in(", ".join(names)) == wanted


def test_a_request_holds_only_what_differs() -> None:
    before = Policy(("a",), "g", False, None)
    assert changes(before, before._replace(group=" g ")) == {}
    assert changes(before, Policy()) == {"aliases": [], "group": None}
    assert patch(before, before._replace(pinned=True), None).model_dump(exclude_unset=True) == {"pinned": True}
    assert patch(before, before, "{}").model_dump(exclude_unset=True) == {"load_config": "{}"}
    assert general_idle(0) == "General setting (never)"


def test_facts_tell_what_a_person_set_and_where_a_model_was_found() -> None:
    model = make_model(
        "m", layers={"context_length": "curated", "quantization": "discovered"}, layer="discovered", source="hf_cache",
        aliases=["a", "b"], hidden="It is marked as deprecated.",
    )  # fmt: skip
    shown = dict(facts(model, NOW))
    assert shown["Context length"] == "8,192 tokens (set by you)"
    assert shown["Quantization"] == "Q4_K_M"
    assert shown["Origin"] == "Found by a scan, in the Hugging Face cache"
    assert shown["Other names"] == "a, b"
    assert shown["Clients"] == "Do not see it. It is marked as deprecated."
    assert dict(facts(make_model("m", source="ollama"), NOW))["Origin"] == "Your own list; also in Ollama"


def test_the_version_is_told_in_words() -> None:
    assert version_words(make_model("m")) == "Not locked: its files may change."
    assert version_words(make_model("m", locked=True)) == "Locked. Its files are remembered at the first check."


def test_the_worst_remark_is_told_first() -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)
    soon = now + timedelta(minutes=2)
    everything = make_model("m", alarm="Nothing resident.", installed=False, cooldown_until=soon)
    told = []
    for fields in ({}, {"alarm": None}, {"alarm": None, "installed": True}):
        found = remark(everything.model_copy(update=fields), now)
        assert found is not None
        told.append(found.text)
    assert told[:2] == ["Nothing resident.", "Its files are missing"]
    assert told[2].startswith("Cools down until ")
    assert remark(make_model("m", cooldown_until=soon, phase=Phase.LOADED), now) is None
    assert remark(make_model("m", cooldown_until=now), now) is None

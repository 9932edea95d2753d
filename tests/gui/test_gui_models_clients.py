"""The Clients tab of the details: mitigations, saved parameters, what is kept, sent and refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fake_core import FakeCore
from hypothesis import given
from hypothesis import strategies as st
from pytestqt.qtbot import QtBot

from quarterdeck.gui.commands import Commands
from quarterdeck.gui.details.panel import CLIENTS, DetailsPanel
from quarterdeck.gui.presenters.client_policy import SWITCHES, TOOL_CHOICES, differs, draft, policy_of
from quarterdeck.gui.store import Store
from quarterdeck.schemas.requests import ClientPolicy, ToolPolicy

PATCH = ("PATCH", "/api/models/qwen3-8b/config")
ALWAYS, NEVER = 1, 2


@pytest.fixture
def panel(store: Store, qtbot: QtBot) -> Iterator[DetailsPanel]:
    made = DetailsPanel(store, Commands(store))
    qtbot.addWidget(made)
    made.resize(460, 760)
    made.show_model("qwen3-8b", CLIENTS)
    made.show()
    qtbot.waitExposed(made)
    yield made


def sent(core: FakeCore) -> list[dict[str, Any]]:
    return [body["client_policy"] for body in core.called(*PATCH)]


def test_a_policy_is_saved_as_a_whole(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    tab = panel.clients
    assert not tab.bar.save.isEnabled()
    tab.form.switches["fold_system"].setCurrentIndex(ALWAYS)
    tab.form.switches["downscale_images"].setCurrentIndex(NEVER)
    tab.form.tools.setCurrentIndex([choice for _, choice in TOOL_CHOICES].index(ToolPolicy.STRIP))
    tab.form.num_ctx.setValue(4096)
    tab.form.system_prompt.setPlainText("Be brief.")
    tab.form.defaults.setPlainText('{"temperature": 0.2}')
    tab.form.override.setText("temperature")
    assert panel.tabs.tabText(CLIENTS) == "Clients •"
    assert panel.unsaved() == {"qwen3-8b"}
    tab.bar.save.click()
    qtbot.waitUntil(lambda: not tab.bar.save.isEnabled() and panel.unsaved() == set())
    wanted = ClientPolicy(
        fold_system=True, downscale_images=False, tools=ToolPolicy.STRIP, num_ctx=4096, system_prompt="Be brief.",
        defaults={"temperature": 0.2}, override=["temperature"],
    )  # fmt: skip
    assert [ClientPolicy.model_validate(policy) for policy in sent(core)] == [wanted]
    qtbot.waitUntil(lambda: panel._store.models["qwen3-8b"].client_policy == wanted)


def test_parameters_that_are_no_object_are_not_sent(panel: DetailsPanel, core: FakeCore) -> None:
    tab = panel.clients
    tab.form.defaults.setPlainText('{"temperature": }')
    tab.bar.save.click()
    assert tab.bar.words.text().startswith("Parameters: Line 1, column 17")
    assert sent(core) == []
    tab.bar.revert.click()
    assert tab.form.defaults.toPlainText() == "{}"
    assert not tab.bar.save.isEnabled()


def test_edits_stay_with_their_model(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    tab = panel.clients
    tab.form.switches["guard_context"].setCurrentIndex(NEVER)
    panel.show_model("mistral-7b")
    assert tab.form.switches["guard_context"].currentIndex() == 0
    core.change("mistral-7b", client_policy={"guard_context": True})
    qtbot.waitUntil(lambda: tab.form.switches["guard_context"].currentIndex() == ALWAYS)
    assert not tab.bar.save.isEnabled()
    panel.show_model("qwen3-8b")
    assert tab.form.switches["guard_context"].currentIndex() == NEVER


def test_what_the_core_refuses_is_said_below(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    core.answers[PATCH] = (400, {"detail": "“n_ctx” cannot be saved.", "code": "bad_policy", "hint": "Use num_ctx."})
    tab = panel.clients
    tab.form.defaults.setPlainText('{"n_ctx": 1}')
    tab.bar.save.click()
    qtbot.waitUntil(lambda: tab.bar.words.text() == "“n_ctx” cannot be saved. Use num_ctx.")
    assert tab.bar.save.isEnabled()


def test_what_is_done_to_requests_is_shown_and_read_again(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    tab = panel.clients
    qtbot.waitUntil(lambda: tab.active.lines == ["Requests go on as they come."])
    tab.form.switches["fold_system"].setCurrentIndex(ALWAYS)
    tab.bar.save.click()
    qtbot.waitUntil(lambda: tab.active.lines == ["Done to requests now", "Fold the system role: it is folded."])
    panel.show_model("mistral-7b")
    qtbot.waitUntil(lambda: tab.active.lines == ["Requests go on as they come."])
    core.answers["GET", "/api/models/qwen3-8b/mitigations"] = (
        409, {"detail": "Its server is gone.", "code": "gone", "hint": ""},
    )  # fmt: skip
    panel.show_model("qwen3-8b")
    qtbot.waitUntil(lambda: tab.active.lines == ["Its server is gone."])


WORDS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=5)
POLICIES = st.builds(
    ClientPolicy,
    **{switch.field: st.none() | st.booleans() for switch in SWITCHES},
    tools=st.none() | st.sampled_from(ToolPolicy),
    num_ctx=st.none() | st.integers(1, 10_000_000),
    system_prompt=st.none() | st.just("Be brief.\nAlways."),
    defaults=st.dictionaries(WORDS, st.integers(-999, 999) | st.booleans() | WORDS, max_size=3),
    override=st.lists(st.sampled_from(["temperature", "top_p"]), unique=True),
)  # fmt: skip


@given(POLICIES)
def test_a_draft_means_its_policy(policy: ClientPolicy) -> None:
    assert policy_of(draft(policy)) == policy
    assert not differs(draft(policy), policy)


def test_every_policy_passes_through_the_form(panel: DetailsPanel) -> None:
    form = panel.clients.form

    @given(POLICIES)
    def check(policy: ClientPolicy) -> None:
        form.show_draft(draft(policy))
        assert policy_of(form.draft()) == policy

    check()


def test_every_mitigation_has_a_switch() -> None:
    switches = {name for name, field in ClientPolicy.model_fields.items() if "bool" in str(field.annotation)}
    assert {switch.field for switch in SWITCHES} == switches

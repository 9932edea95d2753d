"""The store follows the core: it fetches, applies events, reconnects and drops live topics when hidden."""

from __future__ import annotations

from fake_core import FakeCore, make_sample
from pytestqt.qtbot import QtBot

from quarterdeck.gui.store import Store
from quarterdeck.schemas.system import IssueView


def test_everything_is_fetched_on_connecting(store: Store) -> None:
    assert set(store.models) == {"smollm2-135m", "qwen3-8b", "llama-70b", "mistral-7b"}
    assert "embedded" in store.backends
    assert store.settings["port"].value == 8100
    assert store.status is not None
    assert store.status.public_url == "http://127.0.0.1:8100"


def test_a_changed_model_arrives_by_event(store: Store, core: FakeCore, qtbot: QtBot) -> None:
    with qtbot.waitSignal(store.model_changed) as seen:
        core.change("qwen3-8b", phase="loading")
    assert seen.args == ["qwen3-8b"]
    assert store.models["qwen3-8b"].phase == "loading"
    assert [model.name for model in store.loading()] == ["qwen3-8b"]


def test_a_removed_model_goes(store: Store, core: FakeCore, qtbot: QtBot) -> None:
    with qtbot.waitSignal(store.model_removed):
        core.publish("model", "removed", {"name": "qwen3-8b"})
    assert "qwen3-8b" not in store.models


def test_an_unreadable_event_does_not_end_the_stream(
    store: Store, core: FakeCore, qtbot: QtBot, caplog: object
) -> None:
    core.publish("model", "changed", {"name": 5})
    with qtbot.waitSignal(store.model_changed):
        core.change("qwen3-8b", notes="still here")
    assert store.connected


def test_issues_are_raised_and_cleared(store: Store, core: FakeCore, qtbot: QtBot) -> None:
    with qtbot.waitSignal(store.issues_changed):
        core.publish("issue", "raised", IssueView(code="port_in_use", sentence="Port 8100 is taken."))
    assert store.issues["port_in_use"].sentence == "Port 8100 is taken."
    with qtbot.waitSignal(store.issues_changed):
        core.publish("issue", "cleared", {"code": "port_in_use"})
    assert not store.issues


def test_live_topics_are_added_while_wanted_and_dropped_while_hidden(
    store: Store, core: FakeCore, qtbot: QtBot
) -> None:
    def carried() -> set[str]:
        return core.streams[0].topics & {"gpu", "log"} if len(core.streams) == 1 else {"several"}

    assert carried() == set()
    with qtbot.waitSignal(store.samples_reset):
        store.watch("gpu", True)
    qtbot.waitUntil(lambda: carried() == {"gpu"})
    with qtbot.waitSignal(store.sample_arrived):
        core.publish("gpu", "sample", make_sample(utilization=77))
    assert store.samples[-1].gpus[0].utilization == 77
    store.set_visible(False)
    qtbot.waitUntil(lambda: carried() == set())
    assert core.stream_requests[-1][1] == "1"  # resumed by id, nothing lost in between
    store.set_visible(True)
    qtbot.waitUntil(lambda: carried() == {"gpu"})
    store.watch("gpu", False)
    qtbot.waitUntil(lambda: carried() == set())


def test_a_reset_fetches_the_state_anew(store: Store, core: FakeCore, qtbot: QtBot) -> None:
    core.add("new-model")
    with qtbot.waitSignal(store.models_reset):
        core.publish("stream", "reset", {})
    assert "new-model" in store.models


def test_a_lost_core_is_said_and_found_again(store: Store, core: FakeCore, qtbot: QtBot) -> None:
    with qtbot.waitSignal(store.connection_changed) as lost:
        core.drop()
    assert lost.args == [False]
    core.add("added-meanwhile")
    with qtbot.waitSignal(store.connection_changed) as found:
        core.online = True
    assert found.args == [True]
    assert "added-meanwhile" in store.models


def test_a_failed_action_becomes_a_toast(store: Store, qtbot: QtBot) -> None:
    assert store.client is not None
    with qtbot.waitSignal(store.toast) as seen:
        store.run(store.client.load("no-such-model"), name="load")
    assert "no-such-model" in seen.args[0]
    assert seen.args[1] == "error"

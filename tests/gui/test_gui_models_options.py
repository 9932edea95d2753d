"""Loading with options: fields and JSON, the estimate that follows them, asking before what cannot fit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fake_core import GIB, FakeCore, make_estimate
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton, QWidget
from pytestqt.qtbot import QtBot

from quarterdeck.gui.commands import Commands
from quarterdeck.gui.dialogs.ask import Question
from quarterdeck.gui.dialogs.load_options import LoadOptionsDialog
from quarterdeck.gui.presenters import estimate as words
from quarterdeck.gui.presenters.load_options import (
    LoadOptions,
    context_stops,
    joined,
    names,
    nearest_stop,
    split,
)
from quarterdeck.gui.store import Store
from quarterdeck.schemas.estimate import Comparison, LaunchAdvice, MemoryHolder, Verdict

ESTIMATE = ("POST", "/api/estimate")
LOAD = ("POST", "/api/orchestrate/load")


def open_for(store: Store, core: FakeCore, qtbot: QtBot, name: str = "qwen3-8b") -> LoadOptionsDialog:
    window = QWidget()
    qtbot.addWidget(window)
    made = LoadOptionsDialog(Commands(store, window), store.models[name], window)
    made.open()
    qtbot.waitUntil(lambda: made.estimate.estimate is not None)
    return made


@pytest.fixture
def dialog(store: Store, core: FakeCore, qtbot: QtBot) -> Iterator[LoadOptionsDialog]:
    config = {"n_ctx": 4096, "n_gpu_layers": 20, "cache_type_k": "q8_0", "cache_type_v": "q8_0", "n_threads": 4}
    core.change("qwen3-8b", load_config=json.dumps(config))
    qtbot.waitUntil(lambda: "n_threads" in store.models["qwen3-8b"].load_config)
    made = open_for(store, core, qtbot)
    yield made
    made.reject()


def asked(core: FakeCore) -> list[dict[str, Any]]:
    return [json.loads(body["load_config"]) for body in core.called(*ESTIMATE)]


def press(qtbot: QtBot, button: QWidget) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_the_stored_configuration_fills_the_fields(dialog: LoadOptionsDialog, core: FakeCore) -> None:
    form = dialog.form
    assert (form.context.value(), form.layers.value(), form.kv.currentData()) == (4096, 20, "q8_0")
    assert form.parallel.text() == "Engine’s default"
    assert json.loads(form.rest.toPlainText()) == {"n_threads": 4}
    assert form.layers.suffix() == " of 36"
    assert asked(core) == [
        {"n_ctx": 4096, "n_gpu_layers": 20, "cache_type_k": "q8_0", "cache_type_v": "q8_0", "n_threads": 4}
    ]
    assert dialog.estimate.badge.text == "Fits"
    assert dialog.estimate.sentence.text() == "It fits: 2.8 GiB of 15.0 GiB that are free."


def test_quick_edits_are_asked_about_once(dialog: LoadOptionsDialog, core: FakeCore, qtbot: QtBot) -> None:
    before = len(asked(core))
    for tokens in (5000, 6000, 7000, 8000):
        dialog.form.context.setValue(tokens)
    qtbot.waitUntil(lambda: len(asked(core)) > before)
    assert len(asked(core)) == before + 1
    assert asked(core)[-1]["n_ctx"] == 8000


def test_a_late_answer_does_not_replace_a_newer_one(dialog: LoadOptionsDialog, core: FakeCore, qtbot: QtBot) -> None:
    core.estimate_gate = slow = asyncio.Event()
    core.estimate = make_estimate(sentence="old")
    dialog.form.context.setValue(5000)
    qtbot.waitUntil(lambda: len(asked(core)) == 2)
    core.estimate_gate = None
    dialog.form.context.setValue(6000)
    qtbot.waitUntil(lambda: len(asked(core)) == 3)
    core.estimate = make_estimate(sentence="new")
    slow.set()
    dialog.form.context.setValue(7000)
    qtbot.waitUntil(lambda: dialog.estimate.sentence.text() == "new")


def test_the_slider_and_the_number_follow_each_other(dialog: LoadOptionsDialog) -> None:
    dialog.form.slider.setValue(0)
    assert dialog.form.context.value() == 512
    dialog.form.context.setValue(8192)
    assert dialog.form.slider.value() == dialog.form.slider.maximum()
    assert dialog.form.context.maximum() == 8192


def test_loading_uses_the_options_once(dialog: LoadOptionsDialog, core: FakeCore, qtbot: QtBot) -> None:
    dialog.form.context.setValue(2048)
    press(qtbot, dialog.load)
    qtbot.waitUntil(lambda: bool(core.called(*LOAD)))
    body = core.called(*LOAD)[0]
    assert body["force_load"] is False
    assert json.loads(body["load_config"])["n_ctx"] == 2048
    assert "2048" not in core.models["qwen3-8b"].load_config


def test_saving_keeps_them(dialog: LoadOptionsDialog, core: FakeCore, qtbot: QtBot) -> None:
    dialog.form.context.setValue(2048)
    press(qtbot, dialog.save)
    qtbot.waitUntil(lambda: json.loads(core.models["qwen3-8b"].load_config)["n_ctx"] == 2048)
    qtbot.waitUntil(lambda: dialog.save.text() == "Saved")
    assert core.called(*LOAD) == []
    dialog.form.context.setValue(1024)
    assert (dialog.save.text(), dialog.save.isEnabled()) == ("Save as configuration", True)


def test_a_refused_save_is_said_in_place(dialog: LoadOptionsDialog, core: FakeCore, qtbot: QtBot) -> None:
    core.answers["PATCH", "/api/models/qwen3-8b/config"] = (
        400, {"detail": "llama.cpp has no option “n_treads”.", "code": "unknown_option", "hint": "Did you mean it?"},
    )  # fmt: skip
    press(qtbot, dialog.save)
    qtbot.waitUntil(lambda: dialog.problem.isVisible())
    assert dialog.problem.text() == "llama.cpp has no option “n_treads”. Did you mean it?"
    assert dialog.save.isEnabled()


def test_broken_json_stops_estimate_and_load(dialog: LoadOptionsDialog, core: FakeCore, qtbot: QtBot) -> None:
    before = len(asked(core))
    dialog.form.rest.setPlainText('{"n_threads": }')
    qtbot.waitUntil(lambda: dialog.estimate.state.text() == "Mend the options first.")
    assert len(asked(core)) == before
    assert not dialog.load.isEnabled()
    assert dialog.problem.isVisible()
    dialog.form.rest.setPlainText("{}")
    qtbot.waitUntil(lambda: dialog.estimate.badge.text == "Fits")
    assert dialog.load.isEnabled()


def test_what_would_fit_is_taken_over(dialog: LoadOptionsDialog, core: FakeCore, qtbot: QtBot) -> None:
    core.estimate = make_estimate(verdict=Verdict.TOO_BIG, max_ctx_that_fits=3000)
    dialog.form.context.setValue(8000)
    qtbot.waitUntil(lambda: dialog.estimate.badge.text == "Too big")
    assert dialog.estimate.longest.text() == "Up to 3,000 tokens of context fit."
    press(qtbot, dialog.estimate.use_longest)
    assert dialog.form.context.value() == 3000
    qtbot.waitUntil(lambda: asked(core)[-1]["n_ctx"] == 3000)


def test_the_pair_for_vllm_is_taken_over(store: Store, core: FakeCore, qtbot: QtBot) -> None:
    core.change("qwen3-8b", backend="vllm")
    qtbot.waitUntil(lambda: store.models["qwen3-8b"].backend == "vllm")
    core.estimate = make_estimate(advice=LaunchAdvice(gpu_memory_utilization=0.74, max_model_len=6144))
    dialog = open_for(store, core, qtbot)
    assert dialog.form.layers.isHidden()
    press(qtbot, dialog.estimate.use_pair)
    qtbot.waitUntil(lambda: asked(core)[-1] == {"max_model_len": 6144, "gpu_memory_utilization": 0.74})
    dialog.reject()


def test_what_cannot_fit_is_loaded_only_after_a_question(
    dialog: LoadOptionsDialog, core: FakeCore, qtbot: QtBot
) -> None:
    core.estimate = make_estimate(verdict=Verdict.TOO_BIG, sentence="It needs 30 GiB, but 15 GiB are free.")
    dialog.form.context.setValue(8000)
    qtbot.waitUntil(lambda: dialog.estimate.badge.text == "Too big")
    press(qtbot, dialog.load)
    qtbot.waitUntil(lambda: any(one.isVisible() for one in dialog.findChildren(Question)))
    question = next(one for one in dialog.findChildren(Question) if one.isVisible())
    assert {button.text() for button in question.findChildren(QPushButton)} == {"Load anyway", "Cancel"}
    press(qtbot, question.cancel_button)
    qtbot.waitUntil(lambda: not question.isVisible())
    assert core.called(*LOAD) == []
    qtbot.waitUntil(dialog.load.isEnabled)
    press(qtbot, dialog.load)
    qtbot.waitUntil(lambda: any(one.isVisible() for one in dialog.findChildren(Question)))
    press(qtbot, next(one for one in dialog.findChildren(Question) if one.isVisible()).verb_button)
    qtbot.waitUntil(lambda: bool(core.called(*LOAD)))
    assert core.called(*LOAD)[0]["force_load"] is True


def test_without_an_estimate_the_reason_is_shown_and_loading_is_possible(
    store: Store, core: FakeCore, dialog: LoadOptionsDialog, qtbot: QtBot
) -> None:
    core.answers[ESTIMATE] = (
        422, {"detail": "The file is not a GGUF file.", "code": "no_estimate", "hint": "Look at it."},
    )  # fmt: skip
    dialog.form.context.setValue(1000)
    qtbot.waitUntil(lambda: dialog.estimate.sentence.text() == "The file is not a GGUF file.")
    assert dialog.estimate.badge.text == "Unknown"
    assert dialog.load.isEnabled()


def test_a_refusal_by_the_core_asks_before_it_is_forced(store: Store, core: FakeCore, qtbot: QtBot) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    window.show()
    commands = Commands(store, window)
    core.answers[LOAD] = (507, {"detail": "It needs 30 GiB.", "code": "does_not_fit", "hint": ""})
    task = commands.load("qwen3-8b")
    qtbot.waitUntil(lambda: any(one.isVisible() for one in window.findChildren(Question)))
    del core.answers[LOAD]
    press(qtbot, next(one for one in window.findChildren(Question) if one.isVisible()).verb_button)
    qtbot.waitUntil(task.done)
    assert [body["force_load"] for body in core.called(*LOAD)] == [False, True]


class TestOptionWords:
    @pytest.mark.parametrize(
        ("backend", "config", "fields"),
        [
            ("embedded", {"ctx_size": 4096, "ngl": 3, "parallel": 2}, (4096, 2, None, 3, None)),
            ("vllm", {"max_model_len": 8192, "gpu_memory_utilization": 0.9}, (8192, None, None, None, 0.9)),
            ("ollama", {"num_ctx": 2048, "num_gpu": 0}, (2048, None, None, 0, None)),
            ("openai-compatible", {}, (None, None, None, None, None)),
        ],
    )
    def test_each_engine_has_its_own_names(self, backend: str, config: dict[str, Any], fields: tuple[Any, ...]) -> None:
        options = split(backend, config)
        assert (options.context, options.parallel, options.kv, options.layers, options.share) == fields
        assert options.rest == {}

    @pytest.mark.parametrize(
        "config",
        [
            {"n_ctx": "many"}, {"n_ctx": 0}, {"n_ctx": True}, {"n_gpu_layers": -1},
            {"cache_type_k": "q8_0"}, {"cache_type_k": "q8_0", "cache_type_v": "f16"}, {"cache_type_k": "odd"},
        ],
    )  # fmt: skip
    def test_what_a_field_cannot_show_stays_in_the_rest(self, config: dict[str, Any]) -> None:
        options = split("embedded", config)
        assert options.rest == config
        assert joined("embedded", options) == config

    @given(
        st.sampled_from(["embedded", "vllm", "ollama"]),
        st.none() | st.integers(1, 10**6), st.none() | st.integers(1, 64), st.none() | st.integers(0, 99),
        st.dictionaries(st.sampled_from(["n_threads", "seed", "x"]), st.integers()),
    )  # fmt: skip
    def test_fields_survive_being_written_and_read(
        self, backend: str, context: int | None, parallel: int | None, layers: int | None, rest: dict[str, int]
    ) -> None:
        known = names(backend)
        options = LoadOptions(
            context=context, parallel=parallel if known.parallel else None, layers=layers if known.layers else None,
            kv=known.kv_types[0] if known.kv else None, rest=rest,
        )  # fmt: skip
        assert split(backend, joined(backend, options)) == options

    @given(st.integers(512, 2_000_000))
    def test_the_slider_ends_at_the_limit_and_every_stop_is_its_own_nearest(self, limit: int) -> None:
        stops = context_stops(limit)
        assert stops[-1] == limit
        assert stops == sorted(set(stops))
        assert all(nearest_stop(stops, stop) == place for place, stop in enumerate(stops))


class TestEstimateWords:
    def test_every_verdict_has_its_own_shape_and_word(self) -> None:
        assert set(words.VERDICTS) == set(Verdict)
        assert len({badge.icon for badge in words.VERDICTS.values()}) == len(Verdict)
        assert len({badge.word for badge in words.VERDICTS.values()}) == len(Verdict)

    @given(
        st.lists(st.integers(0, 50 * GIB), min_size=3, max_size=3),
        st.none() | st.integers(0, 24 * GIB), st.none() | st.just(24 * GIB),
    )  # fmt: skip
    def test_the_bar_holds_all_parts_and_the_card(self, sizes: list[int], free: int | None, card: int | None) -> None:
        parts = [{"name": str(place), "label": str(place), "bytes": size} for place, size in enumerate(sizes)]
        estimate = make_estimate().model_validate(
            make_estimate().model_dump()
            | {"parts": parts, "total_bytes": sum(sizes), "free_bytes": free, "card_bytes": card}
        )
        bar = words.bar(estimate)
        held = sum(segment.bytes for segment in bar.segments)
        used = card - free if card is not None and free is not None else 0
        assert held == sum(sizes) + used
        assert bar.room >= max(held, card or 0)

    def test_sums_holders_and_the_past(self) -> None:
        now = datetime(2026, 5, 1, 12, tzinfo=UTC)
        estimate = make_estimate(
            claim_bytes=20 * GIB, correction=1.04,
            holders=[MemoryHolder(name="Xorg", bytes=GIB), MemoryHolder(name="python", model="m", bytes=4 * GIB)],
            history=[
                Comparison(at=now - timedelta(days=n), predicted_bytes=10 * GIB, measured_bytes=8 * GIB, n_ctx=4096)
                for n in range(40, 49)
            ],
        )  # fmt: skip
        assert words.sums(estimate) == [
            ("Together", "2.8 GiB"), ("Taken at once by the engine", "20.0 GiB"), ("Free now", "15.0 GiB of 24.0 GiB"),
        ]  # fmt: skip
        assert words.holders_line(estimate) == "In use by m 4.0 GiB, Xorg 1.0 GiB."
        assert words.learned_line(estimate) == "Corrected by +4 % from what earlier loads really took."
        rows = words.past(estimate, now)
        assert len(rows) == words.MOST_COMPARISONS
        assert rows[0][1:] == ("4,096", "10.0 GiB", "8.0 GiB", "+25.0 %")

    def test_nothing_is_made_up_without_a_gpu(self) -> None:
        estimate = make_estimate(free_bytes=None, card_bytes=None, fits=None, verdict=Verdict.UNKNOWN, parts=[])
        assert words.bar(estimate).card is None
        assert [segment.label for segment in words.bar(estimate).segments] == ["This model"]
        assert words.longest_line(estimate) == ""
        assert words.longest_line(make_estimate(max_ctx_that_fits=0)) == "No context fits beside what is in use."

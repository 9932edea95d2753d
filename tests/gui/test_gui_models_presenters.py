"""What cards, history and the editor say, without Qt."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from fake_core import NOW, make_attempt, make_model
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.errors import AppError
from quarterdeck.gui.presenters import text
from quarterdeck.gui.presenters.attempts import attempt_row, configuration
from quarterdeck.gui.presenters.badges import BADGES
from quarterdeck.gui.presenters.card import Verb, card_state
from quarterdeck.gui.presenters.chat import ChatFigures, piece
from quarterdeck.gui.presenters.facts import facts
from quarterdeck.gui.presenters.filters import Filters, SortKey, count_line, sort_value
from quarterdeck.gui.presenters.json_text import find_problem, neat, refusal, same, shown, with_options
from quarterdeck.schemas.models import LoadProgress, Outcome, Phase, Retest, Status

MIB = 1024**2


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "n/a"), (1000, "under 1 MiB"), (94 * MIB, "94 MiB"), (2**30 - 1, "1.0 GiB"), (4_939_212_390, "4.6 GiB")],
)  # fmt: skip
def test_sizes(value: int | None, words: str) -> None:
    assert text.size(value) == words


@given(st.integers(min_value=0, max_value=2**50))
def test_a_size_never_shows_1024_of_a_unit(value: int) -> None:
    assert not text.size(value).startswith("1024 MiB")


@pytest.mark.parametrize(
    ("count", "words"), [(134_515_008, "135M"), (7_248_000_000, "7.2B"), (7_000_000_000, "7B"), (70_553_000_000, "71B")]
)
def test_parameters(count: int, words: str) -> None:
    assert text.parameters(count) == words


@pytest.mark.parametrize(("tokens", "words"), [(512, "512"), (8192, "8k"), (131072, "128k"), (32000, "32k")])
def test_contexts(tokens: int, words: str) -> None:
    assert text.context(tokens) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.84, "0.8 s"), (9.97, "10 s"), (125, "2 min 5 s"), (3720, "1 h 2 min")]
)
def test_durations(seconds: float, words: str) -> None:
    assert text.duration(seconds) == words


def test_near_days_have_names() -> None:
    now = datetime.now(UTC).astimezone().replace(hour=12)
    assert text.moment(now, now).startswith("Today ")
    assert text.moment(now - timedelta(days=1), now).startswith("Yesterday ")
    assert text.moment(None, now) == "Never"


def test_every_status_has_its_own_shape_and_word_and_keeps_the_official_one() -> None:
    assert len({badge.icon for badge in BADGES.values()}) == len(Status)
    assert len({badge.word for badge in BADGES.values()}) == len(Status)
    assert all(badge.meaning.startswith(status.value) for status, badge in BADGES.items())


def test_a_card_reads_as_a_sentence() -> None:
    model = make_model("SmolLM2", quantization="Q4_1", size_bytes=94 * MIB, status=Status.COMPATIBLE,
                       phase=Phase.LOADED, loaded=True)  # fmt: skip
    state = card_state(model)
    assert state.accessible_name == "SmolLM2, Q4_1, 94 MiB, compatible, loaded"
    assert state.facts == "Q4_1 · 3B parameters · 94 MiB"
    assert state.backend == "8k context · llama.cpp (built in)"
    assert state.primary.verb is Verb.UNLOAD


@pytest.mark.parametrize(
    ("phase", "verb", "label"),
    [
        (Phase.UNLOADED, Verb.LOAD, "Load"),
        (Phase.QUEUED, Verb.CANCEL, "Cancel"),
        (Phase.LOADING, Verb.CANCEL, "Cancel"),
        (Phase.CANCELLING, None, "Cancelling…"),
        (Phase.LOADED, Verb.UNLOAD, "Unload"),
        (Phase.UNLOADING, None, "Unloading…"),
    ],
)
def test_one_button_for_each_phase(phase: Phase, verb: Verb | None, label: str) -> None:
    primary = card_state(make_model("m", phase=phase)).primary
    assert (primary.verb, primary.label) == (verb, label)
    assert bool(primary.reason) == (verb is None)


def test_a_command_shows_before_the_core_has_answered() -> None:
    assert card_state(make_model("m"), busy=Verb.LOAD).primary.verb is Verb.CANCEL
    loading = make_model("m", phase=Phase.LOADING)
    assert card_state(loading, busy=Verb.CANCEL).state_word == "Cancelling…"


def test_progress_says_stage_share_time_and_what_is_usual() -> None:
    progress = LoadProgress(stage="reading weights", fraction=0.62, elapsed_s=14.2, usual_s=20)
    shown_progress = card_state(make_model("m", phase=Phase.LOADING, progress=progress)).progress
    assert shown_progress is not None
    assert shown_progress.line(1.0) == "Reading weights · 62 % · 15 s · usually 20 s"


def test_hints_and_errors_are_told_in_one_line() -> None:
    state = card_state(make_model("m", retest=Retest.HARDWARE, last_error="It broke.\nTrace…"))
    assert state.retest == "Hardware changed – test again"
    assert state.error == "It broke."
    own = card_state(make_model("m"), error=AppError("core_unreachable", "The core does not answer."))
    assert own.error == "The core does not answer."
    assert card_state(make_model("m", phase=Phase.LOADING, last_error="It broke.")).error == ""


def test_facts_leave_nothing_blank() -> None:
    bare = make_model("m", size_bytes=None, quantization=None, context_length=None, has_chat_template=None)
    assert all(value for _, value in facts(bare, NOW))


def test_search_needs_every_word_in_some_field() -> None:
    model = make_model("SmolLM2-135M", architecture="llama", quantization="Q4_1", status=Status.DEGRADED)
    assert Filters(words="smol q4").accepts(model)
    assert not Filters(words="smol q8").accepts(model)
    assert not Filters(status=Status.COMPATIBLE).accepts(model)


def test_models_that_were_never_used_sort_before_those_that_were() -> None:
    never, used = make_model("b"), make_model("a", last_loaded=NOW)
    assert sort_value(never, SortKey.USED) < sort_value(used, SortKey.USED)
    assert sort_value(make_model("a", size_bytes=None), SortKey.SIZE) < sort_value(never, SortKey.SIZE)


def test_the_count_is_told_only_against_a_filter() -> None:
    assert (count_line(3, 12), count_line(1, 1), count_line(2, 2)) == ("3 of 12", "1 model", "2 models")


def test_an_attempt_in_words() -> None:
    attempt = make_attempt(1, "m", error="Out of memory.", hint="Choose a smaller one.", signal="SIGKILL", forced=True,
                           log_tail="\nlast line\n",
                           load_config='{"n_ctx": 4096, "flash_attention": "on"}')  # fmt: skip
    row = attempt_row(attempt, NOW)
    assert row.outcome == "Failed (forced)"
    assert row.explanation == "Out of memory.\nChoose a smaller one."
    assert row.configuration == 'n_ctx = 4096, flash_attention = "on"'
    assert row.ending == "The engine was ended by SIGKILL."
    assert row.change == "Status: Unknown → Does not work"
    assert row.log == "last line"
    assert attempt_row(make_attempt(2, "m", outcome=Outcome.RUNNING, ended_at=None), NOW).took == "–"


@given(st.text(max_size=60))
def test_any_stored_configuration_can_be_shown(stored: str) -> None:
    assert configuration(stored) is not None
    assert shown(stored) is not None


def test_a_mistake_is_found_where_it_is() -> None:
    problem = find_problem('{\n  "n_ctx": 4096,\n  "n_threads": two\n}')
    assert problem is not None
    assert (problem.line, problem.column) == (3, 16)
    assert problem.hint
    assert find_problem("") is None


storable = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@given(st.dictionaries(storable, st.one_of(st.integers(), storable, st.booleans(), st.none())))
def test_formatting_keeps_the_meaning(options: dict[str, object]) -> None:
    packed = json.dumps(options)
    assert same(neat(packed), packed)
    assert neat(neat(packed)) == neat(packed)


def test_true_and_one_are_not_the_same_configuration() -> None:
    assert not same('{"a": true}', '{"a": 1}')
    assert same('{"a":1}', '{ "a" : 1 }')
    assert not same("{", "{}")


def test_an_example_is_added_to_what_is_there() -> None:
    assert json.loads(with_options('{"a": 1}', {"n_ctx": 4096})) == {"a": 1, "n_ctx": 4096}


def test_the_option_a_core_complains_about_is_found_in_the_text() -> None:
    typed = '{\n  "n_ctx": 1,\n  "n_treads": 2\n}'
    error = AppError("unknown_option", "llama.cpp has no option “n_treads”.", "Did you mean “n_threads”?")
    assert refusal(error, typed)[2:] == (3, 3)
    placed = AppError("bad_json", "Broken.", details={"line": 2, "column": 5})
    assert refusal(placed, typed)[2:] == (2, 5)
    assert refusal(AppError("other", "No place."), typed)[2:] == (0, 0)


def test_figures_of_a_stream() -> None:
    figures = ChatFigures(100.0)
    assert figures.line() == ""
    figures.take(piece({"choices": [{"delta": {"role": "assistant"}}]}), 100.1)
    for number in range(5):
        figures.take(piece({"choices": [{"delta": {"content": "x"}}]}), 100.5 + number * 0.1)
    assert figures.line() == "First token after 500 ms · 10.0 tokens/s · 5 tokens"
    figures.take(piece({"choices": [], "usage": {"completion_tokens": 9}}), 101.0)
    assert figures.line() == "First token after 500 ms · 20.0 tokens/s · 9 tokens"

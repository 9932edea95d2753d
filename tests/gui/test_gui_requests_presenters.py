"""Requests in words: outcomes, names, figures, filters, and where two texts differ."""

from __future__ import annotations

import json
import re
from pathlib import Path

from fake_clients import captured, make_request
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.gui.presenters.badges import Tone
from quarterdeck.gui.presenters.changes import applied
from quarterdeck.gui.presenters.requests import (
    Outcomes,
    RequestFilter,
    changes,
    figures,
    kind,
    milliseconds,
    outcome,
    to_row,
)
from quarterdeck.gui.presenters.texts import NONE_HERE, NOT_KEPT, differing, laid_out, side
from quarterdeck.proxy import mitigations
from quarterdeck.proxy.mitigations.tools import STRIPPED
from quarterdeck.proxy.turn import FROM_CACHE, PROBE

LINES = st.lists(st.sampled_from(["a", "b", "{", '"x": 1,', '"x": 1', ""]), max_size=12)


def test_a_request_that_was_refused_unread_is_called_by_its_path() -> None:
    refused = to_row(make_request(1, status=401, model="", asked="", path="/v1/models", error="This needs a key."))
    assert (refused.model, refused.operation, kind(refused.view)) == ("/v1/models", "", "OpenAI")
    named = to_row(make_request(1, status=404, model="", asked="nobody"))
    assert (named.model, named.operation) == ("nobody", "Chat")


def test_every_outcome_has_a_word() -> None:
    told = {status: outcome(make_request(1, status=status)) for status in (200, 404, 499, 502)}
    assert [badge.word for badge in told.values()] == ["Answered", "Refused, 404", "Client left", "Failed, 502"]
    assert len({badge.icon for badge in told.values()}) == 4
    broken = outcome(make_request(1, error="The backend broke off."))
    assert (broken.word, broken.tone, broken.meaning) == ("Broke off", Tone.ERROR, "The backend broke off.")


def test_names_are_told_once() -> None:
    assert to_row(make_request(1)).model == "qwen3-8b"
    assert to_row(make_request(1, asked="gpt-4o")).model == "gpt-4o → qwen3-8b"
    assert to_row(make_request(1, asked="gpt-5", model="")).model == "gpt-5"
    assert to_row(make_request(1, asked="", model="")).model == "/v1/chat/completions"
    assert kind(make_request(1, operation="embeddings", dialect="ollama")) == "Embeddings · Ollama"
    assert kind(make_request(1, operation="new", dialect="other")) == "new · other"
    assert changes(make_request(1, dropped=["n"], applied=["a", "b"])) == "3 changes"
    assert changes(make_request(1)) == ""


def test_every_change_that_the_proxy_makes_has_words() -> None:
    folder = Path(mitigations.__file__).parent
    made = {name for file in folder.glob("*.py") for name in re.findall(r'applied\("([a-z-]+)"\)', file.read_text())}
    made |= {STRIPPED, PROBE, FROM_CACHE, "cut-reasoning-history", "cut-vision-history", "fold-system"}
    assert len(made) > 10
    assert [name for name in made if applied(name) == name.replace("-", " ")] == []
    assert applied("override:top_p") == "“top_p” was replaced by the saved value"
    assert applied("some-new_thing") == "some new thing"


def test_times_are_short() -> None:
    shown = [milliseconds(value) for value in (None, 0.84, 9.94, 9.96, 180.4, 999.4, 999.6, 65_000)]
    assert shown == ["", "0.8 ms", "9.9 ms", "10 ms", "180 ms", "999 ms", "1.0 s", "1 min 5 s"]


def test_figures_say_what_the_requests_have_in_common() -> None:
    assert figures([]) == ""
    views = [make_request(number, first_token_ms=float(number), tokens_per_second=10.0) for number in range(1, 101)]
    views[0] = make_request(0, status=500, first_token_ms=None, tokens_per_second=None)
    assert figures(views) == ("100 requests · 1 not answered · first token 51 ms, 95 % within 96 ms · 10.0 tokens/s")


@given(st.text(max_size=8), st.sampled_from(Outcomes))
def test_a_filter_finds_what_a_row_says(text: str, outcomes: Outcomes) -> None:
    view = make_request(1, key=text, status=500, dropped=["n"])
    row = to_row(view)
    assert RequestFilter.of(text, outcomes, "").accepts(row)
    assert not RequestFilter.of(text, outcomes, "another").accepts(row)
    assert not RequestFilter.of("\u0e5b\u0e5b", outcomes, "").accepts(row)


@given(LINES, LINES)
def test_lines_that_are_not_marked_are_the_same(left: list[str], right: list[str]) -> None:
    lefts, rights = differing("\n".join(left), "\n".join(right))
    before = [line.rstrip(",") for number, line in enumerate("\n".join(left).splitlines()) if number not in lefts]
    after = [line.rstrip(",") for number, line in enumerate("\n".join(right).splitlines()) if number not in rights]
    assert before == after


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=6))
def test_laying_out_changes_no_value(value: object) -> None:
    assert json.loads(laid_out(json.dumps(value))) == value


def test_a_missing_text_says_why() -> None:
    assert side(None, any_kept=False).text == NOT_KEPT
    assert side(None, any_kept=True).text == NONE_HERE
    kept = side(captured("data: é"), any_kept=True)
    assert (kept.text, kept.about, kept.kept) == ("data: é", "8 bytes", True)
    assert side(captured("x").model_copy(update={"cut": True, "size": 5000}), any_kept=True).about == "5,000 bytes, cut"

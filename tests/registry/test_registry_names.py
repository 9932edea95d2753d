"""Finding a model by what clients call it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.errors import AppError
from quarterdeck.registry.names import NameIndex, clean_name, fold, unique
from quarterdeck.schemas.models import ModelView

NAMES = st.text(st.sampled_from("aAbB1:./-_ "), min_size=1, max_size=6)


def view(name: str, **fields: Any) -> ModelView:
    fields.setdefault("served_name", name)
    return ModelView(name=name, backend="ollama", layer="curated", created_at=datetime.now(UTC), **fields)


def index(*views: ModelView) -> NameIndex:
    made = NameIndex()
    for each in views:
        made.put(each)
    return made


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("Qwen2.5:1", ("Qwen2.5:1", "exact")),
        ("qwen2.5:1", ("Qwen2.5:1", "alias")),
        ("qwen2:51", ("qwen2:51", "exact")),
        ("qwen2-5:1", None),
        ("qwen251", None),
        ("llama3", ("llama3:latest", "alias")),
        ("LLAMA3:LATEST", ("llama3:latest", "alias")),
        ("served", ("tiny", "exact")),
        ("gpt-4o", ("tiny", "alias")),
        (" GPT-4o ", ("tiny", "alias")),
        ("", None),
    ],
)
def test_names_of_clients(asked: str, found: tuple[str, str] | None) -> None:
    known = index(
        view("Qwen2.5:1"), view("qwen2:51"), view("llama3:latest"),
        view("tiny", served_name="served", aliases=["GPT-4o"]),
    )  # fmt: skip
    assert known.find(asked) == found


def test_the_model_that_is_there_wins_over_one_that_is_missing() -> None:
    known = index(view("a", served_name="x", installed=False), view("b", served_name="x"))
    assert known.find("x") == ("b", "exact")
    known.drop("b")
    assert known.find("x") == ("a", "exact")


def test_an_alias_wins_over_the_same_name_in_other_letters() -> None:
    assert index(view("Big"), view("tiny", aliases=["big"])).find("bIg") == ("tiny", "alias")


@given(st.lists(st.tuples(NAMES, NAMES, st.lists(NAMES, max_size=2)), max_size=6), st.data())
def test_whatever_is_put_in_is_found_and_whatever_is_dropped_is_not(
    models: list[tuple[str, str, list[str]]], data: st.DataObject
) -> None:
    views = {name: view(name, served_name=served, aliases=aliases) for name, served, aliases in models}
    known = index(*views.values())
    for each in views.values():
        assert known.find(each.name) == (each.name, "exact")
        for word in (each.served_name, *each.aliases):
            found = known.find(word)
            assert found is not None
            claimed = views[found[0]]
            assert fold(word) in map(fold, (claimed.name, claimed.served_name, *claimed.aliases))
    gone = data.draw(st.sampled_from(sorted(views))) if views else None
    if gone:
        known.drop(gone)
        assert gone not in {found[0] for found in map(known.find, views) if found is not None}
    for name in views:
        known.drop(name)
    assert all(known.find(name) is None for name in views)


@given(NAMES, st.lists(NAMES, max_size=8))
def test_unique_names_are_free_and_keep_the_wanted_one(wanted: str, taken: list[str]) -> None:
    folded = {fold(name) for name in taken}
    found = unique(wanted, "vllm", folded)
    assert fold(found) not in folded
    assert wanted in found
    if fold(wanted) not in folded:
        assert found == wanted


@given(st.text(max_size=12))
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    try:
        once = clean_name(text)
    except AppError as error:
        assert error.code == "bad_name"
    else:
        assert clean_name(once) == once

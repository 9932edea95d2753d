"""The arithmetic of layers: curated stands over discovered, fact by fact, and nothing is lost."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.registry import layers
from quarterdeck.storage.tables import Model

FACTS = st.fixed_dictionaries(
    {},
    optional={
        "backend": st.none() | st.sampled_from(["embedded", "vllm"]),
        "path": st.none() | st.text(min_size=1, max_size=5),
        "size_bytes": st.none() | st.integers(0, 9),
        "has_chat_template": st.none() | st.booleans(),
        "capabilities": st.none() | st.lists(st.sampled_from(["chat", "vision"]), max_size=2),
        "pinned": st.none() | st.booleans(),
        "load_config": st.none() | st.dictionaries(st.sampled_from("abc"), st.none() | st.integers(0, 3), max_size=3),
        "digest": st.none() | st.text(max_size=3),
    },
)


def test_every_fact_is_a_column() -> None:
    assert set(layers.FIELDS) <= set(Model.model_fields)
    assert set(layers.FIELDS) >= layers.POLICIES


@given(discovered=FACTS, curated=FACTS)
def test_curated_wins_wherever_it_speaks(discovered: dict[str, Any], curated: dict[str, Any]) -> None:
    effective = layers.effective("tiny", discovered, curated)
    for field in layers.FIELDS:
        if field == "load_config":
            continue
        if curated.get(field) is not None:
            assert effective[field] == curated[field]
        elif discovered.get(field) is not None:
            assert effective[field] == discovered[field]


@given(discovered=FACTS, curated=FACTS)
def test_load_config_is_merged_by_key_and_null_never_wins_over_a_value(
    discovered: dict[str, Any], curated: dict[str, Any]
) -> None:
    below, above = discovered.get("load_config") or {}, curated.get("load_config") or {}
    merged = layers.effective("tiny", discovered, curated)["load_config"]
    assert merged.keys() == below.keys() | above.keys()
    for key, value in merged.items():
        if above.get(key) is not None:
            assert value == above[key]
        elif key in below:
            assert value == below[key]


@given(discovered=FACTS, curated=FACTS)
def test_the_layer_of_a_fact_is_the_one_that_gave_its_value(
    discovered: dict[str, Any], curated: dict[str, Any]
) -> None:
    origins = layers.origins(discovered, curated)
    effective = layers.effective("tiny", discovered, curated)
    empty = layers.effective("tiny", {}, {})
    for field in layers.FIELDS:
        if field not in origins:
            assert effective[field] == empty[field]
        elif field != "load_config":
            assert effective[field] == {"curated": curated, "discovered": discovered}[origins[field]][field]


@given(facts=FACTS)
def test_a_layer_alone_is_itself(facts: dict[str, Any]) -> None:
    assert layers.effective("tiny", facts, {}) == layers.effective("tiny", {}, facts)


@given(discovered=FACTS, curated=FACTS)
def test_merging_changes_neither_layer(discovered: dict[str, Any], curated: dict[str, Any]) -> None:
    before = repr((discovered, curated))
    merged = layers.effective("tiny", discovered, curated)
    merged["capabilities"].append("new")
    merged["aliases"].append("new")
    assert repr(layers.effective("tiny", {}, {})["aliases"]) == "[]"
    if discovered.get("capabilities") is None and curated.get("capabilities") is None:
        assert repr((discovered, curated)) == before


def test_names_and_highest_layer() -> None:
    assert layers.effective("tiny", {}, {})["served_name"] == "tiny"
    assert layers.effective("tiny", {"served_name": "other"}, {})["served_name"] == "other"
    assert layers.highest({}) == layers.highest({"group": None}) == "discovered"
    assert layers.highest({"pinned": False}) == "curated"


def test_what_differs() -> None:
    before, after = layers.effective("a", {"size_bytes": 1}, {}), layers.effective("a", {"size_bytes": 2}, {})
    assert layers.changed(before, after) == {"size_bytes": (1, 2)}

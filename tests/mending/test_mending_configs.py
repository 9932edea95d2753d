"""Patches of a load_config."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.backends import vllm_options
from quarterdeck.backends.embedded import OPTIONS
from quarterdeck.mending.configs import ABSENT, changes, merged

NAMES = sorted({alias for option in OPTIONS for alias in (option.name, *option.also)})
VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
CONFIGS = st.dictionaries(st.sampled_from([*NAMES, "unheard_of"]), VALUES, max_size=6)


def test_another_name_of_the_same_option_is_replaced() -> None:
    assert merged(OPTIONS, {"ctx_size": 4096, "n_batch": 8}, {"n_ctx": 2048}) == {"n_batch": 8, "n_ctx": 2048}
    assert merged(OPTIONS, {"n_ctx": 4096}, {"context_length": 2048}) == {"n_ctx": 2048}


def test_a_null_removes_an_entry() -> None:
    assert merged(OPTIONS, {"ctx_size": 4096, "unheard_of": 1}, {"n_ctx": None, "unheard_of": None}) == {}


def test_of_environment_variables_only_those_named_change() -> None:
    config = {"env": {"A": "1", "B": "2"}}
    assert merged(vllm_options.OPTIONS, config, {"env": {"B": 5}}) == {"env": {"A": "1", "B": "5"}}
    assert merged(vllm_options.OPTIONS, config, {"env": {"B": None}}) == {"env": {"A": "1"}}
    assert merged(vllm_options.OPTIONS, {"env": {"B": "2"}}, {"env": {"B": None}}) == {}
    assert merged(vllm_options.OPTIONS, config, {"env": None}) == {}


@given(config=CONFIGS, patch=CONFIGS)
def test_merging_twice_is_merging_once(config: dict[str, Any], patch: dict[str, Any]) -> None:
    once = merged(OPTIONS, config, patch)
    assert merged(OPTIONS, once, patch) == once
    assert None not in [once.get(name, 0) for name in patch if name in once]


@given(before=CONFIGS, after=CONFIGS)
def test_changes_tell_exactly_what_differs(before: dict[str, Any], after: dict[str, Any]) -> None:
    told = {change.what: change for change in changes(before, after)}
    for key in before.keys() | after.keys():
        same = key in before and key in after and before[key] == after[key]
        assert (key in told) != same
    for key, change in told.items():
        assert (change.before == ABSENT) == (key not in before) or before.get(key) == ABSENT
        assert (change.after == ABSENT) == (key not in after) or after.get(key) == ABSENT

"""Which load_configs an engine accepts, and what it says of the others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.backends.embedded import OPTIONS, EmbeddedBackend
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.options import Option, check
from quarterdeck.errors import ConfigError

BY_NAME = {option.name: option for option in OPTIONS}
NAMES = {name for option in OPTIONS for name in (option.name, *option.also)}


def refused(load_config: dict[str, Any]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        backend().check_config(load_config)
    return caught.value


def backend() -> EmbeddedBackend:
    return EmbeddedBackend(LogBook("embedded"), stop_patience=lambda: 1.0)


def good_values(option: Option) -> st.SearchStrategy[Any]:
    low = 0 if option.minimum is None else option.minimum
    high = 10_000 if option.maximum is None else option.maximum
    return {
        "integer": st.integers(int(low), int(high)),
        "number": st.floats(low, high, allow_nan=False),
        "text": st.text(),
        "path": st.text(),
        "switch": st.booleans(),
        "choice": st.sampled_from(option.choices or ("none",)),
        "numbers": st.lists(st.integers(0, 9) | st.floats(0, 9)),
    }[option.kind]


@st.composite
def good_configs(draw: st.DrawFn) -> dict[str, Any]:
    options = draw(st.lists(st.sampled_from(OPTIONS), unique_by=lambda option: option.name))
    return {draw(st.sampled_from((each.name, *each.also))): draw(good_values(each)) for each in options}


@given(good_configs())
def test_good_configs_come_back_under_canonical_names(load_config: dict[str, Any]) -> None:
    checked = check(OPTIONS, load_config, backend="The engine")
    assert set(checked) <= set(BY_NAME)
    assert list(checked.values()) == list(load_config.values())
    assert check(OPTIONS, checked, backend="The engine") == checked


@given(st.text().filter(lambda name: name not in NAMES))
def test_an_unknown_option_is_named(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(OPTIONS, {name: 1}, backend="The engine")
    assert (caught.value.code, caught.value.option) == ("unknown_option", name)
    assert f"“{name}”" in caught.value.sentence
    assert "extra_args" in caught.value.hint


@pytest.mark.parametrize(
    ("typed", "meant"), [("n_ctxx", "n_ctx"), ("gpu_layer", "gpu_layers"), ("flash_atn", "flash_attn")]
)
def test_a_slip_gets_a_suggestion(typed: str, meant: str) -> None:
    assert f"Did you mean “{meant}”?" in refused({typed: 1}).hint


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    assert "Did you mean" not in refused({"quux": 1}).hint


WRONG_TYPES = {
    "integer": ["4096", 1.5, True, None, [1]],
    "number": ["1", True, None],
    "text": [1, True, None],
    "path": [1, None],
    "switch": [1, 0, "true", None],
    "choice": ["AUTO", 1, True, None, ["auto"]],
    "numbers": [1, "1,2", [True], ["1"], None],
}


@pytest.mark.parametrize(
    ("option", "value"), [(option, value) for option in OPTIONS for value in WRONG_TYPES[option.kind]]
)
def test_a_value_of_the_wrong_type_is_refused_with_what_is_allowed(option: Option, value: Any) -> None:
    error = refused({option.name: value})
    assert error.code == "bad_load_config"
    assert error.option == option.name
    assert error.hint == option.text
    assert " must be " in error.sentence


LIMITED = [option for option in OPTIONS if option.minimum is not None]


@pytest.mark.parametrize("option", LIMITED, ids=lambda option: option.name)
def test_limits_are_inclusive(option: Option) -> None:
    kind = int if option.kind == "integer" else float
    for limit, step in ((option.minimum, -1), (option.maximum, 1)):
        if limit is not None:
            assert backend().check_config({option.name: kind(limit)}) == {option.name: kind(limit)}
            assert f"{limit}" in refused({option.name: kind(limit + step)}).sentence


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(value: float) -> None:
    assert refused({"rope_freq_base": value}).code == "bad_load_config"


def test_an_option_given_under_two_names_is_refused() -> None:
    error = refused({"n_ctx": 1024, "ctx_size": 2048})
    assert error.code == "bad_load_config"
    assert "“n_ctx” is given twice, once as “ctx_size”" in error.sentence


def test_extra_args_pass_unchecked() -> None:
    config = {"n_ctx": 512, "extra_args": {"n_keep": 64}}
    assert backend().check_config(config) == config


@pytest.mark.parametrize("extra", [[], "n_keep", 1, None])
def test_extra_args_that_are_no_object_are_refused(extra: object) -> None:
    assert "extra_args" in refused({"extra_args": extra}).sentence


def test_every_option_name_is_used_once() -> None:
    names = [name for option in OPTIONS for name in (option.name, *option.also)]
    assert len(names) == len(set(names))

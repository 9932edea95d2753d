"""Remedies take their numbers from the log, and are left out where the log has none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.diagnosis.remedies import UnknownError, filled, names, remedy
from quarterdeck.schemas.diagnosis import Remedy, RemedyKind


def patched(value: object, **values: str) -> object:
    made = remedy("Change it", RemedyKind.LOAD_CONFIG, {"it": value}, None, values)  # type: ignore[dict-item]
    return made and made.patch and made.patch["it"]


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("{tokens:floor1024}", {"tokens": "46464"}, 46080),
        ("{tokens:floor1024}", {"tokens": "46,464"}, 46080),
        ("{tokens:ceil1024}", {"tokens": "1025"}, 2048),
        ("{size:times2}", {"size": "2048"}, 4096),
        ("{size:over2:floor256}", {"size": "5000"}, 2304),
        ("{free/total:floor0.01}", {"free": "7.43", "total": "23.65"}, 0.31),
        ("{free/total:floor0.1}", {"free": "3", "total": "10"}, 0.3),
        ("{size:plus1:minus2:least10:most12}", {"size": "3"}, 10),
        ("{name}", {"name": "4096"}, 4096),
        ("{name}", {"name": "0.5"}, 0.5),
        ("{name}", {"name": "q8_0"}, "q8_0"),
        ("v{name}", {"name": "4096"}, "v4096"),
        (["--ctx", "{n}"], {"n": "8"}, ["--ctx", 8]),
        ({"deep": "{n:times3}"}, {"n": "8"}, {"deep": 24}),
        (None, {}, None),
        (True, {}, True),
    ],
)
def test_values_of_a_patch(text: object, values: dict[str, str], expected: object) -> None:
    assert patched(text, **values) == expected


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("{tokens}", {}),
        ("{tokens}", {"tokens": " "}),
        ("{tokens:floor1024}", {"tokens": "many"}),
        ("{tokens:floor1024}", {"tokens": "900"}),
        ("{free/total:floor0.01}", {"free": "1", "total": "0"}),
        ("{free/total:floor0.01}", {"free": "1"}),
    ],
)
def test_a_remedy_without_its_number_is_left_out(text: str, values: dict[str, str]) -> None:
    assert remedy("Change it", RemedyKind.LOAD_CONFIG, {"n_ctx": text}, None, values) is None
    assert remedy(f"Set {text}", RemedyKind.ADVICE, None, None, values) is None
    assert remedy("Run it", RemedyKind.COMMAND, None, f"run {text}", values) is None


def test_every_text_is_filled() -> None:
    values = {"who": "ollama", "n": "3"}
    made = remedy("Stop {who}", RemedyKind.COMMAND, {"a": "{n}"}, "kill {n:plus1}", values)
    assert made == Remedy(title="Stop ollama", kind=RemedyKind.COMMAND, patch={"a": 3}, command="kill 4")


def test_names_are_found_wherever_they_stand() -> None:
    assert names("{a}", None, 3, {"x": ["{b:floor2}", {"y": "{c/d:over2}"}]}) == {"a", "b", "c", "d"}


@pytest.mark.parametrize("text", ["{a:round2}", "{a:floor}", "{a:floor0}", "{a:over0}", "{a"])
def test_mistakes_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        names(text)


@given(value=st.integers(1, 10**9), step=st.integers(1, 10**6))
def test_rounding_keeps_within_one_step(value: int, step: int) -> None:
    up = int(filled(f"{{n:ceil{step}}}", {"n": str(value)}))
    assert up % step == 0
    assert 0 <= up - value < step
    if value >= step:
        down = int(filled(f"{{n:floor{step}}}", {"n": f"{value:,}"}))
        assert down % step == 0
        assert 0 <= value - down < step


@given(text=st.text(max_size=30))
def test_whatever_a_log_says_is_no_error(text: str) -> None:
    for template in ("{n}", "{n:floor16}", "{n/n:times2}"):
        try:
            assert filled(template, {"n": text})
        except UnknownError:
            continue

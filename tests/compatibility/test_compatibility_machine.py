"""The status machine: every cell of the decisions table, and what must hold whatever happens."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.compatibility import machine
from quarterdeck.schemas.models import CauseKind, Status

U, T, C, D, I = Status.UNKNOWN, Status.TESTING, Status.COMPATIBLE, Status.DEGRADED, Status.INCOMPATIBLE  # noqa: E741
HARDWARE, CAPACITY, ENVIRONMENT = CauseKind.HARDWARE, CauseKind.CAPACITY, CauseKind.ENVIRONMENT
RANK = {I: 0, D: 1, U: 2, T: 2, C: 3}

statuses, kinds, counts = st.sampled_from(Status), st.sampled_from(CauseKind), st.integers(0, 50)


@pytest.mark.parametrize(
    ("before", "first", "second", "third", "tenth"),
    [(U, C, C, C, C), (T, C, C, C, C), (C, C, C, C, C), (D, D, D, C, C), (I, D, D, C, C)],
)
def test_after_a_success(before: Status, first: Status, second: Status, third: Status, tenth: Status) -> None:
    assert [machine.after_success(before, count) for count in (1, 2, 3, 10)] == [first, second, third, tenth]


def test_an_incompatible_model_is_compatible_after_three_good_loads_in_a_row() -> None:
    status, seen = I, []
    for count in (1, 2, 3):
        status = machine.after_success(status, count)
        seen.append(status)
    assert seen == [D, D, C]


@pytest.mark.parametrize(
    ("before", "few", "many"), [(U, I, D), (T, I, D), (C, I, D), (D, I, D), (I, I, D)],
)  # fmt: skip
@pytest.mark.parametrize("exceeds", [False, True])
def test_after_a_hardware_failure(before: Status, few: Status, many: Status, exceeds: bool) -> None:
    for good in (0, 1, 2):
        assert machine.after_failure(before, HARDWARE, good, exceeds) is few
    for good in (3, 4, 100):
        assert machine.after_failure(before, HARDWARE, good, exceeds) is many


@pytest.mark.parametrize(("before", "kept"), [(U, U), (T, U), (C, C), (D, D), (I, I)])
@pytest.mark.parametrize("good", [0, 2, 3, 9])
def test_after_other_failures_and_a_cancel(before: Status, kept: Status, good: int) -> None:
    assert machine.after_failure(before, CAPACITY, good, True) is I
    assert machine.after_failure(before, CAPACITY, good, False) is kept
    assert machine.after_failure(before, ENVIRONMENT, good, False) is kept
    assert machine.after_failure(before, ENVIRONMENT, good, True) is kept
    assert machine.after_cancel(before) is kept


def test_after_an_interruption() -> None:
    assert [machine.after_interruption(good) for good in (0, 1, 2, 3, 4)] == [I, I, I, D, D]


def test_testing_never_remains() -> None:
    for before, good, exceeds in itertools.product(Status, range(6), (False, True)):
        results = [
            machine.after_success(before, good + 1),
            machine.after_interruption(good),
            machine.after_cancel(before),
            *(machine.after_failure(before, kind, good, exceeds) for kind in CauseKind),
        ]
        assert T not in results


@given(before=statuses, kind=kinds, good=counts, exceeds=st.booleans())
def test_a_failure_promotes_only_where_good_loads_speak_for_the_model(
    before: Status, kind: CauseKind, good: int, exceeds: bool
) -> None:
    after = machine.after_failure(before, kind, good, exceeds)
    assert RANK[after] <= RANK[before] or (before is I and after is D and good >= machine.GOOD_LOADS)
    assert after is not C or before is C


@given(before=statuses, good=st.integers(1, 50))
def test_a_success_never_demotes_and_never_forbids_the_next_load(before: Status, good: int) -> None:
    after = machine.after_success(before, good)
    assert RANK[after] >= RANK[before] or (before in (U, T) and after is C)
    assert after is not I
    assert machine.after_success(before, good + 1) in (after, C)


@given(before=statuses, kind=kinds, exceeds=st.booleans(), good=counts, more=counts)
def test_more_good_loads_never_make_a_failure_worse(
    before: Status, kind: CauseKind, exceeds: bool, good: int, more: int
) -> None:
    few = machine.after_failure(before, kind, good, exceeds)
    many = machine.after_failure(before, kind, good + more, exceeds)
    assert RANK[many] >= RANK[few]

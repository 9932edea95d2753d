"""Who may live together: decided from groups, pins and what takes memory at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.scheduling.residency import Tenant, may_live_together, must_leave

TENANTS = st.builds(
    Tenant,
    name=st.sampled_from("abcdefgh"),
    group=st.sampled_from(["", "g", "h"]),
    pinned=st.booleans(),
    holds=st.booleans(),
    place=st.sampled_from(["", "", "port"]),
)
HOUSES = st.lists(TENANTS, max_size=6, unique_by=lambda tenant: tenant.name)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (Tenant("a"), Tenant("b"), False),
        (Tenant("a", "g"), Tenant("b", "g"), True),
        (Tenant("a", "g"), Tenant("b", "h"), False),
        (Tenant("a", "g"), Tenant("b"), False),
        (Tenant("a", pinned=True), Tenant("b"), True),
        (Tenant("a", holds=False), Tenant("b"), True),
        (Tenant("a", "g", place="port"), Tenant("b", "g", place="port"), False),
        (Tenant("a", "g", place="port"), Tenant("b", "g"), True),
    ],
)
def test_who_may_live_together(one: Tenant, other: Tenant, together: bool) -> None:
    assert may_live_together(one, other) is together
    assert may_live_together(other, one) is together


@given(TENANTS, HOUSES)
def test_after_those_who_must_leave_have_left_everybody_may_live_with_the_newcomer(
    newcomer: Tenant, residents: list[Tenant]
) -> None:
    gone = must_leave(newcomer, residents)
    stay = [each for each in residents if each.name not in gone and each.name != newcomer.name]
    assert all(may_live_together(newcomer, each) or each.pinned for each in stay)
    # Nobody leaves without need.
    assert all(not may_live_together(newcomer, each) for each in residents if each.name in gone)


@given(TENANTS, HOUSES)
def test_pinned_models_and_those_without_memory_never_leave(newcomer: Tenant, residents: list[Tenant]) -> None:
    gone = must_leave(newcomer, residents)
    assert not [each for each in residents if each.name in gone and (each.pinned or not each.holds)]


@given(HOUSES)
def test_a_newcomer_without_memory_sends_nobody_away(residents: list[Tenant]) -> None:
    assert must_leave(Tenant("new", holds=False), residents) == []

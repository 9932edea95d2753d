"""Requests and tokens a minute, requests side by side: counted for each key, refused with the time to wait."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.errors import AppError
from quarterdeck.proxy.access.access import Principal
from quarterdeck.proxy.access.limiting import Limiter
from quarterdeck.schemas.access import Profile

_PROFILE = Profile(name="default", connect=5, first_token=0, idle=0, total=0, retries=0)


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock()
    monkeypatch.setattr(time, "time", lambda: made.now)
    yield made


def _who(name: str = "laptop", **limits: int) -> Principal:
    return Principal(name, False, frozenset(), _PROFILE, **limits)


def _refused(limiter: Limiter, who: Principal, tokens: int = 0) -> AppError:
    with pytest.raises(AppError) as refusal:
        limiter.admit(who, tokens)
    assert (refusal.value.code, refusal.value.status) == ("rate_limited", 429)
    assert "laptop" in refusal.value.sentence
    return refusal.value


def test_requests_of_a_minute(clock: Clock) -> None:
    limiter, who = Limiter(), _who(requests_per_minute=3)
    for _ in range(3):
        limiter.admit(who, 0).release()
        clock.now += 10
    refusal = _refused(limiter, who)
    assert refusal.details["limit"] == "requests_per_minute"
    wait = refusal.details["retry_after"]
    assert isinstance(wait, int)
    assert 25 <= wait <= 31
    clock.now += wait
    limiter.admit(who, 0).release()
    _refused(limiter, who)


def test_the_window_moves(clock: Clock) -> None:
    """Two full minutes' worth cannot pass around the turn of a minute."""
    limiter, who = Limiter(), _who(requests_per_minute=5)
    clock.now += 60 - clock.now % 60 - 1
    for _ in range(5):
        limiter.admit(who, 0)
    clock.now += 2
    _refused(limiter, who)


def test_keys_are_counted_apart(clock: Clock) -> None:
    limiter = Limiter()
    limiter.admit(_who(requests_per_minute=1), 0)
    _refused(limiter, _who(requests_per_minute=1))
    limiter.admit(_who("phone", requests_per_minute=1), 0)


def test_requests_side_by_side() -> None:
    limiter, who = Limiter(), _who(concurrency=2)
    first, second = limiter.admit(who, 0), limiter.admit(who, 0)
    refusal = _refused(limiter, who)
    assert (refusal.details["limit"], refusal.details["retry_after"]) == ("concurrency", 1)
    first.release()
    first.release()
    with limiter.admit(who, 0):
        _refused(limiter, who)
    second.release()
    with limiter.admit(who, 0), limiter.admit(who, 0):
        _refused(limiter, who)


def test_a_refusal_takes_no_place() -> None:
    limiter, who = Limiter(), _who(concurrency=1, requests_per_minute=1)
    limiter.admit(who, 0).release()
    for _ in range(3):
        assert _refused(limiter, who).details["limit"] == "requests_per_minute"


def test_tokens_of_a_minute(clock: Clock) -> None:
    limiter, who = Limiter(), _who(tokens_per_minute=100)
    limiter.admit(who, 40).release()
    limiter.spent(who, 50)
    refusal = _refused(limiter, who, 20)
    assert refusal.details["limit"] == "tokens_per_minute"
    limiter.admit(who, 10).release()
    _refused(limiter, who)
    clock.now += 121
    limiter.admit(who, 100)


def test_a_long_answer_shuts_the_key_until_the_minute_is_over(clock: Clock) -> None:
    limiter, who = Limiter(), _who(tokens_per_minute=100)
    limiter.admit(who, 1).release()
    limiter.spent(who, 100_000)
    _refused(limiter, who, 1)
    clock.now += 121
    limiter.admit(who, 1)


def test_a_question_beyond_the_limit_waits_for_a_whole_minute(clock: Clock) -> None:
    limiter, who = Limiter(), _who(tokens_per_minute=100)
    limiter.admit(who, 5_000).release()
    _refused(limiter, who, 5_000)
    clock.now += 121
    limiter.admit(who, 5_000)


@given(costs=st.lists(st.integers(0, 200), max_size=30), limit=st.integers(1, 300))
def test_no_more_tokens_than_the_limit_are_let_in(costs: list[int], limit: int) -> None:
    limiter, who = Limiter(), _who(tokens_per_minute=limit)
    began = time.time()
    let_in = 0
    for cost in costs:
        try:
            limiter.admit(who, cost).release()
        except AppError:
            continue
        let_in += min(max(cost, 1), limit)
    if began // 60 == time.time() // 60:
        assert let_in <= limit

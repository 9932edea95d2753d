"""How much one key may ask: requests and tokens per minute, and requests side by side."""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from quarterdeck.errors import AppError

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.strategies import RateLimiter


class Limited(Protocol):
    """What has limits; None means none."""

    @property
    def requests_per_minute(self) -> int | None: ...
    @property
    def tokens_per_minute(self) -> int | None: ...
    @property
    def concurrency(self) -> int | None: ...


class Named(Limited, Protocol):
    """What has limits of its own, by its name."""

    @property
    def name(self) -> str | None: ...


def is_limited(who: Limited) -> bool:
    return any(limit is not None for limit in (who.requests_per_minute, who.tokens_per_minute, who.concurrency))


def prepare() -> None:
    """Import what counting needs, which takes a tenth of a second; call it off the event loop."""
    import limits.storage
    import limits.strategies  # noqa: F401


class Admission:
    """One request that was let in; `release` it once it is over, or use it as a context."""

    __slots__ = ("_limiter", "_who")

    def __init__(self, limiter: Limiter | None, who: Named | None) -> None:
        self._limiter, self._who = limiter, who

    def release(self) -> None:
        """Give the place back; a second call does nothing."""
        limiter, self._limiter = self._limiter, None
        if limiter is not None and self._who is not None:
            limiter.leave(self._who)

    def __enter__(self) -> Admission:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


UNLIMITED = Admission(None, None)


class Limiter:
    """Counts by name, in memory. Core loop only."""

    def __init__(self) -> None:
        from limits.storage import MemoryStorage
        from limits.strategies import MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

        storage = MemoryStorage()
        self._requests: RateLimiter = MovingWindowRateLimiter(storage)
        # A moving window keeps an entry for each unit, which would be one for each token.
        self._tokens: RateLimiter = SlidingWindowCounterRateLimiter(storage)
        self._items: dict[int, RateLimitItem] = {}
        self._running: dict[str | None, int] = {}

    def admit(self, who: Named, tokens: int) -> Admission:
        """Count one request of about `tokens`. Raises AppError `rate_limited` (429) with `retry_after` in seconds.

        One that is larger than a minute's tokens is let in when nothing was spent in that minute: the estimate of
        its size may be wrong.
        """
        running = self._running.get(who.name, 0)
        if who.concurrency is not None and running >= who.concurrency:
            raise _refusal(who, f"{who.concurrency} at the same time", "concurrency", 0)
        if who.requests_per_minute is not None:
            item = self._per_minute(who.requests_per_minute)
            if not self._requests.hit(item, "requests", str(who.name)):
                wait = self._requests.get_window_stats(item, "requests", str(who.name)).reset_time - time.time()
                limit = f"{who.requests_per_minute} requests a minute"
                raise _refusal(who, limit, "requests_per_minute", wait)
        if who.tokens_per_minute is not None:
            item = self._per_minute(who.tokens_per_minute)
            # At least one, so that a key that spent all of it waits.
            cost = min(max(tokens, 1), who.tokens_per_minute)
            if not self._tokens.hit(item, "tokens", str(who.name), cost=cost):
                wait = self._tokens.get_window_stats(item, "tokens", str(who.name)).reset_time - time.time()
                raise _refusal(who, f"{who.tokens_per_minute} tokens a minute", "tokens_per_minute", wait)
        self._running[who.name] = running + 1
        return Admission(self, who)

    def spent(self, who: Named, tokens: int) -> None:
        """Count `tokens` that `admit` did not know of; what is beyond the limit of a minute is forgiven."""
        if who.tokens_per_minute is None:
            return
        item = self._per_minute(who.tokens_per_minute)
        left = self._tokens.get_window_stats(item, "tokens", str(who.name)).remaining
        if min(tokens, left) > 0:
            self._tokens.hit(item, "tokens", str(who.name), cost=min(tokens, left))

    def leave(self, who: Named) -> None:
        running = self._running.get(who.name, 0) - 1
        if running > 0:
            self._running[who.name] = running
        else:
            self._running.pop(who.name, None)

    def _per_minute(self, amount: int) -> RateLimitItem:
        from limits import RateLimitItemPerMinute

        return self._items.setdefault(amount, RateLimitItemPerMinute(amount))


def _refusal(who: Named, limit: str, name: str, wait: float) -> AppError:
    # One that comes back to the second is still within the minute.
    seconds = max(1, math.floor(wait) + 1)
    return AppError(
        "rate_limited",
        f"The API key “{who.name}” may send {limit}.",
        f"Try again in {seconds} s." if seconds > 1 else "Try again in a second.",
        status=429,
        details={"retry_after": seconds, "limit": name},
    )

"""How many transfers at once do a landing good: found out while they run. Who runs them is in `workers`."""

import time
from collections.abc import Callable
from threading import Lock

_FIRST = 8
_GROWTH = 2
_GROWTH_FAR_AWAY = 4
_FAR_AWAY_S = 0.08
"""A transfer that takes longer, at so few at once, mostly waits for the network."""
_WORTH_IT = 1.1
"""Growth is kept when it brings at least so much more throughput."""
_WINDOW_S = 0.25
_WINDOW_ITEMS_EACH = 2
_SETTLED_S = 5.0
_PAUSE_S = 1.0


class Adaptive:
    """A number of transfers at once between 1 and a ceiling that follows what it brings. Thread-safe.

    It starts low and doubles, or quadruples where a transfer takes long, as long as that brings more transfers a second; when
    it does not, the step is taken back and tried again some seconds later. It is halved when the server says that it is too
    much, at most once a second.

    Args:
        ceiling: `transfer.concurrency`.
        first: where it starts; null is 8, or the ceiling if that is lower.
        clock: seconds, monotonic.
    """

    def __init__(self, ceiling: int, *, first: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.ceiling = ceiling
        self._clock = clock
        self._changing = Lock()
        self._limit = min(ceiling, first or _FIRST)
        self._before: tuple[int, float] | None = None
        self._window_begun_at = clock()
        self._window_count = 0
        self._no_growth_until = 0.0
        self._no_halving_until = 0.0

    @property
    def limit(self) -> int:
        """How many at once now."""
        return self._limit

    def finished(self) -> None:
        """One more transfer is done; from time to time this changes the limit."""
        with self._changing:
            self._window_count += 1
            if self._window_count < _WINDOW_ITEMS_EACH * self._limit:
                return
            now = self._clock()
            if now - self._window_begun_at < _WINDOW_S:
                return
            rate = self._window_count / (now - self._window_begun_at)
            self._adjust(rate, now)
            self._begin_window(now)

    def too_much(self) -> None:
        """The server throttled us or fell silent: the limit is halved, and does not grow for a while."""
        with self._changing:
            now = self._clock()
            if now < self._no_halving_until:
                return
            self._limit = max(1, self._limit // 2)
            self._before = None
            self._no_halving_until = now + _PAUSE_S
            self._no_growth_until = now + _SETTLED_S
            self._begin_window(now)

    def _adjust(self, rate: float, now: float) -> None:
        if self._before is not None:
            limit_before, rate_before = self._before
            self._before = None
            if rate < rate_before * _WORTH_IT:
                self._limit = limit_before
                self._no_growth_until = now + _SETTLED_S
                return
        if self._limit < self.ceiling and now >= self._no_growth_until:
            self._before = self._limit, rate
            growth = _GROWTH_FAR_AWAY if self._limit / rate > _FAR_AWAY_S else _GROWTH
            self._limit = min(self.ceiling, self._limit * growth)

    def _begin_window(self, now: float) -> None:
        self._window_begun_at = now
        self._window_count = 0

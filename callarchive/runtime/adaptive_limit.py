"""The number of concurrent transfers that suits a landing, measured while they run."""

import time
from collections.abc import Callable
from threading import Lock

_FIRST = 8
_GROWTH = 2
_GROWTH_FAR_AWAY = 4
_FAR_AWAY_S = 0.08  # a transfer that takes longer than this mostly waits for the network
_WORTH_IT = 1.1  # growth is kept if throughput rises by at least this factor
_WINDOW_S = 0.25
_WINDOW_ITEMS_EACH = 2
_FIRST_WINDOW_ITEMS_EACH = 1  # far away, a second round of few transfers shows no more than the first
_SETTLED_S = 5.0
_PAUSE_S = 1.0
_BUSY = 0.9
"""A process that uses this share of a core has no interpreter left for more transfers: they would only wait for each other."""


class Adaptive:
    """A limit for concurrent transfers that follows the throughput. Thread-safe.

    It starts at `first` and doubles, or quadruples where a transfer takes long, while that brings more transfers a second; if
    it does not, the step is undone and retried some seconds later. It does not grow while the process uses a whole core. It is
    halved when the server throttles us, at most once a second.
    """

    def __init__(
        self,
        ceiling: int,
        *,
        first: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self.ceiling = ceiling
        self._clock, self._cpu_clock = clock, cpu_clock
        self._changing = Lock()
        self._limit = min(ceiling, first or _FIRST)
        self._before: tuple[int, float] | None = None
        self._window_begun_at, self._cpu_s = clock(), cpu_clock()
        self._window_count = 0
        self._items_each = _FIRST_WINDOW_ITEMS_EACH
        self._no_growth_until = 0.0
        self._no_halving_until = 0.0

    @property
    def limit(self) -> int:
        """The current limit."""
        return self._limit

    def finished(self) -> None:
        """Count a finished transfer; from time to time this changes the limit."""
        with self._changing:
            self._window_count += 1
            if self._window_count < self._items_each * self._limit:
                return
            now = self._clock()
            if now - self._window_begun_at < _WINDOW_S:
                return
            rate = self._window_count / (now - self._window_begun_at)
            self._adjust(rate, now)
            self._begin_window(now)

    def on_throttled(self) -> None:
        """Halve the limit, which then does not grow for some seconds: the server throttled us or stopped responding."""
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
        is_busy = self._cpu_clock() - self._cpu_s >= _BUSY * (now - self._window_begun_at)
        if self._limit < self.ceiling and now >= self._no_growth_until and not is_busy:
            self._before = self._limit, rate
            growth = _GROWTH_FAR_AWAY if self._limit / rate > _FAR_AWAY_S else _GROWTH
            self._limit = min(self.ceiling, self._limit * growth)

    def _begin_window(self, now: float) -> None:
        self._window_begun_at, self._cpu_s = now, self._cpu_clock()
        self._window_count = 0
        self._items_each = _WINDOW_ITEMS_EACH

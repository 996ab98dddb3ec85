"""The progress of a step, in the run's log."""

import logging
import time
from threading import Lock

_INTERVAL_S = 15.0


class LoggedProgress:
    """A `Progress` that logs a line at most every 15 s."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._lock = Lock()
        self._stage = ""
        self._total = 0
        self._done = 0
        self._logged_at = 0.0

    def begin(self, stage: str, total: int) -> None:
        """Start a stage with `total` items."""
        with self._lock:
            self._stage, self._total, self._done = stage, total, 0
            self._logged_at = time.monotonic()

    def advance(self, count: int = 1) -> None:
        """Count more items as done."""
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now - self._logged_at < _INTERVAL_S:
                return
            self._logged_at = now
            line = f"{self._stage}: {self._done} of {self._total}"
        self._log.info(line)

"""A clock that tests can move instead of waiting for hours, and 8x8's format of time stamps."""

from datetime import UTC, datetime, timedelta
from threading import Lock


def iso_ms(at: datetime) -> str:
    """Format a time as 8x8 does, such as `2021-08-26T10:46:56.535Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class MovableClock:
    """A clock that shows the real time until it is set, and then stands still. Thread-safe."""

    def __init__(self, at: datetime | None = None) -> None:
        self._lock = Lock()
        self._at = at

    def __call__(self) -> datetime:
        """Return the time that the clock shows."""
        with self._lock:
            return datetime.now(UTC) if self._at is None else self._at

    def set(self, at: datetime) -> None:
        """Stop the clock at an aware time."""
        with self._lock:
            self._at = at

    def advance(self, by: timedelta) -> None:
        """Stop the clock at a time after the one it shows."""
        with self._lock:
            self._at = (datetime.now(UTC) if self._at is None else self._at) + by

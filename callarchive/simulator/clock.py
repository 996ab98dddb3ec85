"""A clock that can be moved, so that what takes 8x8 hours takes a test no time; and time stamps as 8x8 writes them."""

from datetime import UTC, datetime, timedelta
from threading import Lock


def iso_ms(at: datetime) -> str:
    """`2021-08-26T10:46:56.535Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class MovableClock:
    """Tells the real time until it is set; then stands still wherever it was put. Thread-safe."""

    def __init__(self, at: datetime | None = None) -> None:
        self._lock = Lock()
        self._at = at

    def __call__(self) -> datetime:
        with self._lock:
            return datetime.now(UTC) if self._at is None else self._at

    def set(self, at: datetime) -> None:
        """The clock stands at `at`, an aware time."""
        with self._lock:
            self._at = at

    def advance(self, by: timedelta) -> None:
        """The clock stands `by` later than it showed."""
        with self._lock:
            self._at = (datetime.now(UTC) if self._at is None else self._at) + by

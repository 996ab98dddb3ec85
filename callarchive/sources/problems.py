"""Rows that session sources set aside, in bounded memory."""

from callarchive.domain.foreign_text import cleaned
from callarchive.domain.models import RowProblem


class Problems:
    """Rows that were set aside: the first 1,000 with their places, the rest counted."""

    LIMIT = 1000

    def __init__(self, source: str) -> None:
        self._source = source
        self._kept: list[RowProblem] = []
        self._more = 0
        self._last_file = ""

    def add(self, *, file: str, line: int | None, reason: str) -> None:
        """Keep the problem, or only count it once there are too many."""
        if len(self._kept) < self.LIMIT:
            self._kept.append(RowProblem(self._source, file, line, cleaned(reason)))
        else:
            self._more += 1
            self._last_file = file

    def all(self) -> tuple[RowProblem, ...]:
        """Return the problems, the last one with the number of those that were only counted."""
        if not self._more:
            return tuple(self._kept)
        rest = RowProblem(self._source, self._last_file, None, f"... and {self._more} more")
        return (*self._kept, rest)

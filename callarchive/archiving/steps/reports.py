"""The report of a step."""

from dataclasses import dataclass, field
from datetime import date

from callarchive.catalog.schemas import Table
from callarchive.domain.errors import AccountFailure
from callarchive.domain.plurals import many, size_text

_ROWS = {
    "session_ids": ("session", "sessions"),
    "recording_metadata": ("recording", "recordings"),
    "recording_files": ("recording", "recordings"),
    "sessions": ("session", "sessions"),
    "recordings": ("recording", "recordings"),
    "reconciliation": ("discrepancy", "discrepancies"),
}
_WORDS = {
    "unchanged": "already archived",
    "fetched": "downloaded",
    "asked": "sessions looked up",
    "ok": "sessions with recordings",
    "no_recordings": "sessions without",
    "not_found": "sessions not found",
    "error": "lookups failed",
    "not_compared": "not compared with the landing",
}
_UNSAID = ("archived", "fetched_bytes")


@dataclass(frozen=True)
class StepReport:
    """What a step wrote: its rows, counts worth showing, and the accounts that it or a step before it could not archive."""

    table: Table
    day: date
    row_count: int
    counts: dict[str, int] = field(default_factory=dict)
    failures: tuple[AccountFailure, ...] = ()

    @property
    def line(self) -> str:
        """The report for a log: "2026-11-28: 35 recordings, 31 already archived, 4 downloaded (1.2 MB)"."""
        parts = [f"{self.day}: {many(self.row_count, *_ROWS.get(self.table.name, ('row', 'rows')))}"]
        names = sorted(self.counts, key=lambda name: (name != "unchanged", name != "fetched"))
        for name in names:
            if self.counts[name] and name not in _UNSAID:
                size = f" ({size_text(self.counts.get('fetched_bytes', 0))})" if name == "fetched" else ""
                parts.append(f"{self.counts[name]:,} {_WORDS.get(name, name.replace('_', ' '))}{size}")
        if self.failures:
            parts.append(f"failed for {', '.join(failure.subaccount_id for failure in self.failures)}")
        return ", ".join(parts)

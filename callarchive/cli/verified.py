"""How `callarchive verify` reports: a line for each finding and one that says what was compared, or one JSON document."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from callarchive.domain.plurals import many

if TYPE_CHECKING:
    from callarchive.monitoring.verification import VerifiedDay

_NO_TRACE = "no table, answer or file of the day is left: it was never archived, or was removed"


@dataclass(frozen=True)
class Verification:
    """What was found out about all days of a range.

    Attributes:
        unknown_days: days between others of which nothing is there.
        seed: what chose the files that were read; `None` where all were.
    """

    days: "Sequence[VerifiedDay]"
    unknown_days: Sequence[date]
    sample: float
    seed: int | None

    @property
    def clean(self) -> bool:
        """Whether something was compared, all of it could be, and nothing was found."""
        return bool(self.days) and not self._findings and not self._not_checked

    @property
    def _findings(self) -> list[tuple[date, str, str]]:
        found = [(day.day, str(defect), what) for day in self.days for defect, what in day.defects]
        return sorted([*found, *((day, "removed", _NO_TRACE) for day in self.unknown_days)], key=lambda item: item[0])

    @property
    def _not_checked(self) -> list[tuple[date, str]]:
        return [(day.day, reason) for day in self.days for reason in day.not_checked]

    @property
    def _kinds(self) -> dict[str, int]:
        from callarchive.monitoring.verification import Defect

        counts = Counter(kind for _, kind, _ in self._findings)
        return {defect.value: counts[defect.value] for defect in Defect}

    def document(self) -> dict[str, Any]:
        """Return the JSON document. Counts of every kind are there, also where they are 0."""
        return {
            "days": self.days,
            "days_without_trace": [str(day) for day in self.unknown_days],
            "checked": {
                "days": len(self.days),
                "rows": sum(day.row_count for day in self.days),
                "files": sum(day.file_count for day in self.days),
                "files_read": sum(day.read_count for day in self.days),
                "bytes_read": sum(day.read_bytes for day in self.days),
            },
            "findings_by_kind": self._kinds,
            "not_checked": [f"{day}: {reason}" for day, reason in self._not_checked],
            "sample": self.sample,
            "seed": self.seed,
        }

    def lines(self) -> list[str]:
        """Return the lines for people."""
        checked = self.document()["checked"]
        findings, not_checked = self._findings, self._not_checked
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self._kinds.items() if count)
        summary = (
            f"{many(checked['days'], 'day', 'days')}, {many(checked['rows'], 'row', 'rows')},"
            f" {many(checked['files'], 'file', 'files')}, {checked['files_read']:,} of them read"
            f" ({checked['bytes_read'] / 1e6:,.1f} MB{'' if self.seed is None else f', --seed {self.seed}'}):"
            f" {many(len(findings), 'defect', 'defects')}"
        )
        return [
            *(f"{kind}  {day}  {what}" for day, kind, what in findings),
            *(f"not checked  {day}  {reason}" for day, reason in not_checked),
            summary
            + (f" ({kinds})" if kinds else "")
            + (f", {many(len(not_checked), 'thing', 'things')} not checked" if not_checked else ""),
        ]

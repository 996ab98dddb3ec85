"""How `callarchive verify` reports: a line for each finding and one that says what was compared, or one JSON document."""

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callarchive.cli.days import FirstDay, LastDay
from callarchive.cli.output import Output
from callarchive.domain.plurals import many

if TYPE_CHECKING:
    from callarchive.monitoring.verification import VerifiedDay

_NO_TRACE = "no table, answer or file of the day is left: it was never archived, or was removed"


def verify(
    context: typer.Context,
    first: FirstDay = None,
    last: LastDay = None,
    sample: Annotated[
        float, typer.Option("--sample", help="Share of files to read and hash, above 0 and up to 1.", max=1.0)
    ] = 1.0,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Choose the same files as a run that printed this number.")
    ] = None,
) -> None:
    """Compares everything that is kept: files with rows, tables with each other, 8x8's kept answers with tables.

    Names each file that is missing, changed or extra, each row that was removed, added or edited, links, removed days, and
    what could not be checked. Reads neither 8x8 nor a landing. Exits 1 if there is a finding, if something could not be
    checked, or if no day of the range is archived. Without days it goes through all that catalog and archive know.

    \b
    Examples:
        callarchive verify --from 2026-10-01 --to 2026-10-31
        callarchive verify --sample 0.05
    """
    from callarchive.archiving.connections import Connections
    from callarchive.domain.errors import ArchiveError
    from callarchive.monitoring.verification import days_in_range, verify_days

    if sample <= 0:
        raise typer.BadParameter("must be above 0", param_hint="--sample")
    begin, end = (None if day is None else day.date() for day in (first, last))
    if begin is not None and end is not None and end < begin:
        raise typer.BadParameter("--from is after --to", param_hint="--from/--to")
    if sample < 1 and seed is None:
        seed = secrets.randbelow(1_000_000)
    output: Output = context.obj
    with Connections(output.settings()) as connections, output.progress() as progress:
        days = days_in_range(connections, begin, end)
        verified = list(verify_days(connections, list(days.known), sample=sample, seed=seed, progress=progress))
        places = f"{connections.catalog.store.url} and {connections.archive.store.url}"
    verification = Verification(verified, days.unknown, sample=sample, seed=seed)
    if output.json:
        output.print_json(verification.document())
    elif verified:
        for line in verification.lines():
            output.print_text(line)
    if not verified:
        wanted = (
            "no day" if begin is None and end is None else f"no day from {begin or 'the first'} to {end or 'the last'}"
        )
        raise ArchiveError(f"{wanted} is archived in {places}: nothing was verified")
    if not verification.clean:
        raise typer.Exit(1)


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

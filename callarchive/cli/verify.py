"""`callarchive verify`: verify the archive against the catalog, and report the findings."""

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

_NO_TRACE = "no table, API response or file of the day exists: it was never archived, or it was removed"


def verify(
    context: typer.Context,
    first: FirstDay = None,
    last: LastDay = None,
    sample: Annotated[
        float, typer.Option("--sample", help="Share of the files to read and hash: above 0, at most 1.", max=1.0)
    ] = 1.0,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Sample the same files as the run that printed this seed.")
    ] = None,
) -> None:
    """Compare archived files, tables and stored API responses with each other.

    Lists files that are missing, changed or extra, rows that were removed, added or edited, symbolic links, removed days, and
    what could not be checked. Contacts neither 8x8 nor a landing. Exits with 1 if there is a finding, if something could not be
    checked, or if no day of the range is archived. By default, all days are verified.

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
        raise ArchiveError(f"{wanted} is archived in {places}")
    if not verification.clean:
        raise typer.Exit(1)


@dataclass(frozen=True)
class Verification:
    """The findings of a range of days.

    Attributes:
        unknown_days: days in the range without any data.
        seed: selects the sampled files; `None` if all files were read.
    """

    days: "Sequence[VerifiedDay]"
    unknown_days: Sequence[date]
    sample: float
    seed: int | None

    @property
    def clean(self) -> bool:
        """Whether days were compared completely and without a finding."""
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
        """Return the JSON document. It counts every kind of finding, even if the count is 0."""
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
        """Return the report as text: a line per finding, then a summary."""
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
            + (f", {many(len(not_checked), 'item', 'items')} not checked" if not_checked else ""),
        ]

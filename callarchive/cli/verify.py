"""`callarchive verify`: verify the archive against the catalog, and report the findings."""

import secrets
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from callarchive.cli.days import FirstDay, LastDay, check_order
from callarchive.cli.ledger import Since, ledger_document, note_in, summary_of
from callarchive.cli.numbers import number_option
from callarchive.cli.output import Output
from callarchive.domain.plurals import many

if TYPE_CHECKING:
    from callarchive.ledger.checking import CheckedLedger

_NO_TRACE = "no table, API response or file of the day exists: it was never archived, or it was removed"


def verify(
    context: typer.Context,
    first: FirstDay = None,
    last: LastDay = None,
    since: Since = None,
    sample: Annotated[
        float,
        number_option(
            "--sample",
            "Share of the files to read and hash: above 0, at most 1.",
            float,
            accepted="a share above 0 and at most 1, such as 0.05",
            accepts=lambda share: 0 < share <= 1,
        ),
    ] = 1.0,
    seed: Annotated[
        int | None,
        number_option(
            "--seed",
            "Sample the same files as the run that printed this seed.",
            int,
            accepted="a whole number, such as the 42 that an earlier run printed",
        ),
    ] = None,
) -> None:
    """Compare archived files, tables, stored API responses and the ledger with each other.

    Lists files that are missing, changed or extra, rows that were removed, added or edited, tables that were rolled back,
    symbolic links, removed days, what is wrong with the ledger, and what could not be checked. Contacts neither 8x8 nor a
    landing. Exits with 1 if there is a finding, if something could not be checked, or if no day of the range is archived.
    By default, all days are verified, and what is beside them; with --since, those that changed after the checkpoint.

    \b
    Examples:
        callarchive verify --from 2026-10-01 --to 2026-10-31
        callarchive verify --sample 0.05
        callarchive ledger head > checkpoint.txt; callarchive verify --since checkpoint.txt
    """
    from callarchive.domain.errors import ArchiveError, ConfigurationError
    from callarchive.monitoring.verification import Defect, days_in_range, unknown_names, verify_days
    from callarchive.monitoring.verification.custody import compare_custody
    from callarchive.monitoring.verification.witnessed import days_since, read_ledger

    check_order(first, last)
    if sample < 1 and seed is None:
        seed = secrets.randbelow(1_000_000)
    output: Output = context.obj
    with output.connections() as connections, output.progress() as progress:
        ledger = read_ledger(connections, since=None if since is None else note_in(since))
        days = days_in_range(connections, first, last, ledger=ledger)
        known = list(days.known) if since is None else days_since(ledger, days.known)
        beside = unknown_names(connections) if first is None and last is None else []
        with_ledger = ledger if ledger.size else None
        verified = list(
            verify_days(connections, known, sample=sample, seed=seed, ledger=with_ledger, progress=progress)
        )
        try:
            custody, unfinished = compare_custody(connections, ledger)
        except ConfigurationError:
            raise
        except ArchiveError as err:
            custody, unfinished = [], [f"holds and erasures: {err}"]
        beside += custody
        places = f"{connections.catalog.store.url} and {connections.archive.store.url}"
    found = sorted(
        [
            *(("-", str(defect), what) for defect, what in beside),
            *((str(day.day), str(defect), what) for day in verified for defect, what in day.defects),
            *((str(day), "removed", _NO_TRACE) for day in days.unknown),
        ],
        key=lambda item: item[0],
    )
    not_checked = [("-", what) for what in unfinished]
    not_checked += [(str(day.day), reason) for day in verified for reason in day.not_checked]
    counts = Counter(kind for _, kind, _ in found)
    kinds = {defect.value: counts[defect.value] for defect in Defect}
    checked = {
        "days": len(verified),
        "rows": sum(day.row_count for day in verified),
        "files": sum(day.file_count for day in verified),
        "files_read": sum(day.read_count for day in verified),
        "bytes_read": sum(day.read_bytes for day in verified),
    }
    if output.json:
        output.print_json(
            {
                "days": verified,
                "days_without_trace": days.unknown,
                "beside_days": beside,
                "checked": checked,
                "findings_by_kind": kinds,
                "not_checked": [f"{day}: {reason}" for day, reason in not_checked],
                "ledger": ledger_document(ledger),
                "sample": sample,
                "seed": seed,
            }
        )
    else:
        for problem in ledger.problems if verified or ledger.size else ():
            output.print_text(f"ledger  {problem}")
        if verified or beside or since is not None:
            _print_report(output, found, not_checked, checked, kinds, seed, ledger)
    if not verified and since is None:
        span = "" if first is None and last is None else f" from {first or 'the first'} to {last or 'the last'}"
        raise ArchiveError(f"no day{span} is archived in {places}")
    if found or not_checked or ledger.problems:
        problems = f", {many(len(ledger.problems), 'problem', 'problems')} of the ledger" if ledger.problems else ""
        output.print_quiet_error(
            f"{many(len(found), 'defect', 'defects')}, {len(not_checked)} not checked{problems}: verify without -q"
        )
        raise typer.Exit(1)


def _print_report(
    output: Output,
    found: list[tuple[str, str, str]],
    not_checked: list[tuple[str, str]],
    checked: dict[str, int],
    kinds: dict[str, int],
    seed: int | None,
    ledger: "CheckedLedger",
) -> None:
    """Print a line per finding, then a summary."""
    for day, kind, what in found:
        output.print_text(f"{kind}  {day}  {what}")
    for unchecked, reason in not_checked:
        output.print_text(f"not checked  {unchecked}  {reason}")
    named = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count)
    output.print_text(
        f"{many(checked['days'], 'day', 'days')}, {many(checked['rows'], 'row', 'rows')},"
        f" {many(checked['files'], 'file', 'files')}, {checked['files_read']:,} of them read"
        f" ({checked['bytes_read'] / 1e6:,.1f} MB{'' if seed is None else f', --seed {seed}'}):"
        f" {many(len(found), 'defect', 'defects')}"
        + (f" ({named})" if named else "")
        + (f", {many(len(not_checked), 'item', 'items')} not checked" if not_checked else "")
        + f"; {summary_of(ledger)}"
    )

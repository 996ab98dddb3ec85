"""`callarchive archive`: archive a day or a range of days, and report the results."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callarchive.cli.days import FirstDay, LastDay, day_option, single_day_or_range
from callarchive.cli.output import Output, print_error, print_next_step
from callarchive.domain.errors import AccountsFailedError, ArchiveError
from callarchive.domain.evidence import Outcome
from callarchive.domain.plurals import many

if TYPE_CHECKING:
    from callarchive.archiving.connections import Connections
    from callarchive.archiving.transforms.attention import Attention
    from callarchive.cli.day_results import DayFailure, DaySummary
    from callarchive.ledger.notes import Checkpoint

_STATES = ("archived", "pending", "missing", "rejected", "failed", "not_uploaded")
_SHOWN = 30
_CHECKS_FAILED = 4


def archive(
    context: typer.Context,
    day: Annotated[date | None, day_option("--day", "A single day.")] = None,
    first: FirstDay = None,
    last: LastDay = None,
    recheck: Annotated[
        bool, typer.Option("--recheck", help="Look up all sessions, even those that are final.")
    ] = False,
    reread: Annotated[bool, typer.Option("--reread", help="Use stored API responses instead of calling 8x8.")] = False,
    ignore_checks: Annotated[
        bool, typer.Option("--ignore-checks", help="Exit with 0 if days are published, even if a check failed.")
    ] = False,
) -> None:
    """Archive the recordings of a day or a range of days, and write their tables.

    It is safe to repeat: archived recordings are not downloaded again, and each day's tables are replaced as a whole.
    Recordings with problems are listed under "Needs attention". Exit codes: 0 no check failed; 4 the days are published, but an
    error-level check failed; 1 a day or an account failed; 3 access was refused.

    \b
    Examples:
        callarchive archive --day 2026-11-01
        callarchive archive --from 2026-10-01 --to 2026-10-31 --json > october.json
    """
    from callarchive.cli.day_results import archive_days
    from callarchive.domain.days import days_between
    from callarchive.monitoring.alert_rules import alert_on_past_time

    output: Output = context.obj
    begin, end = single_day_or_range(day, first, last)
    settings = output.settings()
    if recheck:
        settings = settings.model_copy(update={"lookups": settings.lookups.model_copy(update={"recheck": "all"})})
    with output.connections(settings) as connections:
        today = connections.clock().astimezone(settings.zone).date()
        if end > today:
            hint = "--to" if day is None else "--day"
            raise typer.BadParameter(f"{end} has not begun: in {settings.timezone} it is {today}", param_hint=hint)
        if begin < settings.start_date:
            output.print_note(f"{begin} is before start_date ({settings.start_date}), where Dagster's partitions begin")
        with output.progress() as progress:
            results = list(archive_days(connections, days_between(begin, end), reread=reread, progress=progress))
        head = ledger_head(connections)
        alert_on_past_time(connections)
    print_results(output, results, ledger=head)
    exit_for_failures(results, ignore_checks=ignore_checks)


def exit_for_failures(results: "list[DaySummary | DayFailure]", *, ignore_checks: bool = False) -> None:
    """Exit if a day, an account or an error-level check failed.

    Prints each failure to stderr. The exit code is the highest of the failed days and accounts, or 4 if only checks failed.
    """
    from callarchive.cli.day_results import DayFailure, DaySummary

    failures = [result for result in results if isinstance(result, DayFailure)]
    for failure in failures:
        print_error(failure.error, about=str(failure.day))
    summaries = [result for result in results if isinstance(result, DaySummary)]
    in_part = [(summary.day, AccountsFailedError(summary.failures)) for summary in summaries if summary.failures]
    for day, error in in_part:
        print_error(error, about=str(day))
    errors = [*(failure.error for failure in failures), *(error for _, error in in_part)]
    print_next_step(errors)
    if errors:
        raise typer.Exit(max(error.exit_code for error in errors))
    failed = sorted({check.name for summary in summaries for check in summary.checks if check.is_error})
    if failed and not ignore_checks:
        warned = {check.name for summary in summaries for check in summary.checks if check.failed}.difference(failed)
        count = many(len(failed), "check", "checks")
        more = f" (and {many(len(warned), 'warning', 'warnings')})" if warned else ""
        typer.echo(f"{count} failed{more}: {', '.join(failed)} (see docs/checks.md)", err=True)
        raise typer.Exit(_CHECKS_FAILED)


def ledger_head(connections: "Connections") -> "Checkpoint | None":
    """Return the checkpoint of the ledger; None without one. One that is not intact is an error of the days already."""
    try:
        return connections.ledger.checkpoint()
    except ArchiveError:
        return None


def _document(results: "list[DaySummary | DayFailure]", ledger: "Checkpoint | None") -> dict[str, Any]:
    from callarchive.cli.day_results import DaySummary

    days: list[dict[str, Any]] = []
    for result in results:
        if isinstance(result, DaySummary):
            names = ("name", "outcome", "passed", "summary")
            checks = [{name: getattr(c, name) for name in names} | {"table": c.table.name} for c in result.checks]
            fields = {name: getattr(result, name) for name in result.__dataclass_fields__}
            days.append(fields | {"error": None, "checks": checks})
        else:
            days.append({"day": result.day, "error": str(result.error)})
    return {
        "days": days,
        "failed_days": [d["day"] for d in days if d["error"] is not None],
        "ledger": None if ledger is None else {"size": ledger.size, "root": ledger.root.hex()},
    }


def print_results(
    output: Output,
    results: "list[DaySummary | DayFailure]",
    *,
    ledger: "Checkpoint | None",
    shown: int = _SHOWN,
) -> None:
    """Print the results of the days and the end of the ledger to stdout, as tables or as one JSON document."""
    from callarchive.cli.day_results import DaySummary

    if output.json:
        output.print_json(_document(results, ledger))
        return

    done = [result for result in results if isinstance(result, DaySummary)]
    states = (state.replace("_", " ") for state in _STATES)
    rows_of_days = [_row(summary) for summary in done]
    totals = [("all", *map(sum, zip(*rows_of_days, strict=True)))] if len(done) > 1 else []
    attention = [item for summary in done for item in summary.attention]
    hidden = sum(summary.attention_count for summary in done) - min(len(attention), shown)
    checks = [check for summary in done for check in summary.checks if not check.passed]
    tables: list[tuple[str, Sequence[str], Sequence[Sequence[object]]]] = [
        (
            "Archived days",
            ("day", "sessions", *states, "MB", "hours", "downloaded", "lookups failed"),
            [*((summary.day, *row) for summary, row in zip(done, rows_of_days, strict=True)), *totals],
        ),
        (
            "Needs attention",
            ("day", "account", "id", "state"),
            [
                (item.day, item.subaccount_id, item.concerns.rpartition(" ")[2], _state(item))
                for item in attention[:shown]
            ],
        ),
        *(
            (
                title,
                ("day", "level", "check", "finding"),
                [(c.day, c.check.level.value, c.name, c.summary) for c in checks if c.outcome is outcome],
            )
            for title, outcome in (("Failed checks", Outcome.FAILED), ("Not checked", Outcome.NOT_CHECKED))
        ),
    ]
    for title, headings, rows in tables:
        if rows:
            output.print_table(title, headings, rows)
        if title == "Needs attention" and hidden:
            output.print_text(f"... and {hidden} more: --json lists up to 200 per day, the catalog all")
    if len(done) == len(results) and not (attention or checks or any(summary.failures for summary in done)):
        output.print_text("Everything is accounted for.")
    if ledger is not None:
        output.print_text(f"Ledger: {many(ledger.size, 'entry', 'entries')}, tree hash {ledger.root.hex()}")


def _state(item: "Attention") -> str:
    """Return the state and its reason, without the id, which has a column."""
    reason = (item.reason or "").replace(f" for {item.concerns}", "")
    return ": ".join(part for part in (item.state.replace("_", " "), reason) if part)


def _row(summary: "DaySummary") -> tuple[float, ...]:
    return (
        summary.session_count,
        *(summary.recordings.get(state, 0) for state in _STATES),
        summary.size_bytes / 1e6,
        summary.duration_s / 3600,
        summary.fetched_count,
        summary.lookups.get("error", 0),
    )

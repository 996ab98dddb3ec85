"""`callarchive status` and `callarchive alerts test`: recent days, recordings at risk, and the alert channels."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from callarchive.cli.days import FirstDay, LastDay, check_order
from callarchive.cli.output import Output
from callarchive.domain.errors import ConfigurationError
from callarchive.domain.evidence import Outcome
from callarchive.domain.foreign_text import printable
from callarchive.domain.mistakes import did_you_mean, quoted
from callarchive.domain.models import Discrepancy
from callarchive.domain.plurals import many

if TYPE_CHECKING:
    from callarchive.archiving.connections import Connections
    from callarchive.monitoring.status import AccountDay, FailingCheck, Status

alerts_app = typer.Typer(no_args_is_help=True, help="Test the alert channels.", rich_markup_mode=None)

_DAYS = 7
_RANKED = 20
_LISTED = 100
_ALL = "all"
_STATES = ("pending", "missing", "failed", "rejected", "not_uploaded", "erased")


def status(
    context: typer.Context,
    first: FirstDay = None,
    last: LastDay = None,
    support_text: Annotated[
        bool, typer.Option("--support-text", help="Print only a message to send to 8x8's support.")
    ] = False,
    open_kind: Annotated[
        str | None,
        typer.Option(
            "--open", metavar="KIND", help="List only the open rows of reconciliation of this kind; all: of every kind."
        ),
    ] = None,
) -> None:
    """Show the last seven days and the recordings at risk of being lost at 8x8, the most urgent first.

    8x8 does not document how long it keeps recordings that it could not push: accounts.push_retention_hours (24 by default) is
    assumed. Today is included once it has been archived. Exits with 1 if a recording is at risk, a day was never archived, new
    time zone data moved the bounds of an archived day, the inbox cannot be read, or a day is past its retention for more than
    two days.

    \b
    Examples:
        callarchive status
        callarchive status --from 2026-11-01 --to 2026-11-07 --json
        callarchive status --open connected_call_without_recording
    """
    from callarchive.catalog.schemas import SESSIONS
    from callarchive.domain.days import day_of, days_between
    from callarchive.monitoring.at_risk import support_text as text_of
    from callarchive.monitoring.status import read_status

    output: Output = context.obj
    check_order(first, last)
    kind = None if open_kind in (None, _ALL) else _discrepancy(str(open_kind))
    with output.connections() as connections:
        settings = connections.settings
        today = day_of(connections.clock(), settings.zone)
        # Today is not over yet, so a missing archive run means nothing.
        latest = today if connections.catalog.has(SESSIONS, today) else today - timedelta(days=1)
        end = last if last is not None else latest
        begin = first if first is not None else max(settings.start_date, end - timedelta(days=_DAYS - 1))
        if begin > end:
            raise _no_days(begin, end, first=first, last=last)
        asked = first is not None or last is not None
        days = list(days_between(begin, end))
        if open_kind is not None:
            _print_open(output, connections, days, kind)
            return
        overview = read_status(connections, days, all_at_risk=not asked)
    if output.json:
        output.print_json({"is_well": overview.is_well, "support_text": text_of(overview.at_risk), "status": overview})
    elif support_text:
        typer.echo(text_of(overview.at_risk) or "No recording needs 8x8's support.")
        if overview.never_archived:  # to stderr, because the text is for pasting
            count = len(overview.never_archived)
            output.print_note(
                f"{many(count, 'day was', 'days were')} never archived, so recordings at risk there are unknown:"
                " callarchive status"
            )
    else:
        _print(output, overview, options=f" --from {begin} --to {end}" if asked else "")
    if overview.inbox_error is not None:
        typer.echo(f"error: cannot determine the time of the last webhook event: {overview.inbox_error}", err=True)
    if not overview.is_well:
        output.print_quiet_error("something needs attention: callarchive status shows it")
        raise typer.Exit(1)


def _discrepancy(text: str) -> Discrepancy:
    kinds = [kind.value for kind in Discrepancy]
    if text not in kinds:
        known = f"{quoted(text)} is no kind{did_you_mean(text, kinds)}: write {_ALL}, or one of {', '.join(kinds)}"
        raise typer.BadParameter(known, param_hint="--open")
    return Discrepancy(text)


def _print_open(output: Output, connections: "Connections", days: Sequence[date], kind: Discrepancy | None) -> None:
    """Print open rows of `reconciliation` as lines, in which the subjects, ids and paths, are never broken."""
    from callarchive.catalog.schemas import RECONCILIATION
    from callarchive.monitoring.status import open_rows

    archived = set(connections.catalog.days(RECONCILIATION))
    rows = list(open_rows(connections.catalog, archived.intersection(days), kind=kind))
    rows.sort(key=lambda row: (row.day, row.subaccount_id, row.kind, row.subject))
    if output.json:
        output.print_json({"first": days[0], "last": days[-1], "open": rows})
    else:
        for row in rows[:_LISTED]:
            output.print_text(f"{row.day}  {row.subaccount_id}  {row.kind}  {printable(row.subject)}")
            output.print_text(f"    {printable(row.reason)}")
        if len(rows) > _LISTED:
            output.print_text(f"... and {len(rows) - _LISTED:,} more: --json lists all")
        if not rows:
            output.print_text(f"{days[0]} to {days[-1]}: {'nothing' if kind is None else f'no {kind}'} is open")
    if unknown := len(set(days) - archived):
        output.print_note(f"{many(unknown, 'day was', 'days were')} never archived: callarchive status")


def _no_days(begin: date, end: date, *, first: date | None, last: date | None) -> typer.BadParameter:
    """Return why there is no day from `begin` to `end`. At most one of them was given."""
    if first is not None:
        return typer.BadParameter(f"{begin} is after the latest day to show, {end}", param_hint="--from")
    if last is not None:
        return typer.BadParameter(f"{end} is before start_date, {begin}: give --from too", param_hint="--to")
    return typer.BadParameter(f"start_date, {begin}, is after the latest day to show, {end}", param_hint="--from")


def _print(output: Output, overview: "Status", *, options: str) -> None:
    from callarchive.domain.days import spans_of

    rows = [
        (str(day.day), day.subaccount_id, day.session_count, day.recordings.get("archived", 0), _not_archived(day))
        for day in overview.days
    ]
    if rows:
        headings = ("day", "account", "sessions", "archived", "not archived")
        output.print_table(f"{overview.first} to {overview.last}", headings, rows)
    for first, last in spans_of(overview.never_archived):
        span, option = (
            (f"{first}", f"--day {first}") if first == last else (f"{first} to {last}", f"--from {first} --to {last}")
        )
        output.print_text(f"{span}: never archived. callarchive archive {option}")
    for item in overview.moved:
        output.print_text(f"{item.day}: {item.reason}")
    for first, last in spans_of(item.day for item in overview.moved):
        output.print_text(
            f"{first} to {last}: calls near midnight may be in no day. callarchive archive --from {first} --to {last}"
        )
    for account, at in overview.last_events.items():
        output.print_text(f"{account}: last webhook event at {at:%Y-%m-%d %H:%M:%S} UTC")
    if overview.open_rows:
        counts = ", ".join(f"{kind} {count}" for kind, count in overview.open_rows.items())
        which = next(iter(overview.open_rows)) if len(overview.open_rows) == 1 else _ALL
        output.print_text(f"Open in reconciliation: {counts}. List them: callarchive status --open {which}{options}")
    if not overview.past_time.passed:
        output.print_text(f"Retention: {overview.past_time.summary}")
    if overview.failing:
        _print_failing(output, overview)
    if overview.at_risk:
        _print_at_risk(output, overview)
    elif overview.is_well:
        output.print_text("Nothing is at risk.")


def _not_archived(day: "AccountDay") -> str:
    counts = [f"{state.replace('_', ' ')} {count}" for state in _STATES if (count := day.recordings.get(state, 0))]
    if day.failed_lookups:
        counts.append(f"lookups failed {day.failed_lookups}")
    return ", ".join(counts)


def _print_failing(output: Output, overview: "Status") -> None:
    """Print a row per check, because a check that fails on seven days is one problem.

    After a run that archived nothing, no check has an answer, for one reason: those are one row.
    """
    for title, outcome in (("Failed checks", Outcome.FAILED), ("Not checked", Outcome.NOT_CHECKED)):
        by_name: dict[str, list[FailingCheck]] = {}
        for check in overview.failing:
            if check.outcome is outcome:
                by_name.setdefault(check.name, []).append(check)
        by_finding: dict[tuple[int, str, str], list[str]] = {}
        for name, checks in by_name.items():
            finding = (len(checks), str(checks[-1].day), checks[-1].summary)
            by_finding.setdefault(finding, []).append(name)
        if by_finding:
            output.print_table(
                title,
                ("check", "days", "last day", "finding"),
                [
                    (names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more", *finding)
                    for finding, names in by_finding.items()
                ],
            )


def _print_at_risk(output: Output, overview: "Status") -> None:
    from callarchive.monitoring.at_risk import can_be_saved

    ranked = sorted(overview.at_risk, key=lambda item: not can_be_saved(item))[:_RANKED]
    for title, savable in (
        ("Can still be saved, by the hours that 8x8 is assumed to keep it", True),
        ("8x8 may have deleted these already: ask its support soon", False),
    ):
        rows = [
            (
                f"{item.hours_left:.{0 if abs(item.hours_left) >= 100 else 1}f}",
                item.subaccount_id,
                item.recording_id or item.session_id,
                item.state if item.recording_id else f"session: {item.state}",
            )
            for item in ranked
            if can_be_saved(item) is savable
        ]
        if rows:
            output.print_table(title, ("hours", "account", "recording", "state"), rows)
    if len(overview.at_risk) > _RANKED:
        output.print_text(f"... and {len(overview.at_risk) - _RANKED} more: --json lists all")
    output.print_text("What to do:")
    states: dict[str, dict[str, None]] = {}
    for item in ranked:
        states.setdefault(item.next_step, {})[item.state] = None
    for next_step, of_step in states.items():
        output.print_text(f"  {'; '.join(of_step)}: {next_step}")
    output.print_text(
        "  details of one: callarchive find ID; a message for 8x8's support: callarchive status --support-text"
    )


@alerts_app.command("test", short_help="Send a test alert.")
def test_alerts(context: typer.Context) -> None:
    """Send a test alert to every channel of [alerts] and print the results. Exits with 1 if one failed."""
    from callarchive.domain.days import utc_now
    from callarchive.monitoring.alerts import Alert, Alerts, check_channels
    from callarchive.storage.stores.opening import open_store

    output: Output = context.obj
    settings = output.settings()
    check_channels(settings.alerts)
    store = open_store(settings.catalog.url, settings.catalog.s3)
    alerts = Alerts(settings.alerts, store=store, clock=utc_now)
    if not alerts.channels:
        raise ConfigurationError("no channel is configured: add [alerts.webhook] or [alerts.smtp]")
    outcome = alerts.send_test(Alert("test", "test", "Test alert of callarchive", ("This channel works.",)))
    if output.json:
        output.print_json({"channels": outcome})
    for name, failure in () if output.json else outcome.items():
        output.print_text(f"{name}: {'sent' if failure is None else failure}")
    failed = [f"{name}: {failure}" for name, failure in outcome.items() if failure is not None]
    if failed:
        output.print_quiet_error("; ".join(failed))
        raise typer.Exit(1)

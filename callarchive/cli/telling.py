"""`callarchive status` and `callarchive alerts test`: how things are, and whether anybody would be told."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from callarchive.cli.days import FirstDay, LastDay
from callarchive.cli.output import Output
from callarchive.errors import ConfigurationError

if TYPE_CHECKING:
    from callarchive.overview import Overview

alerts_app = typer.Typer(no_args_is_help=True, help="Alerts: who is told of what went wrong.", rich_markup_mode=None)

_DAYS = 7
_RANKED = 20
_STATES = ("archived", "pending", "missing", "failed", "rejected", "not_uploaded", "erased")


def status(
    context: typer.Context,
    first: FirstDay = None,
    last: LastDay = None,
    support_text: Annotated[
        bool, typer.Option("--support-text", help="Print only a text for 8x8's support, to paste.")
    ] = False,
) -> None:
    """Tells how the last seven days are, and which recordings may be lost at 8x8, the most urgent first.

    How long 8x8 keeps what it could not push is not known: accounts.push_retention_hours is assumed, 24 by default.
    Exits 1 if a recording is at risk, or a day was never archived.

    \b
    Examples:
        callarchive status
        callarchive status --from 2026-11-01 --to 2026-11-07 --json
    """
    from callarchive.connections import Connections
    from callarchive.countdown import support_text as text_of
    from callarchive.days import day_of, days_between
    from callarchive.overview import look_over

    output: Output = context.obj
    with Connections(output.settings()) as connections:
        settings = connections.settings
        yesterday = day_of(connections.clock(), settings.zone) - timedelta(days=1)
        end = last.date() if last is not None else yesterday
        begin = first.date() if first is not None else max(settings.start_date, end - timedelta(days=_DAYS - 1))
        if begin > end:
            raise ConfigurationError(f"there is no day from {begin} to {end}")
        overview = look_over(connections, list(days_between(begin, end)))
    if output.json:
        output.print_json({"is_well": overview.is_well, "support_text": text_of(overview.at_risk), "status": overview})
    elif support_text:
        output.print_text(text_of(overview.at_risk) or "Nothing is at risk.")
    else:
        _print(output, overview)
    if not overview.is_well:
        raise typer.Exit(1)


def _print(output: Output, overview: "Overview") -> None:
    states = [state for state in _STATES if any(state in day.recordings for day in overview.days)]
    rows = [
        (
            str(day.day),
            day.subaccount_id,
            day.session_count,
            *(day.recordings.get(state, 0) for state in states),
            day.failed_lookups,
        )
        for day in overview.days
    ]
    headings = ("day", "account", "sessions", *(state.replace("_", " ") for state in states), "look-ups failed")
    output.print_table(f"{overview.first} to {overview.last}", headings, rows)
    for day in overview.never_archived:
        output.print_text(f"{day} was never archived: what it had is not known. callarchive archive --day {day}")
    for account, at in overview.last_events.items():
        output.print_text(f"{account}: the last webhook event came at {at:%Y-%m-%d %H:%M:%S} UTC")
    if overview.failing:
        output.print_table(
            "Checks that fail",
            ("day", "check", "finding"),
            [(str(check.day), check.name, check.summary) for check in overview.failing],
        )
    if overview.at_risk:
        output.print_table(
            "Recordings that we do not have, by the time that 8x8 keeps them (assumed)",
            ("hours left", "account", "session / recording", "state", "what to do"),
            [
                (
                    f"{item.hours_left:.1f}",
                    item.subaccount_id,
                    f"{item.session_id} {item.recording_id or ''}".strip(),
                    item.state,
                    item.next_step,
                )
                for item in overview.at_risk[:_RANKED]
            ],
        )
        if len(overview.at_risk) > _RANKED:
            output.print_text(f"... and {len(overview.at_risk) - _RANKED} more")
        output.print_text("A text for 8x8's support: callarchive status --support-text")
    elif overview.is_well:
        output.print_text("Nothing is at risk.")


@alerts_app.command("test", short_help="Send a test alert.")
def test_alerts(context: typer.Context) -> None:
    """Sends a test alert through every channel of [alerts], and says what became of it. Exits 1 if one failed."""
    from callarchive.alerts import Alert, Alerts, check_channels
    from callarchive.connections import utc_now
    from callarchive.stores.opening import open_store

    output: Output = context.obj
    settings = output.settings()
    check_channels(settings.alerts)
    store = open_store(settings.catalog.url, settings.catalog.s3)
    alerts = Alerts(settings.alerts, store=store, clock=utc_now)
    if not alerts.channels:
        raise ConfigurationError("no channel is configured: add [alerts.webhook] or [alerts.smtp]")
    outcome = alerts.try_out(
        Alert("test", "test", "A test of callarchive's alerts", ("If you read this, they arrive.",))
    )
    if output.json:
        output.print_json({"channels": outcome})
    for name, failure in () if output.json else outcome.items():
        output.print_text(f"{name}: {'sent' if failure is None else failure}")
    if any(failure is not None for failure in outcome.values()):
        raise typer.Exit(1)

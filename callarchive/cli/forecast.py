"""`callarchive forecast`: estimate what archiving a range of days takes."""

import math
from typing import TYPE_CHECKING, Annotated

import typer

from callarchive.cli.days import FirstDay, LastDay, day_range
from callarchive.cli.output import Output
from callarchive.domain.plurals import many

if TYPE_CHECKING:
    from callarchive.planning.forecast.figures import Figure
    from callarchive.planning.forecast.forecasting import AccountForecast, Forecast

_SHOWN = {
    "sessions": ("sessions", 1, 0),
    "api_calls": ("API calls", 1, 0),
    "recordings": ("recordings", 1, 0),
    "settled": ("archived already", 1, 0),
    "fetch_count": ("to download", 1, 0),
    "fetch_bytes": ("MB to download", 1e6, 1),
    "size_bytes": ("MB in all", 1e6, 1),
    "audio_s": ("hours of audio", 3600, 1),
    "requests": ("S3 requests", 1, 0),
    "time_s": ("time", 1, 0),
    "cost": ("cost", 1, 2),
}
"""Label, unit and decimals of each figure."""

_DETAILS_ONLY = ("settled", "requests")
_MAX_DAYS = 3660


def forecast(
    context: typer.Context,
    first: FirstDay = None,
    last: LastDay = None,
    no_listing: Annotated[
        bool, typer.Option("--no-listing", help="Do not list landings; estimate from archived days only.")
    ] = False,
) -> None:
    """Estimate what archiving a range of days takes: sessions, API calls, recordings, bytes, hours of audio, cost and time.

    Lists landings, but downloads nothing and does not call 8x8's API. What cannot be counted is estimated from archived days
    nearby. -v shows the range and the source of each figure. Prices are set in [forecast].

    \b
    Examples:
        callarchive forecast --from 2026-01-01 --to 2026-03-31
        callarchive forecast --from 2026-01-01 --to 2026-03-31 --json > forecast.json
    """
    from callarchive.planning.forecast.forecasting import forecast as forecast_of

    output: Output = context.obj
    begin, end = day_range(first, last)
    if (end - begin).days >= _MAX_DAYS:
        raise typer.BadParameter(f"at most {_MAX_DAYS} days", param_hint="--from/--to")
    with output.connections() as connections:
        made = forecast_of(connections, begin, end, listing=not no_listing)
    if output.json:
        output.print_json({"forecast": made.document()})
        return
    days, archived = many((end - begin).days + 1, "day", "days"), len(made.archived_days)
    output.print_text(f"{begin} to {end}: {days}, {archived or 'none'} of them archived")
    accounts = (*made.accounts, made.total) if len(made.accounts) > 1 else made.accounts
    if output.verbose:
        for account in accounts:
            _print_details(output, account, made)
    else:
        names = [name for name in _SHOWN if name in made.total.figures and name not in _DETAILS_ONLY]
        rows = [(a.subaccount_id, *(_value(name, a.figures.get(name)) for name in names)) for a in accounts]
        output.print_table("Forecast", ("account", *(_label(name, made) for name in names)), rows)
    for account in made.accounts:
        for note in account.notes:
            output.print_text(f"{account.subaccount_id}: {note}")


def _print_details(output: Output, account: "AccountForecast", made: "Forecast") -> None:
    rows = []
    for name, figure in ((name, account.figures[name]) for name in _SHOWN if name in account.figures):
        source = "; ".join(f"{source}: {many(count, 'day', 'days')}" for source, count in figure.days.items())
        low, high = (_number(name, bound) for bound in (figure.low, figure.high))
        rows.append((_label(name, made), _value(name, figure), low, high, source))
    output.print_table(account.subaccount_id, ("figure", "forecast", "low", "high", "source"), rows)
    output.print_text(f"History: {account.history}\nTime: {account.time_rests_on}")


def _label(name: str, made: "Forecast") -> str:
    return f"{_SHOWN[name][0]}, {made.currency}" if name == "cost" and made.currency else _SHOWN[name][0]


def _value(name: str, figure: "Figure | None") -> str:
    if figure is None or figure.value is None:
        return f"over {_number(name, figure.low)}" if figure and figure.low else "not known"
    return f"{_number(name, figure.value)}{'+' if figure.high is None else ''}"


def _number(name: str, number: float | None) -> str:
    if number is None:
        return ""
    _, unit, decimals = _SHOWN[name]
    return _duration(number) if name == "time_s" else f"{number / unit:,.{decimals}f}"


def _duration(seconds: float) -> str:
    """Return the duration in its two largest units, such as 2 h 5 min."""
    whole = math.ceil(seconds)
    parts = [(whole // 86_400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((number for number, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count or unit == "s")

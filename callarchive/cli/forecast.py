"""`callarchive forecast`: what a backfill will be, and afterwards how right that was."""

import math
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callarchive.cli.days import FirstDay, LastDay
from callarchive.cli.output import Output, say_error
from callarchive.domain.plurals import many

if TYPE_CHECKING:
    from callarchive.planning.forecast.comparing import Comparison
    from callarchive.planning.forecast.models import AccountForecast, Figure, Forecast

_SHOWN = {
    "sessions": ("sessions", 1, 0),
    "look_ups": ("look-ups", 1, 0),
    "api_calls": ("calls of 8x8's API", 1, 0),
    "recordings": ("recordings", 1, 0),
    "size_bytes": ("MB", 1e6, 1),
    "audio_s": ("hours of audio", 3600, 1),
    "fetch_count": ("recordings to fetch", 1, 0),
    "fetch_bytes": ("MB to fetch", 1e6, 1),
    "requests": ("S3 requests", 1, 0),
    "cost": ("cost", 1, 2),
    "time_s": ("time", 1, 0),
}
"""How each figure is called, and in what it is told, with so many decimals."""


def forecast(
    context: typer.Context,
    first: FirstDay = None,
    last: LastDay = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Hold the forecast of these days that was kept to what came.")
    ] = False,
    no_listing: Annotated[
        bool, typer.Option("--no-listing", help="List no landing: tell open days from archived ones alone.")
    ] = False,
) -> None:
    """Tells what archiving a range of days will be: sessions, calls, recordings, bytes, hours of audio, cost and time.

    Landings are listed, nothing is fetched, and 8x8's API is not asked. What cannot be counted is told from archived days
    around; each figure says where it comes from and its range, and what nothing tells is not known. Prices: [forecast].
    The forecast is kept in the catalog, and --compare holds it to what came.

    \b
    Examples:
        callarchive forecast --from 2026-01-01 --to 2026-03-31
        callarchive forecast --from 2026-01-01 --to 2026-03-31 --json > forecast.json
        callarchive forecast --from 2026-01-01 --to 2026-03-31 --compare
    """
    from callarchive.archiving.connections import Connections
    from callarchive.planning.forecast.comparing import compare as held_to_what_came
    from callarchive.planning.forecast.forecasting import forecast as forecast_of

    output: Output = context.obj
    begin, end = _range(first.date() if first else None, last.date() if last else None)
    if compare and no_listing:
        raise typer.BadParameter("goes with a new forecast, not with --compare", param_hint="--no-listing")
    with Connections(output.settings()) as connections:
        if compare:
            _print_comparison(
                output, held_to_what_came(connections, begin, end), connections.settings.forecast.currency
            )
            return
        made = forecast_of(connections, begin, end, listing=not no_listing)
        kept = _keep(connections.catalog, made)
    if output.json:
        output.print_json({"kept": kept, "forecast": _document(made)})
    else:
        _print(output, made, kept=kept)


def _range(first: date | None, last: date | None) -> tuple[date, date]:
    if first is None or last is None or last < first:
        raise typer.BadParameter("both are needed, and --from is not after --to", param_hint="--from/--to")
    if (last - first).days >= _MOST_DAYS:
        raise typer.BadParameter(f"at most {_MOST_DAYS} days at once", param_hint="--from/--to")
    return first, last


_MOST_DAYS = 3660


def _keep(catalog: Any, made: "Forecast") -> bool:
    """Whether the forecast is kept. That it cannot be does not keep it from being told."""
    from callarchive.domain.errors import ArchiveError
    from callarchive.planning.forecast.keeping import keep_forecast

    try:
        return keep_forecast(catalog, made)
    except ArchiveError as err:
        say_error(err, about="the forecast is not kept")
        return False


def _print(output: Output, made: "Forecast", *, kept: bool) -> None:
    archived = len(made.archived_days)
    days = many(made.day_count, "day", "days")
    output.print_text(f"{made.first} to {made.last}: {days}, {archived or 'none'} of them archived")
    accounts = (*made.accounts, *((made.total,) if len(made.accounts) > 1 else ()))
    for account in accounts:
        rows = [
            (_name(name, made.currency), *_numbers(name, figure), _told(name, account, figure))
            for name, figure in _figures(account)
        ]
        rows.insert(
            5,
            ("archived already", _percent(account.settled_share), "", "", "recordings of which nothing is left to do"),
        )
        output.print_table(account.subaccount_id, ("what", "forecast", "from", "to", "where it comes from"), rows)
        for note in account.notes:
            output.print_text(f"  {account.subaccount_id}: {note}")
    for account in made.accounts:
        output.print_text(f"History of {account.subaccount_id}: {account.history}")
    if not kept:
        output.print_text(
            "An earlier forecast of these days stays kept: it was made before some of them were archived"
            if made.archived_days
            else "The forecast is not kept"
        )
    output.print_text(f"Afterwards: callarchive forecast --from {made.first} --to {made.last} --compare")


def _figures(account: "AccountForecast") -> "list[tuple[str, Figure]]":
    derived = {"api_calls": account.api_calls, "requests": account.requests, "time_s": account.time_s}
    if account.cost is not None:
        derived["cost"] = account.cost
    if account.requests.high == 0:
        del derived["requests"]
    every = {**account.figures, **derived}
    return [(name, every[name]) for name in _SHOWN if name in every and name != "look_ups"]


def _name(name: str, currency: str) -> str:
    return f"cost, {currency}" if name == "cost" and currency else _SHOWN[name][0]


def _numbers(name: str, figure: "Figure") -> tuple[str, str, str]:
    value, low, high = (_number(name, number) for number in (figure.value, figure.low, figure.high))
    return value or "not known", low, high or ("" if not low else "not known")


def _number(name: str, number: float | None) -> str:
    _, unit, decimals = _SHOWN[name]
    if name == "time_s" and number is not None:
        return _duration(number)
    return "" if number is None else f"{number / unit:,.{decimals}f}"


def _duration(seconds: float) -> str:
    """In its two greatest units."""
    whole = math.ceil(seconds)
    parts = [(whole // 86_400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((number for number, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count or unit == "s")


def _percent(share: float | None) -> str:
    return "not known" if share is None else f"{100 * share:.1f} %"


def _told(name: str, account: "AccountForecast", figure: "Figure") -> str:
    if name == "time_s":
        return account.time_basis
    if name == "api_calls":
        return "a look-up a session, and what log exports take at least"
    if name == "requests":
        return "reading and writing recordings; listings and tables come on top"
    if not account.days:  # of all accounts together: the days of each would be counted
        return "; ".join(basis.value for basis, _ in figure.bases)
    return figure.source


def _print_comparison(output: Output, compared: "Comparison", currency: str) -> None:
    if output.json:
        output.print_json(
            {
                **asdict(compared),
                "figures": [{**asdict(item), "forecast": _plain(item.forecast)} for item in compared.figures],
            }
        )
        return
    output.print_text(
        f"{compared.first} to {compared.last}: {many(len(compared.days), 'archived day is', 'archived days are')} held to"
        f" the forecast of {compared.made_at:%Y-%m-%d %H:%M} UTC"
    )
    if compared.open_days:
        output.print_text(f"{many(len(compared.open_days), 'day is', 'days are')} not archived yet and left out")
    rows = []
    shown = [item for item in compared.figures if item.name != "look_ups"]
    for item in shown:
        forecast_of, low, high = _numbers(item.name, item.forecast)
        off = "" if item.off is None else f"{100 * item.off:+.1f} %"
        within = "" if item.in_range is None else "yes" if item.in_range else "no"
        actual = _number(item.name, item.actual)
        rows.append((item.subaccount_id, _name(item.name, currency), forecast_of, low, high, actual, off, within))
    if rows:
        headings = ("account", "what", "forecast", "from", "to", "came", "off by", "in range")
        output.print_table("Forecast and what came", headings, rows)


def _document(made: "Forecast") -> dict[str, Any]:
    return {
        "first": made.first,
        "last": made.last,
        "days": made.day_count,
        "made_at": made.made_at,
        "archived_days": made.archived_days,
        "currency": made.currency or None,
        "accounts": [_account(account) for account in made.accounts],
        "total": _account(made.total),
    }


def _account(account: "AccountForecast") -> dict[str, Any]:
    figures = {**account.figures, **dict(_figures(account))}
    return {
        "subaccount_id": account.subaccount_id,
        "archived_share": account.settled_share,
        "figures": {name: _plain(figure) for name, figure in figures.items()},
        "time_rests_on": account.time_basis,
        "history": account.history,
        "notes": account.notes,
    }


def _plain(figure: "Figure") -> dict[str, Any]:
    """As JSON: what each number is, and of how many days it comes from where."""
    return {
        "value": figure.value,
        "low": figure.low,
        "high": figure.high,
        "from": {basis.value: count for basis, count in figure.bases},
    }

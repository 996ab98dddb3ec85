"""`callarchive forecast`: estimate a backfill, and afterwards compare the estimate with the result."""

import math
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callarchive.cli.days import FirstDay, LastDay
from callarchive.cli.output import Output, print_error
from callarchive.domain.plurals import many

if TYPE_CHECKING:
    from callarchive.planning.forecast.comparing import Comparison
    from callarchive.planning.forecast.models import AccountForecast, Figure, Forecast

_SHOWN = {
    "sessions": ("sessions", 1, 0),
    "look_ups": ("lookups", 1, 0),
    "api_calls": ("calls to 8x8's API", 1, 0),
    "recordings": ("recordings", 1, 0),
    "size_bytes": ("MB", 1e6, 1),
    "audio_s": ("hours of audio", 3600, 1),
    "fetch_count": ("recordings to fetch", 1, 0),
    "fetch_bytes": ("MB to fetch", 1e6, 1),
    "requests": ("S3 requests", 1, 0),
    "cost": ("cost", 1, 2),
    "time_s": ("time", 1, 0),
}
"""Label, unit and decimals of each figure."""

_MAX_DAYS = 3660


def forecast(
    context: typer.Context,
    first: FirstDay = None,
    last: LastDay = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare the stored forecast of these days with the result.")
    ] = False,
    no_listing: Annotated[
        bool, typer.Option("--no-listing", help="Do not list landings; estimate from archived days only.")
    ] = False,
) -> None:
    """Estimate what archiving a range of days takes: sessions, API calls, recordings, bytes, hours of audio, cost and time.

    Lists landings, but downloads nothing and does not call 8x8's API. What cannot be counted is estimated from archived days
    nearby. Each figure comes with its range and its source, or is not known. Prices are set in [forecast]. The forecast is
    stored in the catalog for a later --compare.

    \b
    Examples:
        callarchive forecast --from 2026-01-01 --to 2026-03-31
        callarchive forecast --from 2026-01-01 --to 2026-03-31 --json > forecast.json
        callarchive forecast --from 2026-01-01 --to 2026-03-31 --compare
    """
    from callarchive.archiving.connections import Connections
    from callarchive.planning.forecast.comparing import compare as compare_with_result
    from callarchive.planning.forecast.forecasting import forecast as forecast_of

    output: Output = context.obj
    begin, end = _range(first.date() if first else None, last.date() if last else None)
    if compare and no_listing:
        raise typer.BadParameter("cannot be combined with --compare", param_hint="--no-listing")
    with Connections(output.settings()) as connections:
        if compare:
            _print_comparison(
                output, compare_with_result(connections, begin, end), connections.settings.forecast.currency
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
        raise typer.BadParameter("give both, with --from not after --to", param_hint="--from/--to")
    if (last - first).days >= _MAX_DAYS:
        raise typer.BadParameter(f"at most {_MAX_DAYS} days", param_hint="--from/--to")
    return first, last


def _keep(catalog: Any, made: "Forecast") -> bool:
    """Store the forecast and return whether it is stored. A failure is reported and does not stop the command."""
    from callarchive.domain.errors import ArchiveError
    from callarchive.planning.forecast.keeping import keep_forecast

    try:
        return keep_forecast(catalog, made)
    except ArchiveError as err:
        print_error(err, about="the forecast is not stored")
        return False


def _print(output: Output, made: "Forecast", *, kept: bool) -> None:
    archived = len(made.archived_days)
    days = many(made.day_count, "day", "days")
    output.print_text(f"{made.first} to {made.last}: {days}, {archived or 'none'} of them archived")
    accounts = (*made.accounts, *((made.total,) if len(made.accounts) > 1 else ()))
    for account in accounts:
        rows = [
            (_name(name, made.currency), *_numbers(name, figure), _source(name, account, figure))
            for name, figure in _figures(account)
        ]
        rows.insert(
            5,
            ("archived already", _percent(account.settled_share), "", "", "share of recordings that need no more work"),
        )
        output.print_table(account.subaccount_id, ("figure", "forecast", "low", "high", "source"), rows)
        for note in account.notes:
            output.print_text(f"  {account.subaccount_id}: {note}")
    for account in made.accounts:
        output.print_text(f"History of {account.subaccount_id}: {account.history}")
    if not kept:
        output.print_text(
            "The earlier forecast of these days stays stored, because some of them were archived since"
            if made.archived_days
            else "The forecast is not stored"
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
    """Return the duration in its two largest units, such as 2 h 5 min."""
    whole = math.ceil(seconds)
    parts = [(whole // 86_400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((number for number, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count or unit == "s")


def _percent(share: float | None) -> str:
    return "not known" if share is None else f"{100 * share:.1f} %"


def _source(name: str, account: "AccountForecast", figure: "Figure") -> str:
    if name == "time_s":
        return account.time_basis
    if name == "api_calls":
        return "one lookup per session, and the minimum for log exports"
    if name == "requests":
        return "reading and writing recordings, without listings and tables"
    if not account.days:  # the total of all accounts, which would count the days of each
        return "; ".join(basis.value for basis, _ in figure.bases)
    return figure.source


def _print_comparison(output: Output, compared: "Comparison", currency: str) -> None:
    if output.json:
        output.print_json(
            {
                **asdict(compared),
                "figures": [{**asdict(item), "forecast": _figure_document(item.forecast)} for item in compared.figures],
            }
        )
        return
    output.print_text(
        f"{compared.first} to {compared.last}: {many(len(compared.days), 'archived day', 'archived days')} compared"
        f" with the forecast of {compared.made_at:%Y-%m-%d %H:%M} UTC"
    )
    if compared.open_days:
        output.print_text(f"{many(len(compared.open_days), 'day is', 'days are')} not archived yet and not included")
    rows = []
    shown = [item for item in compared.figures if item.name != "look_ups"]
    for item in shown:
        forecast_of, low, high = _numbers(item.name, item.forecast)
        off = "" if item.off is None else f"{100 * item.off:+.1f} %"
        within = "" if item.in_range is None else "yes" if item.in_range else "no"
        actual = _number(item.name, item.actual)
        rows.append((item.subaccount_id, _name(item.name, currency), forecast_of, low, high, actual, off, within))
    if rows:
        headings = ("account", "figure", "forecast", "low", "high", "actual", "off by", "in range")
        output.print_table("Forecast and result", headings, rows)


def _document(made: "Forecast") -> dict[str, Any]:
    return {
        "first": made.first,
        "last": made.last,
        "days": made.day_count,
        "made_at": made.made_at,
        "archived_days": made.archived_days,
        "currency": made.currency or None,
        "accounts": [_account_document(account) for account in made.accounts],
        "total": _account_document(made.total),
    }


def _account_document(account: "AccountForecast") -> dict[str, Any]:
    figures = {**account.figures, **dict(_figures(account))}
    return {
        "subaccount_id": account.subaccount_id,
        "archived_share": account.settled_share,
        "figures": {name: _figure_document(figure) for name, figure in figures.items()},
        "time_rests_on": account.time_basis,
        "history": account.history,
        "notes": account.notes,
    }


def _figure_document(figure: "Figure") -> dict[str, Any]:
    """Return the figure for JSON; `from` counts the days by the source of their numbers."""
    return {
        "value": figure.value,
        "low": figure.low,
        "high": figure.high,
        "from": {basis.value: count for basis, count in figure.bases},
    }

"""A forecast that was kept, held to what came."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from callarchive.archiving.connections import Connections
from callarchive.catalog import schemas
from callarchive.domain.days import days_between
from callarchive.domain.errors import ArchiveError
from callarchive.planning.forecast.archived_days import NOTHING, archived_day
from callarchive.planning.forecast.keeping import KeptForecast, forecasts_of, kept_forecast
from callarchive.planning.forecast.models import ALL, FIGURES, Basis, Figure, sum_of
from callarchive.planning.forecast.spending import api_calls, cost, export_calls, requests
from callarchive.settings import AccountSettings


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure of an account beside what came.

    Attributes:
        off: by which share of the forecast it differs; null where that is zero or not known.
        in_range: whether it is in the forecast's range; null where the range has no bound to hold it to.
    """

    subaccount_id: str
    name: str
    forecast: Figure
    actual: float
    off: float | None
    in_range: bool | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A forecast held to the tables, over those of its days that are archived by now.

    Attributes:
        days: these days.
        open_days: its other days, which do not count.
        figures: by account, then of all accounts together where there are several.
    """

    first: date
    last: date
    made_at: datetime
    days: tuple[date, ...]
    open_days: tuple[date, ...]
    figures: tuple[Compared, ...]


def compare(connections: Connections, first: date, last: date) -> Comparison:
    """The forecast of these days that is kept, held to what came.

    Raises:
        ArchiveError: none is kept, or the catalog cannot be read.
    """
    made = kept_forecast(connections.catalog, first, last)
    if made is None:
        raise ArchiveError(
            f"no forecast of {first} to {last} is kept in {connections.catalog.store.url}: one is made, before a backfill,"
            f" by callarchive forecast --from {first} --to {last}"
        )
    archived = set(connections.catalog.days(schemas.SESSIONS))
    days = [day for day in days_between(first, last) if day in archived]
    return Comparison(
        first=first,
        last=last,
        made_at=made.made_at,
        days=tuple(days),
        open_days=tuple(day for day in days_between(first, last) if day not in archived),
        figures=tuple(_compared(connections, made, days)) if days else (),
    )


def compare_day(connections: Connections, day: date) -> list[Compared]:
    """An archived day beside what the last forecast said of it that knew it as open, all accounts together; empty without one.

    Raises:
        StoreError, AccessDeniedError, UnavailableError: the catalog cannot be read.
    """
    made = next(forecasts_of(connections.catalog, day), None)
    if made is None:
        return []
    figures = list(_compared(connections, made, [day]))
    return [figure for figure in figures if figure.subaccount_id == ALL] or figures


def _compared(connections: Connections, made: KeptForecast, days: Sequence[date]) -> Iterator[Compared]:
    known = [account for account in connections.settings.accounts if account.subaccount_id in made.days]
    pairs = {account.subaccount_id: _pairs(connections, account, made, days) for account in known}
    if len(known) > 1:
        names = next(iter(pairs.values()))
        pairs[ALL] = {
            name: (
                sum_of(of_account[name][0] for of_account in pairs.values()),
                sum(of_account[name][1] for of_account in pairs.values()),
            )
            for name in names
        }
    for subaccount_id, of_account in pairs.items():
        for name, (figure, actual) in of_account.items():
            off = actual / figure.value - 1 if figure.value else None
            yield Compared(subaccount_id, name, figure, actual, off, figure.holds(actual))


def _pairs(
    connections: Connections, account: AccountSettings, made: KeptForecast, days: Sequence[date]
) -> dict[str, tuple[Figure, float]]:
    """By the figure's name: what was foretold of these days, and what came since."""
    settings, id_ = connections.settings, account.subaccount_id
    picked = [made.days[id_][(day - made.first).days] for day in days]
    foretold = {name: sum_of(getattr(day, name) for day in picked) for name in FIGURES}
    told = [archived_day(connections.catalog, day, since=made.made_at).get(id_, NOTHING) for day in days]
    # What is no audio was fetched, too; when, no table says.
    open_then = [of_day for day, of_day in zip(days, told, strict=True) if day not in made.archived_days]
    came: dict[str, float] = {
        "sessions": sum(day.session_count for day in told),
        "look_ups": sum(day.looked_up_count for day in told),
        "recordings": sum(day.found_count for day in told),
        "fetch_count": sum(day.fetched_count for day in told) + sum(day.rejected_count for day in open_then),
        "fetch_bytes": sum(day.fetched_bytes for day in told) + sum(day.rejected_bytes for day in open_then),
        "size_bytes": sum(day.size_bytes for day in told),
        "audio_s": sum(day.audio_s for day in told),
    }
    calls = api_calls(account, foretold["look_ups"], day_count=len(days))
    came["api_calls"] = came["look_ups"] + export_calls(account, day_count=len(open_then))
    pairs = {name: (foretold[name], came[name]) for name in FIGURES} | {"api_calls": (calls, came["api_calls"])}
    costs = [
        cost(
            settings.forecast,
            calls=told_calls,
            requests=requests(settings, account, figures),
            fetch_bytes=figures["fetch_bytes"],
        )
        for told_calls, figures in (
            (calls, foretold),
            (
                Figure.counted(came["api_calls"], Basis.CATALOG),
                {name: Figure.counted(came[name], Basis.CATALOG) for name in FIGURES},
            ),
        )
    ]
    if costs[0] is not None and costs[1] is not None:
        pairs["cost"] = costs[0], costs[1].value or 0.0
    if len(days) == len(made.days[id_]):
        busy_s = sum(day.look_up_pace.busy_s + day.fetch_pace.busy_s for day in told)
        pairs["time_s"] = made.time_s[id_], busy_s
    return pairs

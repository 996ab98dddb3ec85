"""A stored forecast, compared with the outcome."""

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
    """A forecast figure of an account and its outcome.

    Attributes:
        off: the difference as a share of the forecast; None if the forecast is zero or unknown.
        in_range: whether the outcome is in the forecast's range; None without a bound.
    """

    subaccount_id: str
    name: str
    forecast: Figure
    actual: float
    off: float | None
    in_range: bool | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A forecast compared with the tables, over its days that are archived by now.

    Attributes:
        days: these days.
        open_days: its other days, which do not count.
        figures: by account, then of all accounts together if there are several.
    """

    first: date
    last: date
    made_at: datetime
    days: tuple[date, ...]
    open_days: tuple[date, ...]
    figures: tuple[Compared, ...]


def compare(connections: Connections, first: date, last: date) -> Comparison:
    """Return the stored forecast of these days, compared with the outcome.

    Raises:
        ArchiveError: There is no stored forecast, or the catalog cannot be read.
    """
    made = kept_forecast(connections.catalog, first, last)
    if made is None:
        raise ArchiveError(
            f"no forecast of {first} to {last} is stored in {connections.catalog.store.url}: before a backfill,"
            f" run callarchive forecast --from {first} --to {last}"
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
    """Return an archived day, compared with the last forecast made before it was archived, over all accounts.

    Empty without a forecast.

    Raises:
        StoreError, AccessDeniedError, UnavailableError: The catalog cannot be read.
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
    """Return the forecast and the outcome of these days by the figure's name."""
    settings, id_ = connections.settings, account.subaccount_id
    picked = [made.days[id_][(day - made.first).days] for day in days]
    expected = {name: sum_of(getattr(day, name) for day in picked) for name in FIGURES}
    outcomes = [archived_day(connections.catalog, day, since=made.made_at).get(id_, NOTHING) for day in days]
    # Files that are not audio were fetched too, but no table has the time.
    open_then = [outcome for day, outcome in zip(days, outcomes, strict=True) if day not in made.archived_days]
    actual: dict[str, float] = {
        "sessions": sum(day.session_count for day in outcomes),
        "look_ups": sum(day.looked_up_count for day in outcomes),
        "recordings": sum(day.found_count for day in outcomes),
        "fetch_count": sum(day.fetched_count for day in outcomes) + sum(day.rejected_count for day in open_then),
        "fetch_bytes": sum(day.fetched_bytes for day in outcomes) + sum(day.rejected_bytes for day in open_then),
        "size_bytes": sum(day.size_bytes for day in outcomes),
        "audio_s": sum(day.audio_s for day in outcomes),
    }
    calls = api_calls(account, expected["look_ups"], day_count=len(days))
    actual["api_calls"] = actual["look_ups"] + export_calls(account, day_count=len(open_then))
    pairs = {name: (expected[name], actual[name]) for name in FIGURES} | {"api_calls": (calls, actual["api_calls"])}
    counted = {name: Figure.counted(number, Basis.CATALOG) for name, number in actual.items()}
    expected_cost, actual_cost = (
        cost(
            settings.forecast,
            calls=figures["api_calls"],
            requests=requests(settings, account, figures),
            fetch_bytes=figures["fetch_bytes"],
        )
        for figures in ({**expected, "api_calls": calls}, counted)
    )
    if expected_cost is not None and actual_cost is not None:
        pairs["cost"] = expected_cost, actual_cost.value or 0.0
    if len(days) == len(made.days[id_]):
        busy_s = sum(day.look_up_pace.busy_s + day.fetch_pace.busy_s for day in outcomes)
        pairs["time_s"] = made.time_s[id_], busy_s
    return pairs

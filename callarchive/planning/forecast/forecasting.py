"""Make a forecast from the catalog, the landings and archived days nearby. 8x8 is not contacted, and nothing is written."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

import pyarrow as pa

from callarchive.archiving.connections import Connections
from callarchive.archiving.steps.looking_up import sessions_to_ask
from callarchive.archiving.transforms.orphans import accounts_sharing
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import count_values, pc
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.days import day_of, days_between
from callarchive.domain.plurals import many
from callarchive.planning.forecast.archived_days import SETTLED, ArchivedDay, History, archived_day
from callarchive.planning.forecast.figures import (
    CATALOG,
    LANDING,
    LEAST_CATALOG,
    LEAST_LANDING,
    Figure,
    Ratio,
    at_least,
    counted,
    total,
    unknown,
)
from callarchive.planning.forecast.landing_days import LandingDays, Listed
from callarchive.settings import AccountSettings, Settings

_EXPORT_CALLS = 3
"""The least for a day's log export: start, status, download. While 8x8 prepares it, there are more status calls."""

Figures = dict[str, Figure]
"""Figures by name:

- sessions: that the session sources will list; look_ups: those that will be looked up at 8x8's API.
- recordings, size_bytes, audio_s: with a file in the landing or the archive.
- settled: recordings that are archived already, or are not audio; fetch_count, fetch_bytes: those left to download.
"""


@dataclass(frozen=True, slots=True)
class AccountForecast:
    """An account's range, or that of all accounts together, as `all`.

    Attributes:
        figures: those of the days, and api_calls, requests (of S3), time_s, and cost if there are prices.
        time_rests_on, history: the sources as text.
        notes: further remarks.
    """

    subaccount_id: str
    figures: Figures
    time_rests_on: str
    history: str
    notes: tuple[str, ...] = ()

    @property
    def archived_share(self) -> float | None:
        """The share of recordings that are archived already, from 0 to 1; None without recordings."""
        recordings, settled = self.figures["recordings"].value, self.figures["settled"].value
        return (settled or 0) / recordings if recordings else None

    def document(self) -> dict[str, Any]:
        """Return the account's forecast for JSON."""
        return {
            **{name: getattr(self, name) for name in (*self.__slots__, "archived_share")},
            "figures": {name: figure.document() for name, figure in self.figures.items()},
        }


@dataclass(frozen=True, slots=True)
class Forecast:
    """The forecast of a range of days, both included."""

    first: date
    last: date
    made_at: datetime
    archived_days: tuple[date, ...]
    currency: str
    accounts: tuple[AccountForecast, ...]
    total: AccountForecast

    def document(self) -> dict[str, Any]:
        """Return the forecast for JSON."""
        return {
            **{name: getattr(self, name) for name in ("first", "last", "made_at", "archived_days")},
            "days": (self.last - self.first).days + 1,
            "currency": self.currency or None,
            "accounts": [account.document() for account in self.accounts],
            "total": self.total.document(),
        }


def forecast(connections: Connections, first: date, last: date, *, listing: bool = True) -> Forecast:
    """Return the forecast for the days from `first` to `last`.

    Args:
        listing: whether to list landings. Without, only archived days are counted, and the others come from history.

    Raises:
        ArchiveError: The catalog cannot be read, or a landing cannot be listed.
    """
    made_at, settings, catalog = connections.clock(), connections.settings, connections.catalog
    archived = set(catalog.days(schemas.SESSIONS))
    nearest = sorted(archived, key=lambda day: (max(first - day, day - last, timedelta()), day))
    nearest = nearest[: settings.forecast.history_days]
    in_range = [day for day in days_between(first, last) if day in archived]
    outcomes = {day: archived_day(catalog, day) for day in {*nearest, *in_range}}
    due = {day: count_values(sessions_to_ask(connections.catalog_day(day))["subaccount_id"]) for day in in_range}
    settled = _settled(catalog, archived)
    today = day_of(made_at, settings.zone)
    accounts = []
    for account in settings.accounts:
        id_ = account.subaccount_id
        history = History({day: outcomes[day].get(id_, ArchivedDay()) for day in nearest})
        landing = connections.landings.of(account) if listing else None
        listed = None if landing is None else LandingDays(landing, first, last, zone=settings.zone, now=made_at)
        days = []
        for day in days_between(first, last):
            objects = None if listed is None or day > today else listed.of(day, settled=settled(day))
            if day in due:
                days.append(_archived(outcomes[day].get(id_, ArchivedDay()), due[day].get(id_, 0), objects, history))
            elif objects is None or day == today:
                days.append(_expected(history, day))
            else:
                days.append(_over(objects, history, day))
        notes = tuple(_notes(settings, account, listed, history))
        accounts.append(_account(settings, account, days, history, notes))
    return Forecast(first, last, made_at, tuple(in_range), settings.forecast.currency, tuple(accounts), _all(accounts))


def _settled(catalog: Catalog, archived: set[date]) -> Callable[[date], list[Any]]:
    """Return a function that returns the ids of the recordings of a day and its neighbours that need not be fetched."""

    @lru_cache(maxsize=4)
    def of_day(day: date) -> list[Any]:
        rows = catalog.partition(schemas.RECORDING_FILES, day, columns=("recording_id", "archive_status"))
        return list(rows["recording_id"].filter(pc.is_in(rows["archive_status"], value_set=pa.array(SETTLED))).chunks)

    def around(day: date) -> list[Any]:
        near = (day + timedelta(days=offset) for offset in (-1, 0, 1))
        return [chunk for other in near if other in archived for chunk in of_day(other)]

    return around


def _archived(outcome: ArchivedDay, look_up_count: int, objects: Listed | None, history: History) -> Figures:
    """Forecast a day in the catalog: what it has, and what the landing has beyond that."""
    left = objects or Listed()
    bound, source = (at_least, LEAST_CATALOG) if objects is None else (counted, CATALOG)
    audio, size = counted(outcome.audio_s, CATALOG), bound(outcome.size_bytes + left.fetch_bytes, source)
    to_download = _bytes(left.fetch_bytes, left.fetch_unsized_count, history)
    if left.fetch_unsized_count:
        known = at_least(outcome.size_bytes + left.fetch_bytes, LEAST_CATALOG)
        size = known if to_download.high is None else to_download.scaled(1, plus=outcome.size_bytes)
    if left.fetch_bytes or left.fetch_unsized_count:
        new = to_download.times(history.seconds_per_byte)
        audio = at_least(outcome.audio_s, LEAST_CATALOG) if new.value is None else new.scaled(1, plus=outcome.audio_s)
    return {
        **_day(
            counted(outcome.session_count, CATALOG),
            bound(outcome.found_count + left.fetch_count, source),
            size,
            audio,
            settled=outcome.found_count,
        ),
        "look_ups": counted(look_up_count, CATALOG),
        "fetch_count": unknown() if objects is None else counted(objects.fetch_count, LANDING),
        "fetch_bytes": unknown() if objects is None else to_download,
    }


def _over(objects: Listed, history: History, day: date) -> Figures:
    """Forecast a listed day that is over and was never archived."""
    if objects.session_count:
        sessions = counted(objects.session_count, LANDING).times(history.sessions_per_recorded)
        if sessions.value is None:
            sessions = at_least(objects.session_count, LEAST_LANDING)
    else:  # perhaps there were none
        sessions = history.sessions_on(day)
        sessions = replace(sessions, low=None if sessions.value is None else 0)
    recordings = counted(objects.recording_count, LANDING)
    size = _bytes(objects.size_bytes, objects.unsized_count, history)
    settled = objects.recording_count - objects.fetch_count
    return {
        **_day(sessions, recordings, size, size.times(history.seconds_per_byte), settled=settled),
        "fetch_count": counted(objects.fetch_count, LANDING),
        "fetch_bytes": _bytes(objects.fetch_bytes, objects.fetch_unsized_count, history),
    }


def _bytes(known: int, unsized_count: int, history: History) -> Figure:
    """Return the bytes of a listed day; those of recordings without a reported size come from history."""
    if not unsized_count:
        return counted(known, LANDING)
    others = counted(unsized_count, LANDING).times(history.bytes_per_recording)
    if others.value is None:
        return at_least(known, LEAST_LANDING) if known else unknown()
    return others.scaled(1, plus=known)


def _expected(history: History, day: date) -> Figures:
    """Forecast a day that is not over, or was not listed."""
    sessions = history.sessions_on(day)
    recordings = sessions.times(history.recordings_per_session)
    size = recordings.times(history.bytes_per_recording)
    return _day(sessions, recordings, size, size.times(history.seconds_per_byte))


def _day(sessions: Figure, recordings: Figure, size: Figure, audio_s: Figure, *, settled: int = 0) -> Figures:
    return {
        "sessions": sessions,
        "look_ups": sessions,
        "recordings": recordings,
        "settled": counted(settled, CATALOG),
        "fetch_count": recordings,
        "fetch_bytes": size,
        "size_bytes": size,
        "audio_s": audio_s,
    }


def _account(
    settings: Settings, account: AccountSettings, days: Sequence[Figures], history: History, notes: tuple[str, ...]
) -> AccountForecast:
    figures = {name: total(day[name] for day in days) for name in days[0]}
    has_export = any(source.kind == "log_export" for source in account.session_sources)
    figures["api_calls"] = figures["look_ups"].scaled(1, plus=_EXPORT_CALLS * len(days) if has_export else 0)
    s3 = sum(place.startswith("s3://") for place in (account.landing, settings.archive.url))
    figures["requests"] = figures["fetch_count"].scaled(s3)
    figures["time_s"] = archiving_time(account.requests_per_second, history, figures)
    prices = settings.forecast
    parts = [
        figures[name].scaled(price / per)
        for name, price, per in (
            ("api_calls", prices.price_per_1000_api_calls, 1000),
            ("requests", prices.price_per_1000_requests, 1000),
            ("fetch_bytes", prices.price_per_gb, 1e9),
        )
        if price is not None
    ]
    if parts:
        figures["cost"] = total(parts, partial=False)
    pace = f"lookups {'at the cap' if history.s_per_look_up is None else 'as measured, up to the cap'}"
    fetching = (
        "too few recordings to measure downloads" if history.fetch_s_per_byte is None else "downloads as measured"
    )
    return AccountForecast(account.subaccount_id, figures, f"{pace}; {fetching}", history.description, notes)


def archiving_time(cap: float, history: History, figures: Figures) -> Figure:
    """Return the seconds of lookups and downloads; only a lower bound if downloads were never measured."""
    measured, fastest = history.s_per_look_up, 1 / cap
    if measured is None:
        looking_up = replace(figures["look_ups"].scaled(fastest), high=None)
    else:
        paces = (max(fastest, pace) for pace in (measured.value, measured.low, measured.high))
        looking_up = figures["look_ups"].times(Ratio(*paces))
    return total((looking_up, figures["fetch_bytes"].times(history.fetch_s_per_byte)), partial=False)


def _notes(settings: Settings, account: AccountSettings, listed: LandingDays | None, history: History) -> Iterator[str]:
    if listed is None:
        yield "the landing was not listed"
        return
    if listed.undated_count:
        yield f"{listed.undated_count} mp3s of the landing are in no day: no recording id or no time in their names"
    if listed.unsized_count:
        sizes = (
            "estimated from archived days" if history.bytes_per_recording else "unknown: archive a day to estimate them"
        )
        yield f"the landing does not report the size of {many(listed.unsized_count, 'mp3', 'mp3s')}: their bytes are {sizes}"
    others = [id_ for id_ in accounts_sharing(account, settings.accounts) if id_ != account.subaccount_id]
    if others:
        yield f"its landing is shared with {', '.join(others)}: its objects are counted for each"


def _all(accounts: Sequence[AccountForecast]) -> AccountForecast:
    """Return the sums over all accounts, which are archived one after the other."""
    names = dict.fromkeys(name for account in accounts for name in account.figures)
    figures = {
        name: total((a.figures[name] for a in accounts), partial=name not in ("time_s", "cost")) for name in names
    }
    history = "; ".join(f"{account.subaccount_id}: {account.history}" for account in accounts)
    return AccountForecast("all", figures, "the accounts one after the other", history)

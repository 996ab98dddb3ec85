"""Make a forecast from the catalog, the landings and archived days nearby. 8x8 is not contacted."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import pyarrow as pa

from callarchive.archiving.connections import Connections
from callarchive.archiving.steps.looking_up import sessions_to_ask
from callarchive.archiving.transforms.orphans import accounts_sharing
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import count_values, pc
from callarchive.domain.days import day_of, days_between
from callarchive.planning.forecast.archived_days import SETTLED, ArchivedDay, archived_day
from callarchive.planning.forecast.history import History, merge
from callarchive.planning.forecast.landing_days import LandingDays, Listed, list_days
from callarchive.planning.forecast.models import (
    ALL,
    FIGURES,
    AccountForecast,
    Basis,
    DayForecast,
    Figure,
    Forecast,
    sum_of,
)
from callarchive.planning.forecast.spending import api_calls, cost, requests, time_and_basis
from callarchive.settings import AccountSettings


def forecast(connections: Connections, first: date, last: date, *, listing: bool = True) -> Forecast:
    """Return the forecast for the days from `first` to `last`, both included. Nothing is written.

    Args:
        listing: whether to list landings. Without, only archived days are counted, and the others come from history.

    Raises:
        ArchiveError: The catalog cannot be read, or a landing cannot be listed.
    """
    made_at = connections.clock()
    catalog, settings = connections.catalog, connections.settings
    archived = set(catalog.days(schemas.SESSIONS))
    nearest = sorted(archived, key=lambda day: (_distance(day, first, last), day))[: settings.forecast.history_days]
    in_range = [day for day in days_between(first, last) if day in archived]
    outcomes = {day: archived_day(catalog, day) for day in {*nearest, *in_range}}
    due_lookups = {
        day: count_values(sessions_to_ask(connections.catalog_day(day))["subaccount_id"]) for day in in_range
    }
    settled = _Settled(connections, archived)
    accounts = []
    for account in settings.accounts:
        landing = connections.landings.of(account) if listing else None
        listed = None if landing is None else list_days(landing, first, last, zone=settings.zone, now=made_at)
        days = _Days(
            account,
            outcomes,
            due_lookups,
            listed,
            settled,
            merge({day: outcomes[day] for day in nearest}, account.subaccount_id),
        )
        today = day_of(made_at, settings.zone)
        accounts.append(
            _account(connections, account, [days.of(day, today=today) for day in days_between(first, last)], days)
        )
    return Forecast(
        first=first,
        last=last,
        made_at=made_at,
        archived_days=tuple(in_range),
        accounts=tuple(accounts),
        total=_total(accounts),
        currency=settings.forecast.currency,
    )


def _distance(day: date, first: date, last: date) -> int:
    return max((first - day).days, (day - last).days, 0)


class _Settled:
    """The recordings of a day and its neighbours that need not be fetched."""

    def __init__(self, connections: Connections, archived: set[date]) -> None:
        self._catalog, self._archived = connections.catalog, archived
        self._of_day = lru_cache(maxsize=4)(self._read)

    def around(self, day: date) -> list[Any]:
        near = (day + timedelta(days=offset) for offset in (-1, 0, 1))
        return [chunk for other in near if other in self._archived for chunk in self._of_day(other)]

    def _read(self, day: date) -> list[Any]:
        columns = ("recording_id", "archive_status")
        rows = self._catalog.partition(schemas.RECORDING_FILES, day, columns=columns)
        ids = rows["recording_id"].filter(pc.is_in(rows["archive_status"], value_set=pa.array(SETTLED)))
        return list(ids.chunks)


class _Days:
    """The days of one account."""

    def __init__(
        self,
        account: AccountSettings,
        outcomes: Mapping[date, Mapping[str, ArchivedDay]],
        due_lookups: Mapping[date, Mapping[str, int]],
        listed: LandingDays | None,
        settled: _Settled,
        history: History,
    ) -> None:
        self.listed, self.history = listed, history
        self._id, self._outcomes, self._due_lookups, self._settled = (
            account.subaccount_id,
            outcomes,
            due_lookups,
            settled,
        )

    def of(self, day: date, *, today: date) -> DayForecast:
        """Return the forecast of the day: counted if it was archived, or is over and listed; else from history."""
        objects = None
        if self.listed is not None and day <= today:
            objects = self.listed.of(day, settled=self._settled.around(day))
        if day in self._due_lookups:
            return self._archived(self._outcomes[day].get(self._id), self._due_lookups[day].get(self._id, 0), objects)
        if objects is not None and day < today:
            return self._over(day, objects)
        return self._expected(day, objects)

    def _archived(self, outcome: ArchivedDay | None, lookup_count: int, objects: Listed | None) -> DayForecast:
        session_count, found_count = (outcome.session_count, outcome.found_count) if outcome else (0, 0)
        size_bytes, audio_s = (outcome.size_bytes, outcome.audio_s) if outcome else (0, 0.0)
        if objects is None:
            fetch = fetch_bytes = Figure.unknown()
            more = _least_in_catalog
        else:
            fetch = Figure.counted(objects.fetch_count, Basis.LANDING)
            fetch_bytes = Figure.counted(objects.fetch_bytes, Basis.LANDING)
            more = _in_catalog
        left, left_bytes = (objects.fetch_count, objects.fetch_bytes) if objects else (0, 0)
        left_s = self._seconds(Figure.counted(left_bytes, Basis.LANDING))
        return DayForecast(
            sessions=_in_catalog(session_count),
            look_ups=_in_catalog(lookup_count),
            recordings=more(found_count + left),
            settled_count=found_count,
            fetch_count=fetch,
            fetch_bytes=fetch_bytes,
            size_bytes=more(size_bytes + left_bytes),
            audio_s=_in_catalog(audio_s) if not left_bytes else _added(left_s, audio_s),
        )

    def _over(self, day: date, objects: Listed) -> DayForecast:
        """Forecast a day that is over and was never archived."""
        sessions = self.history.sessions_on(day)
        if objects.session_count and self.history.sessions_per_recorded is not None:
            sessions = self.history.sessions_per_recorded.of(Figure.counted(objects.session_count, Basis.LANDING))
        if sessions.value is None and objects.session_count:
            sessions = Figure.least(objects.session_count, Basis.LEAST_LANDING)
        if not objects.session_count and sessions.value is not None:  # perhaps there were none
            sessions = Figure.likely(sessions.value, 0, sessions.high or sessions.value)
        size = Figure.counted(objects.size_bytes, Basis.LANDING)
        return DayForecast(
            sessions=_no_less(sessions, objects.session_count),
            look_ups=_no_less(sessions, objects.session_count),
            recordings=Figure.counted(objects.recording_count, Basis.LANDING),
            settled_count=objects.recording_count - objects.fetch_count,
            fetch_count=Figure.counted(objects.fetch_count, Basis.LANDING),
            fetch_bytes=Figure.counted(objects.fetch_bytes, Basis.LANDING),
            size_bytes=size,
            audio_s=self._seconds(size),
        )

    def _expected(self, day: date, objects: Listed | None) -> DayForecast:
        """Forecast a day that is not over, or was not listed."""
        objects = objects or Listed()
        history = self.history
        sessions = _no_less(history.sessions_on(day), objects.session_count)
        recordings = size = Figure.unknown()
        if sessions.value is not None and history.recordings_per_session is not None:
            recordings = _no_less(history.recordings_per_session.of(sessions), objects.recording_count)
        elif objects.recording_count:
            recordings = Figure.least(objects.recording_count, Basis.LEAST_LANDING)
        if recordings.value is not None and history.bytes_per_recording is not None:
            size = _no_less(history.bytes_per_recording.of(recordings), objects.size_bytes)
        elif objects.size_bytes:
            size = Figure.least(objects.size_bytes, Basis.LEAST_LANDING)
        return DayForecast(
            sessions=sessions,
            look_ups=sessions,
            recordings=recordings,
            settled_count=objects.recording_count - objects.fetch_count,
            fetch_count=recordings,
            fetch_bytes=size,
            size_bytes=size,
            audio_s=self._seconds(size),
        )

    def _seconds(self, size: Figure) -> Figure:
        if size.value == 0 and size.high == 0:
            return size
        per_byte = self.history.seconds_per_byte
        return Figure.unknown() if size.value is None or per_byte is None else per_byte.of(size)


def _in_catalog(value: float) -> Figure:
    return Figure.counted(value, Basis.CATALOG)


def _least_in_catalog(value: float) -> Figure:
    return Figure.least(value, Basis.LEAST_CATALOG)


def _added(figure: Figure, more: float) -> Figure:
    if figure.value is None or figure.low is None:
        return _least_in_catalog(more) if more else figure
    return figure.scaled(1, plus=more)


def _no_less(figure: Figure, seen: float) -> Figure:
    """Return the figure, raised to at least what is there already."""
    if figure.value is None or figure.low is None:
        return Figure.least(seen, Basis.LEAST_LANDING) if seen else figure
    high = figure.high if figure.high is None else max(figure.high, seen)
    return Figure(max(figure.value, seen), max(figure.low, seen), high, figure.bases)


def _account(
    connections: Connections, account: AccountSettings, days: Sequence[DayForecast], counted: _Days
) -> AccountForecast:
    settings, history = connections.settings, counted.history
    figures = {name: sum_of(getattr(day, name) for day in days) for name in FIGURES}
    calls, s3_requests = (
        api_calls(account, figures["look_ups"], day_count=len(days)),
        requests(settings, account, figures),
    )
    time_s, basis = time_and_basis(account, history, figures)
    return AccountForecast(
        subaccount_id=account.subaccount_id,
        days=tuple(days),
        figures=figures,
        settled_count=sum(day.settled_count for day in days),
        settled_share=_share(days),
        api_calls=calls,
        requests=s3_requests,
        cost=cost(settings.forecast, calls=calls, requests=s3_requests, fetch_bytes=figures["fetch_bytes"]),
        time_s=time_s,
        time_basis=basis,
        history=history.description,
        notes=tuple(_notes(connections, account, counted.listed)),
    )


def _share(days: Iterable[DayForecast]) -> float | None:
    listed = list(days)
    recordings = sum_of(day.recordings for day in listed)
    return sum(day.settled_count for day in listed) / recordings.value if recordings.value else None


def _notes(connections: Connections, account: AccountSettings, listed: LandingDays | None) -> Iterable[str]:
    if listed is None:
        yield "the landing was not listed"
    elif listed.undated_count:
        yield f"{listed.undated_count} mp3s of the landing are in no day: no recording id or no time in their names"
    others = [id_ for id_ in accounts_sharing(account, connections.settings.accounts) if id_ != account.subaccount_id]
    if listed is not None and others:
        yield f"its landing is shared with {', '.join(others)}: its objects are counted for each"


def _total(accounts: Sequence[AccountForecast]) -> AccountForecast:
    """Return the sums over all accounts, which are archived one after the other."""
    costs = [account.cost for account in accounts if account.cost is not None]
    return AccountForecast(
        subaccount_id=ALL,
        days=(),
        figures={name: sum_of(account.figures[name] for account in accounts) for name in FIGURES},
        settled_count=sum(account.settled_count for account in accounts),
        settled_share=_share(day for account in accounts for day in account.days),
        api_calls=sum_of(account.api_calls for account in accounts),
        requests=sum_of(account.requests for account in accounts),
        cost=sum_of(costs) if costs else None,
        time_s=sum_of(account.time_s for account in accounts),
        time_basis="the accounts one after the other",
        history="; ".join(f"{account.subaccount_id}: {account.history}" for account in accounts),
        notes=(),
    )

"""To which day a session belongs when runs or sources disagree: to one day only, and for good once it has recordings.

A source may name fewer sessions than it did (8x8's log export reaches back only so far, an id file is emptied), and two
sources may date one session differently. Neither may take a recording out of the catalog or put it there twice.

Columns, not rows: a rerun of a day of 100,000 sessions compares them all with what is known, and mostly changes none.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from callarchive.archiving.transforms.lookup_tables import confirmed_negatives
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import Column, keys_of, matching_rows, pc
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.days import day_of
from callarchive.domain.identifiers import uuid_time
from callarchive.domain.models import RowProblem

_SESSION = schemas.SESSION_IDS.key
_NUMBERS = ("source_number", "destination_number")
_FACTS = tuple(
    column.name for column in schemas.SESSION_IDS.columns if column.name not in (*_SESSION, *_NUMBERS, "sources")
)

_INBOX = "inbox"
"""The kind of source that webhook events are. No other kind's name holds it."""

_FILES = "files"
"""The kind of source whose file may date a session, whatever its start."""

NumberGuard = Callable[[str | None], str | None]


@dataclass(frozen=True)
class SettledSessions:
    """What a day's sessions are.

    Attributes:
        rows: of `session_ids`.
        elsewhere: per account what was set aside because it belongs to another day. A session that only a moved midnight put on
            this day, and that stays where it was archived, is not among them.
        carried_count: rows that no source names any more.
    """

    rows: pa.Table
    elsewhere: list[tuple[str, RowProblem]]
    carried_count: int


def settled_sessions(
    catalog: Catalog,
    day: date,
    named: pa.Table,
    *,
    guards: Mapping[str, NumberGuard],
    zone: ZoneInfo,
    unread: Collection[str] = (),
) -> SettledSessions:
    """The rows of `session_ids` for the day, and what of the named sessions belongs to another day.

    - A session that a neighbouring day holds already stays there; if both days hold it, the earlier one keeps it.
    - A session that an earlier run found stays though no source names it any more, unless all that 8x8 ever said is that
      it has no recording, twice and a day apart. So does every session of an account that is configured no more, and every
      one that a webhook event named: the inbox is pruned, and every one that began on another day by today's time zone data:
      when a midnight moves, the day that it falls on now leaves it where it is.
    - A fact that no source tells any more stays as it was told, phone numbers excepted, and so does the source `inbox`.

    Args:
        named: rows of `session_ids` as the sources name them now.
        guards: by configured account, what may be written of a phone number that was kept before; without one it is
            dropped.
        zone: in which days are cut.
        unread: accounts whose sources could not be read: their rows stay as they are.
    """
    before = catalog.partition(schemas.SESSION_IDS, day)
    is_unread = pc.is_in(before["subaccount_id"], value_set=pa.array(list(unread), pa.string()))
    untouched, before = before.filter(is_unread), before.filter(pc.invert(is_unread))
    keys, keys_before = keys_of(named, _SESSION), keys_of(before, _SESSION)
    day_before, day_after = (day + timedelta(days=offset) for offset in (-1, 1))
    keys_day_before, keys_day_after = (_keys(catalog, schemas.SESSION_IDS, other) for other in (day_before, day_after))
    goes_before = pc.is_in(keys, value_set=keys_day_before)
    goes_after = pc.and_not(pc.is_in(keys, value_set=keys_day_after), pc.is_in(keys, value_set=keys_before))
    goes = pc.or_(goes_before, goes_after)
    days = pc.if_else(goes_before, pa.scalar(day_before), pa.scalar(day_after))
    stayed = _left_by_midnight(catalog, named.filter(goes), day, zone) if pc.any(goes).as_py() else frozenset()
    elsewhere = _set_aside(named.filter(goes), days.filter(goes), unsaid=stayed)
    stays = pc.invert(goes)
    rows = _with_facts_told(named.filter(stays), before, places=matching_rows(keys.filter(stays), among=keys_before))

    unnamed = pc.invert(pc.or_(pc.is_in(keys_before, value_set=keys), pc.is_in(keys_before, value_set=keys_day_before)))
    carried = before.filter(unnamed)
    if len(carried):
        leaves = _settled_without_recordings(catalog, day, carried, accounts=list(guards))
        leaves = pc.and_not(leaves, _of_other_days(carried, leaves, day=day, zone=zone))
        carried = carried.filter(pc.or_(pc.invert(leaves), pc.match_substring(_as_texts(carried["sources"]), _INBOX)))
        rows = pa.concat_tables([rows, _guarded(carried, guards)])
    if len(untouched):
        rows = pa.concat_tables([rows, untouched])
    return SettledSessions(rows, elsewhere, len(carried))


def _left_by_midnight(catalog: Catalog, sessions: pa.Table, day: date, zone: ZoneInfo) -> frozenset[tuple[str, str]]:
    """Keys of those sessions that began on the day, and that a neighbour holds with the same start: a midnight moved."""

    def starts(rows: pa.Table) -> dict[tuple[str, str], datetime]:
        columns = (rows[name].to_pylist() for name in (*_SESSION, "started_at"))
        return {(account, name): at for account, name, at in zip(*columns, strict=True) if at is not None}

    from_files = pc.match_substring(_as_texts(sessions["sources"]), _FILES)
    wanted = {key: at for key, at in starts(sessions.filter(pc.invert(from_files))).items() if day_of(at, zone) == day}
    if not wanted:
        return frozenset()
    columns = (*_SESSION, "started_at")
    held = [
        starts(catalog.partition(schemas.SESSION_IDS, day + timedelta(days=offset), columns=columns))
        for offset in (-1, 1)
    ]
    return frozenset(key for key, at in wanted.items() if any(rows.get(key) == at for rows in held))


def _set_aside(sessions: pa.Table, days: Column, *, unsaid: frozenset[tuple[str, str]]) -> list[tuple[str, RowProblem]]:
    """Per account a problem for each session, which belongs to the day at its place in `days`."""
    found = []
    columns = (sessions[name].to_pylist() for name in (*_SESSION, "sources"))
    for account, session_id, sources, day in zip(*columns, days.to_pylist(), strict=True):
        if (account, session_id) in unsaid:
            continue
        reason = f"session {session_id} belongs to {day} already"
        found.append((account, RowProblem(", ".join(sources), f"call_date={day}", None, reason)))
    return found


def _with_facts_told(sessions: pa.Table, before: pa.Table, *, places: Column) -> pa.Table:
    """The sessions; a fact that is null is as it was before. `places`: the row that each had there, null for none."""
    columns: dict[str, Any] = {
        name: pc.coalesce(sessions[name], before[name].take(places)) if name in _FACTS else sessions[name]
        for name in sessions.column_names
    }
    columns["sources"] = _with_inbox(sessions["sources"], before["sources"].take(places))
    return pa.table(columns, schema=sessions.schema)


def _with_inbox(sources: Column, before: Column) -> Column:
    """The sources, and `inbox` where it was one of them before: its events may have been pruned since."""
    now = _as_texts(sources)
    lacks = pc.and_not(pc.match_substring(_as_texts(before), _INBOX), pc.match_substring(now, _INBOX))
    if not pc.any(lacks).as_py():
        return sources
    both = pc.if_else(lacks, pc.binary_join_element_wise(now, _INBOX, ","), now)
    kinds = pc.unique(both)  # few, for so many sessions
    lists = pa.array([sorted(filter(None, kind.split(","))) for kind in kinds.to_pylist()], sources.type)
    return lists.take(pc.index_in(both, value_set=kinds))


def _as_texts(sources: Column) -> Column:
    """Each list of kinds as one text; an empty one for none."""
    return pc.fill_null(pc.binary_join(sources.combine_chunks(), ","), "")


def _settled_without_recordings(catalog: Catalog, day: date, sessions: pa.Table, *, accounts: list[str]) -> Column:
    """Whether it is final that the session has no recording, and 8x8 never named one. Only of accounts configured."""
    lookups = catalog.partition(schemas.LOOKUPS, day)
    keys = keys_of(sessions, _SESSION)
    none = keys_of(lookups, _SESSION).filter(confirmed_negatives(lookups))
    # An answer of today without recordings does not undo one of earlier that named some.
    with_recordings = pc.is_in(keys, value_set=_keys(catalog, schemas.RECORDING_METADATA, day))
    configured = pc.is_in(sessions["subaccount_id"], value_set=pa.array(accounts, pa.string()))
    return pc.and_(configured, pc.and_not(pc.is_in(keys, value_set=none), with_recordings))


def _of_other_days(sessions: pa.Table, wanted: Column, *, day: date, zone: ZoneInfo) -> Column:
    """Whether the session, if it is wanted, began on another day: by its start, else by the time in its UUID."""
    others = []
    columns = (sessions[name].to_pylist() for name in ("session_id", "started_at"))
    for session_id, started_at, is_wanted in zip(*columns, wanted.to_pylist(), strict=True):
        at = (started_at or _time_in(session_id)) if is_wanted else None
        others.append(at is not None and day_of(at, zone) != day)
    return pa.array(others, pa.bool_())


def _time_in(session_id: str) -> datetime | None:
    try:
        return uuid_time(session_id)
    except ValueError:  # a table that somebody else wrote
        return None


def _guarded(sessions: pa.Table, guards: Mapping[str, NumberGuard]) -> pa.Table:
    """The sessions, and of their phone numbers what may still be written."""
    accounts: list[Any] = sessions["subaccount_id"].to_pylist()
    columns: dict[str, Any] = {
        name: [
            guards.get(account, _dropped)(number)
            for account, number in zip(accounts, sessions[name].to_pylist(), strict=True)
        ]
        if name in _NUMBERS
        else sessions[name]
        for name in sessions.column_names
    }
    return pa.table(columns, schema=sessions.schema)


def _dropped(_: str | None) -> None:
    return None


def _keys(catalog: Catalog, table: schemas.Table, day: date) -> Column:
    return keys_of(catalog.partition(table, day, columns=_SESSION), _SESSION)

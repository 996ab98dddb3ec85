"""Assignment of each session to exactly one day, even if runs or sources disagree.

A source may list fewer sessions than before, and two may date one differently: no recording may vanish or be duplicated.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from callarchive.archiving.transforms.lookup_tables import confirmed_negatives
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import Column, joined_lists, keys_of, matching_rows, pc
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.days import day_of
from callarchive.domain.identifiers import uuid_time
from callarchive.domain.models import RowProblem
from callarchive.domain.phone_numbers import PhoneNumberMask

_SESSION = schemas.SESSION_IDS.key
_NUMBERS = ("source_number", "destination_number")
_NOT_KEPT = (*_SESSION, *_NUMBERS, "sources")
_INBOX = "inbox"
"""The source kind of webhook events. No other kind's name contains it."""
_FILES = "files"
"""The source kind whose file may date a session independently of its start."""


@dataclass(frozen=True)
class AssignedSessions:
    """Rows of `session_ids`, problems of sessions that belong to another day, and how many no source lists any more.

    A session that is elsewhere only because a midnight moved is not reported: it stays where it was archived.
    """

    rows: pa.Table
    elsewhere: list[tuple[str, RowProblem]]
    carried_count: int


def assign_sessions(
    catalog: Catalog,
    day: date,
    named: pa.Table,
    *,
    before: pa.Table,
    masks: Mapping[str, PhoneNumberMask],
    zone: ZoneInfo,
    unread: Collection[str] = (),
) -> AssignedSessions:
    """Return the day's rows of `session_ids`, which are `before` so far, and the named sessions of other days.

    - A session that a neighbouring day already has stays there. If both days have it, the earlier one keeps it.
    - A session from an earlier run that no source lists any more stays, unless 8x8 confirmed that it has no recording and
      never listed one. It also stays if its account was removed from the configuration, if a webhook event named it (the
      inbox is pruned), or if it began on another day by current time zone data (a midnight moved).
    - A value that no source provides any more stays, except phone numbers; so does the source `inbox`.
    - Phone numbers stored earlier are masked by the mask of their account, or dropped if it has none.
    - Rows of accounts whose sources are `unread` do not change.
    """
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
    elsewhere = _set_aside(named.filter(goes), days.filter(goes), ignored=stayed)
    stays = pc.invert(goes)
    rows = _with_earlier_facts(named.filter(stays), before, places=matching_rows(keys.filter(stays), among=keys_before))

    unnamed = pc.invert(pc.or_(pc.is_in(keys_before, value_set=keys), pc.is_in(keys_before, value_set=keys_day_before)))
    carried = before.filter(unnamed)
    if len(carried):
        leaves = _confirmed_without_recordings(catalog, day, carried, accounts=list(masks))
        leaves = pc.and_not(leaves, _of_other_days(carried, leaves, day=day, zone=zone))
        of_events = pc.match_substring(joined_lists(carried["sources"]), _INBOX)
        carried = carried.filter(pc.or_(pc.invert(leaves), of_events))
        rows = pa.concat_tables([rows, _masked(carried, masks)])
    return AssignedSessions(pa.concat_tables([rows, untouched]), elsewhere, len(carried))


def _left_by_midnight(catalog: Catalog, sessions: pa.Table, day: date, zone: ZoneInfo) -> frozenset[tuple[str, str]]:
    """Return the keys of sessions that began on the day and that a neighbour has with the same start: a midnight moved."""

    def starts(rows: pa.Table) -> dict[tuple[str, str], datetime]:
        columns = (rows[name].to_pylist() for name in (*_SESSION, "started_at"))
        return {(account, name): at for account, name, at in zip(*columns, strict=True) if at is not None}

    from_files = pc.match_substring(joined_lists(sessions["sources"]), _FILES)
    wanted = {key: at for key, at in starts(sessions.filter(pc.invert(from_files))).items() if day_of(at, zone) == day}
    if not wanted:
        return frozenset()
    columns, around = (*_SESSION, "started_at"), (day - timedelta(days=1), day + timedelta(days=1))
    held = [starts(catalog.partition(schemas.SESSION_IDS, other, columns=columns)) for other in around]
    return frozenset(key for key, at in wanted.items() if any(rows.get(key) == at for rows in held))


def _set_aside(
    sessions: pa.Table, days: Column, *, ignored: frozenset[tuple[str, str]]
) -> list[tuple[str, RowProblem]]:
    """Return a problem for each session, which belongs to the day at the same index in `days`."""
    found = []
    columns = (sessions[name].to_pylist() for name in (*_SESSION, "sources"))
    for account, session_id, sources, day in zip(*columns, days.to_pylist(), strict=True):
        if (account, session_id) not in ignored:
            reason = f"session {session_id} belongs to {day} already"
            found.append((account, RowProblem(", ".join(sources), f"call_date={day}", None, reason)))
    return found


def _with_earlier_facts(sessions: pa.Table, before: pa.Table, *, places: Column) -> pa.Table:
    """Return the sessions with NULLs filled from `before`, where `places` has the index of each session's row."""
    columns: dict[str, Any] = {
        name: sessions[name] if name in _NOT_KEPT else pc.coalesce(sessions[name], before[name].take(places))
        for name in sessions.column_names
    }
    columns["sources"] = _with_inbox(sessions["sources"], before["sources"].take(places))
    return pa.table(columns, schema=sessions.schema)


def _with_inbox(sources: Column, before: Column) -> Column:
    """Return the sources, plus `inbox` if it was a source before: its events may have been pruned since."""
    now = joined_lists(sources)
    lacks = pc.and_not(pc.match_substring(joined_lists(before), _INBOX), pc.match_substring(now, _INBOX))
    if not pc.any(lacks).as_py():
        return sources
    both = pc.if_else(lacks, pc.binary_join_element_wise(now, _INBOX, ","), now)
    kinds = pc.unique(both)  # a few for many sessions
    lists = pa.array([sorted(filter(None, kind.split(","))) for kind in kinds.to_pylist()], sources.type)
    return lists.take(pc.index_in(both, value_set=kinds))


def _confirmed_without_recordings(catalog: Catalog, day: date, sessions: pa.Table, *, accounts: list[str]) -> Column:
    """Return whether 8x8 confirmed no recording and never listed one. False for accounts that are not configured."""
    lookups = catalog.partition(schemas.LOOKUPS, day)
    keys = keys_of(sessions, _SESSION)
    none = keys_of(lookups, _SESSION).filter(confirmed_negatives(lookups))
    # A response without recordings does not override an earlier one with some.
    with_recordings = pc.is_in(keys, value_set=_keys(catalog, schemas.RECORDING_METADATA, day))
    configured = pc.is_in(sessions["subaccount_id"], value_set=pa.array(accounts, pa.string()))
    return pc.and_(configured, pc.and_not(pc.is_in(keys, value_set=none), with_recordings))


def _of_other_days(sessions: pa.Table, wanted: Column, *, day: date, zone: ZoneInfo) -> Column:
    """Return whether each wanted session began on another day, by its start, else by the time in its UUID."""
    others = []
    columns = (sessions[name].to_pylist() for name in ("session_id", "started_at"))
    for session_id, started_at, is_wanted in zip(*columns, wanted.to_pylist(), strict=True):
        at = (started_at or _time_in(session_id)) if is_wanted else None
        others.append(at is not None and day_of(at, zone) != day)
    return pa.array(others, pa.bool_())


def _time_in(session_id: str) -> datetime | None:
    try:
        return uuid_time(session_id)
    except ValueError:  # a table from another writer
        return None


def _masked(sessions: pa.Table, masks: Mapping[str, PhoneNumberMask]) -> pa.Table:
    """Return the sessions with their phone numbers masked."""
    accounts: list[Any] = sessions["subaccount_id"].to_pylist()
    columns: dict[str, Any] = {name: sessions[name] for name in sessions.column_names}
    for name in _NUMBERS:
        pairs = zip(accounts, sessions[name].to_pylist(), strict=True)
        columns[name] = [masks[account](number) if account in masks else None for account, number in pairs]
    return pa.table(columns, schema=sessions.schema)


def _keys(catalog: Catalog, table: schemas.Table, day: date) -> Column:
    return keys_of(catalog.partition(table, day, columns=_SESSION), _SESSION)

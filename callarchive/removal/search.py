"""Where ids are: the days, rows, files, events and stored responses that name sessions and recordings."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from callarchive.archiving.connections import Connections
from callarchive.archiving.recording_archive import QUARANTINE
from callarchive.archiving.responses.journal import LOOKUPS
from callarchive.archiving.responses.store import CALL_LOGS
from callarchive.archiving.transfer_journal import TransferJournal, journal_folder
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import pc
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.schemas import Table
from callarchive.domain.days import day_of, day_of_folder
from callarchive.domain.erased_ids import ErasedIds
from callarchive.domain.errors import DamagedTableError
from callarchive.domain.identifiers import account_of_segment, path_segment, uuid_time
from callarchive.domain.models import ArchiveStatus
from callarchive.removal.day_contents import TABLES
from callarchive.storage.stores import Store

_PROSE = tuple(table for table in TABLES if "session_id" not in table.schema.names or table is schemas.RECONCILIATION)
"""Tables in which an id may be part of a text."""
_IDS = ("session_id", "recording_id")
_ONE = timedelta(days=1)


@dataclass(frozen=True, order=True)
class Place:
    """A session on a day of an account."""

    subaccount_id: str
    call_date: date
    session_id: str


def places_of(connections: Connections, identifier: str, *, kind: str) -> set[Place]:
    """Return where the session or recording is, `kind` being session_id or recording_id; empty if nothing names it.

    Tables of all days are searched, then events, then the archive's folders and stored responses. Raises ArchiveError.
    """
    found = set(_in_tables(connections, identifier, kind))
    known = {(place.subaccount_id, place.session_id) for place in found}
    for place in _in_inbox(connections, identifier, kind):
        if (place.subaccount_id, place.session_id) not in known:
            found.add(place)
    for days in (_near(identifier), None):
        if not found:
            found.update(_in_archive(connections, identifier, kind, days))
            found.update(_in_answers(connections, identifier, kind, days))
    return found


def days_with_rows(connections: Connections, subaccount_id: str, last: date) -> set[date]:
    """Return the days up to `last` with rows of the account, tombstones excepted."""
    found = set()
    for table in (schemas.SESSION_IDS, schemas.SESSIONS, schemas.RECORDING_FILES, schemas.RECORDINGS):
        is_one = pc.field("subaccount_id") == subaccount_id
        if "archive_status" in table.schema.names:
            is_one = is_one & (pc.field("archive_status") != ArchiveStatus.ERASED.value)
        rows = rows_by_day(connections.catalog, table, ["subaccount_id"], None, filter_=is_one, last=last)
        found |= {day for day, _ in rows}
    return found


def rows_naming(
    connections: Connections, ids: ErasedIds, *, days: Collection[date] | None = None
) -> dict[date, Counter[str]]:
    """Return for each day the number of rows by table that name one of the ids, tombstones excepted; None: of all days."""
    found: dict[date, Counter[str]] = defaultdict(Counter)
    for table in TABLES:
        names = [name for name in ("session_id", "recording_id") if name in table.schema.names]
        if table in _PROSE:
            texts = [field.name for field in table.schema if field.type == pa.string()]
            for day, rows in rows_by_day(connections.catalog, table, texts, days, filter_=None):
                columns = [rows[name].to_pylist() for name in texts]
                count = sum(any(map(ids.in_text, row)) for row in zip(*columns, strict=True))
                found[day].update({table.name: count} if count else {})
            continue
        is_one: Any = pc.scalar(False)
        for name, wanted in zip(("session_id", "recording_id"), (ids.session_ids, ids.recording_ids), strict=True):
            if name in names:
                is_one = is_one | pc.field(name).isin(pa.array(sorted(wanted), pa.string()))
        is_one = is_one & (pc.field("subaccount_id") == ids.subaccount_id)
        if "archive_status" in table.schema.names:
            is_one = is_one & (pc.field("archive_status") != ArchiveStatus.ERASED.value)
        for day, rows in rows_by_day(connections.catalog, table, ["subaccount_id"], days, filter_=is_one):
            found[day].update({table.name: len(rows)} if len(rows) else {})
    return {day: counts for day, counts in found.items() if counts}


def days_with_responses(connections: Connections, ids: Collection[str]) -> set[date]:
    """Return the days whose stored responses or journals of transfers have one of the ids."""
    store = connections.catalog.store
    wanted = [text.encode() for one in ids for text in (one, one.replace("-", ""))]
    found = set()
    for folder in (LOOKUPS, CALL_LOGS):
        for item in store.list(folder):
            day = _day_in(item.path)
            if day is not None and day not in found:
                data = _unpacked(store, item.path).lower()
                if any(one in data for one in wanted):
                    found.add(day)
    for day in _days_with_journals(store):
        rows = TransferJournal(connections.catalog, day).known(_IDS)
        if any(pc.any(pc.is_in(rows[name], value_set=pa.array(sorted(ids), pa.string()))).as_py() for name in _IDS):
            found.add(day)
    return found


def _in_tables(connections: Connections, identifier: str, kind: str) -> Iterator[Place]:
    for table in TABLES:
        if kind in table.schema.names:
            columns = ["subaccount_id", "session_id"]
            is_one = pc.field(kind) == identifier
            if "archive_status" in table.schema.names:
                is_one = is_one & (pc.field("archive_status") != ArchiveStatus.ERASED.value)
            for day, rows in rows_by_day(connections.catalog, table, columns, None, filter_=is_one):
                for row in rows.to_pylist():
                    if row["session_id"] is not None:
                        yield Place(row["subaccount_id"], day, row["session_id"])
    for day in _days_with_journals(connections.catalog.store):
        for row in (
            TransferJournal(connections.catalog, day).known(("subaccount_id", *_IDS, "archive_status")).to_pylist()
        ):
            if row[kind] == identifier and row["archive_status"] != ArchiveStatus.ERASED.value:
                yield Place(row["subaccount_id"], day, row["session_id"])


def _in_inbox(connections: Connections, identifier: str, kind: str) -> Iterator[Place]:
    inbox = connections.inbox()
    for event in () if inbox is None else inbox.events_of(identifier):
        if event.session_id is not None and getattr(event, kind) == identifier:
            at = inbox.call_at(event.subaccount_id, event.session_id) if inbox else None
            yield Place(
                event.subaccount_id,
                day_of(at or event.first_received_at, connections.settings.zone),
                event.session_id,
            )


def _in_archive(connections: Connections, identifier: str, kind: str, near: Collection[date] | None) -> Iterator[Place]:
    """Yield where the archive has a folder of the session, or a file of the recording, on these days; None: on all."""
    store = connections.archive.store
    for account in _accounts_with_folders(connections):
        for above in (path_segment(account), f"{QUARANTINE}/{path_segment(account)}"):
            for name in store.folders(above):
                day = day_of_folder(name)
                if day is None or (near is not None and day not in near):
                    continue
                if kind == "session_id":
                    if identifier in store.folders(f"{above}/{name}"):
                        yield Place(account, day, identifier)
                    continue
                for item in store.list(f"{above}/{name}"):
                    session_id, _, file = item.path.removeprefix(f"{above}/{name}/").partition("/")
                    if file.startswith(f"{identifier}."):
                        yield Place(account, day, session_id)


def _accounts_with_folders(connections: Connections) -> list[str]:
    folders = {*connections.archive.account_folders(), *connections.archive.store.folders(QUARANTINE)}
    return sorted(map(account_of_segment, folders))


def _in_answers(connections: Connections, identifier: str, kind: str, near: Collection[date] | None) -> Iterator[Place]:
    """Yield where stored responses of these days name the id; None: of all days."""
    store = connections.catalog.store
    mark = identifier.encode()
    for item in store.list(LOOKUPS):
        day = _day_in(item.path)
        if day is None or (near is not None and day not in near) or mark not in _unpacked(store, item.path):
            continue
        for (account, session_id), lookup in connections.responses.lookups(day):
            named = {session_id} if kind == "session_id" else {one.recording_id for one in lookup.recordings}
            if identifier in named:
                yield Place(account, day, session_id)
    for item in store.list(CALL_LOGS) if kind == "session_id" else ():  # call logs name no recordings
        day = _day_in(item.path)
        if day is not None and (near is None or day in near) and mark in _unpacked(store, item.path).lower():
            account = account_of_segment(item.path.rpartition("/")[2].removesuffix(".tar.zst"))
            yield Place(account, day, identifier)


def days_in(store: Store, folder: str) -> list[date]:
    """Return the days that have an object below the folder, oldest first."""
    return sorted({day for item in store.list(folder) if (day := _day_in(item.path)) is not None})


def _near(identifier: str) -> set[date]:
    at = uuid_time(identifier)
    return set() if at is None else {at.date() + _ONE * offset for offset in (-1, 0, 1)}


def _days_with_journals(store: Store) -> set[date]:
    return set(days_in(store, journal_folder(date.min).rpartition("/")[0]))


def _day_in(path: str) -> date | None:
    return next(filter(None, map(day_of_folder, path.split("/"))), None)


def _unpacked(store: Store, path: str) -> bytes:
    """Return the bytes of a stored response, unpacked; as they are if they are damaged."""
    data = store.read(path)
    try:
        with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as unpacked:
            return bytes(unpacked.read())
    except (OSError, pa.ArrowException):
        return data


def rows_by_day(
    catalog: Catalog,
    table: Table,
    columns: list[str],
    days: Collection[date] | None,
    *,
    filter_: Any,
    last: date | None = None,
) -> Iterator[tuple[date, pa.Table]]:
    """Yield the rows of each day that pass the filter, without days that have none. A damaged table is skipped.

    `erase_from_catalog` reports one of a day that the erasure changes.
    """
    if days is None:
        try:
            rows = catalog.dataset(table, None, last).to_table(columns=[*columns, "call_date"], filter=filter_)
        except (pa.ArrowException, OSError):
            days = [day for day in catalog.days(table) if last is None or day <= last]
        else:
            named: list[Any] = rows["call_date"].unique().to_pylist()
            for day in named:
                yield day, rows.filter(pc.equal(rows["call_date"], day))
            return
    for day in days:
        try:
            rows = catalog.partition(table, day)
        except DamagedTableError:
            continue
        rows = rows if filter_ is None else rows.filter(filter_)
        if len(rows):
            yield day, rows.select(columns)

"""The days to which sessions and recordings belong: other days only mention them, as the call log of a neighbour does."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from callarchive.archiving.connections import Connections
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import pc
from callarchive.domain.models import ArchiveStatus
from callarchive.removal.day_contents import contents_of
from callarchive.removal.search import rows_by_day

_TABLES = (
    schemas.SESSION_IDS,
    schemas.SESSIONS,
    schemas.LOOKUPS,
    schemas.RECORDING_METADATA,
    schemas.RECORDING_FILES,
    schemas.RECORDINGS,
)
"""Those that have what belongs to their day."""


@dataclass
class Target:
    """The sessions that go as a whole, and the recordings, each with its session, of an account's day."""

    sessions: set[str] = field(default_factory=set)
    recordings: dict[str, str] = field(default_factory=dict)


Targets = dict[tuple[str, date], Target]
"""By subaccount_id and day."""


def at_home(connections: Connections, found: Targets) -> Targets:
    """Return the targets on the days to which they belong, with the recordings there; where no day has them, unchanged.

    Holds of days, and entries of the ledger, are about the day to which a recording belongs. Raises ArchiveError.
    """
    sessions = {(account, one) for (account, _), target in found.items() for one in target.sessions}
    recordings = {(account, one) for (account, _), target in found.items() for one in target.recordings}
    homes: Targets = defaultdict(Target)
    located: set[tuple[str, str]] = set()
    for account, day, session_id, recording_id in _rows_of(connections, sessions, recordings):
        if (account, session_id) in sessions:
            homes[account, day].sessions.add(session_id)
            located.add((account, session_id))
        if recording_id is not None:
            homes[account, day].recordings[recording_id] = session_id
            located.add((account, recording_id))
    for (account, day), target in found.items():
        lost = {one for one in target.sessions if (account, one) not in located}
        if lost:
            homes[account, day].sessions |= lost
        for recording_id, session_id in target.recordings.items():
            if (account, recording_id) not in located:
                homes[account, day].recordings[recording_id] = session_id
    return homes


def elsewhere(
    connections: Connections, subaccount_id: str, day: date, sessions: Collection[str], *, everywhere: bool
) -> dict[date, dict[str, set[str]]]:
    """Return the recordings of these sessions on neighbouring days, and by tables, if `everywhere`, on all other days."""
    found: dict[date, dict[str, set[str]]] = {}
    for near in (day + timedelta(days=offset) for offset in (-1, 1)):
        contents = contents_of(connections, subaccount_id, near).sessions
        found[near] = {one: set(contents[one]) for one in contents.keys() & set(sessions)}
    if everywhere:
        for _, other, session_id, recording_id in _rows_of(
            connections, {(subaccount_id, one) for one in sessions}, set()
        ):
            if other != day:
                of_session = found.setdefault(other, {}).setdefault(session_id, set())
                of_session |= set() if recording_id is None else {recording_id}
    return {other: of_day for other, of_day in found.items() if of_day}


def _rows_of(
    connections: Connections, sessions: Collection[tuple[str, str]], recordings: Collection[tuple[str, str]]
) -> list[tuple[str, date, str, str | None]]:
    """Return account, day, session and recording of the rows of these sessions and recordings, tombstones excepted."""
    wanted = [pa.array(sorted({one for _, one in ids}), pa.string()) for ids in (sessions, recordings)]
    found = []
    for table in _TABLES:
        names = table.schema.names
        has_recordings = "recording_id" in names
        is_one: Any = pc.field("session_id").isin(wanted[0])
        if has_recordings:
            is_one = is_one | pc.field("recording_id").isin(wanted[1])
        if "archive_status" in names:
            is_one = is_one & (pc.field("archive_status") != ArchiveStatus.ERASED.value)
        columns = ["subaccount_id", "session_id", *(["recording_id"] if has_recordings else [])]
        for day, rows in rows_by_day(connections.catalog, table, columns, None, filter_=is_one):
            for row in rows.to_pylist():
                account, session_id, recording_id = row["subaccount_id"], row["session_id"], row.get("recording_id")
                if (account, session_id) in sessions or (account, recording_id) in recordings:
                    found.append((account, day, session_id, recording_id))
    return found

"""What an erasure would remove, and what it cannot reach: for a dry run."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date

from callarchive.archiving.connections import Connections
from callarchive.custody.holds import Hold
from callarchive.domain.erased_ids import ErasedIds
from callarchive.removal.day_contents import DayContents, contents_of, files_of_day
from callarchive.removal.obstacles import distinct, held_by
from callarchive.removal.search import rows_naming


@dataclass(frozen=True)
class Planned:
    """What would go of an account's day.

    Attributes:
        rows: rows by table, of all days that name the ids.
        holds: those that forbid it.
        landing_uris: where the landing has the recordings.
    """

    subaccount_id: str
    call_date: date
    session_ids: tuple[str, ...]
    recording_ids: tuple[str, ...]
    file_count: int
    size_bytes: int
    rows: Mapping[str, int]
    event_count: int
    holds: tuple[Hold, ...]
    landing_uris: tuple[str, ...]


def planned(
    connections: Connections,
    subaccount_id: str,
    day: date,
    holds: list[Hold],
    *,
    sessions: frozenset[str],
    recordings: Mapping[str, str],
) -> Planned:
    """Return what erasing these would remove. `recordings` has the session of each single recording. Raises ArchiveError."""
    contents = contents_of(connections, subaccount_id, day)
    wanted = wanted_of(connections, contents, subaccount_id, sessions, recordings)
    ids = ErasedIds(subaccount_id, sessions, frozenset(one for found in wanted.values() for one in found))
    files = [
        item.size_bytes
        for item, session_id, recording_id in files_of_day(connections, subaccount_id, day)
        if session_id in ids.session_ids or recording_id in ids.recording_ids
    ]
    rows: Counter[str] = Counter()
    for counts in rows_naming(connections, ids).values():
        rows.update(counts)
    inbox = connections.inbox()
    events = {event.number for one in ids.all for event in (() if inbox is None else inbox.events_of(one))}
    return Planned(
        subaccount_id,
        day,
        tuple(sorted(wanted)),
        tuple(sorted(ids.recording_ids)),
        len(files),
        sum(files),
        dict(sorted(rows.items())),
        len(events),
        tuple(distinct(held_by(holds, subaccount_id, day, wanted))),
        uris_of(connections, subaccount_id, [p for one, p in contents.sources.items() if one in ids.recording_ids]),
    )


def wanted_of(
    connections: Connections,
    contents: DayContents,
    subaccount_id: str,
    sessions: Collection[str],
    recordings: Mapping[str, str],
) -> dict[str, set[str]]:
    """Return the recordings that go of each session: of whole ones also those that only events name.

    `recordings` has the session of each recording that goes, whatever the day has of it.
    """
    wanted = {one: set(contents.sessions.get(one, ())) for one in sessions}
    for recording_id, session_id in recordings.items():
        wanted.setdefault(session_id, set()).add(recording_id)
    inbox = connections.inbox()
    for event in () if inbox is None or not sessions else inbox.recordings(subaccount_id, sessions):
        if event.session_id in wanted:
            wanted[event.session_id].add(event.recording_id)
    return wanted


def uris_of(connections: Connections, subaccount_id: str, paths: "list[str] | frozenset[str]") -> tuple[str, ...]:
    """Return the URIs of objects in the account's landing; none if the account is not in the configuration."""
    for account in connections.settings.accounts if paths else ():
        if account.subaccount_id == subaccount_id:
            landing = connections.landings.of(account)
            return tuple(sorted(landing.uri_of(path) for path in paths))
    return ()

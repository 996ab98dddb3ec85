"""Everything that is known of one session or recording, link by link, from its sources to the checks of its day.

What the links are and which hold is in `passport_links`. Nothing is asked of 8x8 or a landing; kept files are read and
hashed. Phone numbers are masked, whatever the account's setting.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import pyarrow.compute as pc

from callarchive.archiving.connections import Connections
from callarchive.catalog import schemas
from callarchive.catalog.rows import Row
from callarchive.catalog.schemas import Table
from callarchive.domain.days import day_of
from callarchive.domain.errors import ObjectNotFoundError, StoreError, UnavailableError
from callarchive.domain.foreign_text import MASK, cleaned
from callarchive.domain.identifiers import parse_id, uuid_time
from callarchive.domain.models import Lookup
from callarchive.domain.phone_numbers import HASH_PREFIX, mask_json
from callarchive.events.inbox.events import payload_to_keep
from callarchive.monitoring.evaluation import run_checks
from callarchive.monitoring.trace_steps import (
    Link,
    LinkState,
    broken_at,
    checks_link,
    events_link,
    reconciliation_link,
    recording_links,
    session_links,
)

_ANSWER_CHARS = 16 * 1024
_OF_FILES = ("source_size_bytes", "source_etag", "source_modified_at", "frame_count", "versions", "versions_sha256")


@dataclass(frozen=True)
class Passport:
    """One session with its recordings.

    Attributes:
        call_date: the session's day; null where nothing dates it.
        session: its row of `sessions`; where only events know it, account and id alone.
        answer: 8x8's last answer for the session as it came; null when none is kept.
        links: those of the session and its day.
        recordings: rows of `recordings` with what `recording_files` adds, `file_state` (`intact`, `changed`, `gone`, or null
            where no file is kept) and `links`, the recording's own.
        broken_at: the first link of the whole chain that does not hold, in words; null when all do.
    """

    call_date: date | None
    session: Row
    answer: str | None
    links: tuple[Link, ...]
    recordings: tuple[Row, ...]
    broken_at: str | None


def find(connections: Connections, text: str) -> list[Passport]:
    """Passports of the session or recording with that id; empty when neither the catalog nor the inbox knows it.

    Raises:
        InvalidIdError: the text is not an id.
        UnavailableError, StoreError: the catalog cannot be read; or the inbox, where the catalog does not know the id.
    """
    wanted = parse_id(text, kind="session or recording id")
    found = _rows_with(connections, schemas.SESSIONS, "session_id", wanted)
    if not found:
        for row in _rows_with(connections, schemas.RECORDINGS, "recording_id", wanted):
            day = row["call_date"]
            sessions = _rows_with(connections, schemas.SESSIONS, "session_id", row["session_id"], days=[day])
            # Another account may have a session of the same id: it is not this recording's.
            found += [session for session in sessions if session["subaccount_id"] == row["subaccount_id"]]
    if found:
        return [_passport(connections, session) for session in found]
    return _known_by_events(connections, wanted)


def _passport(connections: Connections, session: Row) -> Passport:
    day: date = session.pop("call_date")
    for name in ("source_number", "destination_number"):
        session[name] = _masked(session[name])
    account, session_id = session["subaccount_id"], session["session_id"]
    lookup: Lookup | None = connections.responses.load_lookups(day).get((account, session_id))
    answer = None if lookup is None or lookup.body is None else cleaned(lookup.body, limit=_ANSWER_CHARS)
    rows = [
        row
        for row in _rows_with(connections, schemas.RECORDINGS, "session_id", session_id, days=[day])
        if row["subaccount_id"] == account
    ]
    recordings = tuple(_recording(connections, day, row, session) for row in rows)
    events: list[Row] = []
    inbox_error = None
    try:
        events = [event for event in _events(connections, [session_id]) if event["subaccount_id"] == account]
    except (StoreError, UnavailableError) as err:  # the rest of the chain is told all the same
        inbox_error = str(err)
    reconciled = _reconciled(connections, day, session, rows)
    settings = connections.settings
    checks = run_checks(
        connections.catalog,
        day,
        limits=settings.checks,
        transfer=settings.transfer,
        landings=settings.landings,
    )
    failed = {check.name: check.summary for check in checks if not check.passed}
    from_source_to_answer = list(session_links(session, events=events, answer=answer, inbox_error=inbox_error))
    of_the_day = [reconciliation_link(reconciled), checks_link(failed, run=len(checks))]
    chain = [*from_source_to_answer, *(link for found in recordings for link in _named(found)), *of_the_day]
    return Passport(
        call_date=day,
        session=session,
        answer=answer,
        links=(*from_source_to_answer, *of_the_day),
        recordings=recordings,
        broken_at=broken_at(chain),
    )


def _named(recording: Row) -> list[Link]:
    """The recording's links with its id in their names: a session may have several."""
    name = f"recording {recording['recording_id']}"
    return [Link(f"{name}: {link.name}", link.state, link.told, link.facts) for link in recording["links"]]


def _recording(connections: Connections, day: date, row: Row, session: Row) -> Row:
    row.pop("call_date")
    files = connections.catalog.rows(schemas.RECORDING_FILES, day)
    key = (row["subaccount_id"], row["recording_id"])
    file = next((file for file in files if (file["subaccount_id"], file["recording_id"]) == key), None)
    recording = {**row, "file_state": None}
    versions: list[Row] = []
    if file is not None:
        recording |= {name: file[name] for name in _OF_FILES if name != "versions"}
        if file["archive_path"] is not None:
            recording["file_state"] = _state_of(connections, file["archive_path"], file["sha256"])
        versions = [
            {
                "uri": connections.archive.store.uri(path),
                "sha256": sha256,
                "state": _state_of(connections, path, sha256),
            }
            for path, sha256 in zip(file["versions"] or (), file["versions_sha256"] or (), strict=False)
        ]
    links = recording_links(recording, versions=versions, call_duration_s=session["call_duration_s"])
    return {**recording, "links": tuple(links)}


def _state_of(connections: Connections, path: str, sha256: str) -> str:
    try:
        return "intact" if connections.archive.sha256_of(path) == sha256 else "changed"
    except ObjectNotFoundError:
        return "gone"


def _reconciled(connections: Connections, day: date, session: Row, recordings: Iterable[Row]) -> list[Row]:
    ids = {row["recording_id"] for row in recordings}
    return [
        row
        for row in connections.catalog.rows(schemas.RECONCILIATION, day)
        if row["subaccount_id"] == session["subaccount_id"]
        and (row["session_id"] == session["session_id"] or row["recording_id"] in ids)
    ]


def _known_by_events(connections: Connections, wanted: str) -> list[Passport]:
    """Sessions that the catalog does not have, and of which the inbox knows by an event."""
    events = _events(connections, [wanted])
    found = sorted({(event["subaccount_id"], event["session_id"]) for event in events if event["session_id"]})
    return [
        passport
        for account, session_id in found
        for passport in (
            _without_recording(connections, account, session_id, wanted)
            or [_unarchived(connections, account, session_id)]
        )
    ]


def _without_recording(connections: Connections, account: str, session_id: str, recording_id: str) -> list[Passport]:
    """The passport of a session that the catalog has, and of which an event names a recording that it does not have."""
    told = "an event names it, and 8x8's last answer did not: callarchive archive --day {}"
    found = []
    for session in _rows_with(connections, schemas.SESSIONS, "session_id", session_id):
        if session["subaccount_id"] != account:
            continue
        passport = _passport(connections, session)
        link = Link(f"recording {recording_id}", LinkState.BROKEN, told.format(passport.call_date))
        links = (*passport.links[:-2], link, *passport.links[-2:])
        found.append(replace(passport, links=links, broken_at=broken_at(links)))
    return found


def _unarchived(connections: Connections, account: str, session_id: str) -> Passport:
    events = [event for event in _events(connections, [session_id]) if event["subaccount_id"] == account]
    inbox = connections.inbox()
    at = None if inbox is None else inbox.call_at(account, session_id)
    day = None if at is None else day_of(at, connections.settings.zone)
    if day is None:
        told = "nothing tells the session's day, so no day has it"
    elif connections.catalog.has(schemas.SESSIONS, day):
        told = f"{day} was archived and does not have the session: has the account a source of kind inbox? Archive it again"
    else:
        told = f"{day} has not been archived: callarchive archive --day {day}"
    links = (events_link(events), Link("sessions", LinkState.BROKEN, told))
    session = {"subaccount_id": account, "session_id": session_id}
    return Passport(day, session, None, links, (), broken_at(links))


def _events(connections: Connections, identifiers: Iterable[str]) -> list[Row]:
    """What the inbox holds of these ids, oldest first; none where there is no inbox."""
    inbox = connections.inbox()
    if inbox is None:
        return []
    found = {event.number: event for identifier in identifiers for event in inbox.events_of(identifier)}
    return [
        {
            "number": number,
            "subaccount_id": event.subaccount_id,
            "session_id": event.session_id,
            "recording_id": event.recording_id,
            "kind": event.kind,
            "first_received_at": event.first_received_at,
            "last_received_at": event.last_received_at,
            "delivery_count": event.delivery_count,
            "payload": _without_numbers(payload_to_keep(event.payload)),
        }
        for number, event in sorted(found.items())
    ]


def _masked(number: Any) -> Any:
    """A hash stays: it names nobody."""
    return number if number is None or str(number).startswith(HASH_PREFIX) else MASK


def _without_numbers(payload: str) -> str:
    """The payload with every field that holds a number masked, however short: a number need not look like one."""
    return json.dumps(mask_json(json.loads(payload), _masked), ensure_ascii=False)


def _rows_with(
    connections: Connections, table: Table, column: str, value: str, *, days: list[date] | None = None
) -> list[Row]:
    """Rows of the table in which the column has that value; the days near the id's own time are looked at first."""
    at = uuid_time(value)
    tries: list[list[date] | None] = [days] if days is not None else [None]
    if days is None and at is not None:
        tries.insert(0, [at.date() + timedelta(days=offset) for offset in (-1, 0, 1)])
    for near in tries:
        first, last = (near[0], near[-1]) if near else (None, None)
        dataset = connections.catalog.dataset(table, first, last)
        rows: list[Row] = dataset.to_table(filter=pc.field(column) == value).to_pylist()
        if rows:
            return rows
    return []

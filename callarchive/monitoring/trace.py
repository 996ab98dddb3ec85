"""The trace of a session or recording, step by step, from its sources to the checks of its day. See `trace_steps`.

Neither 8x8 nor a landing is contacted; archived files are read and hashed. Phone numbers are always masked.
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
from callarchive.domain.identifiers import parse_id, plain_id, uuid_time
from callarchive.domain.models import Lookup
from callarchive.domain.phone_numbers import HASH_PREFIX, mask_json
from callarchive.events.inbox.events import payload_to_keep
from callarchive.monitoring.evaluation import run_checks
from callarchive.monitoring.trace_steps import (
    Step,
    StepState,
    broken_at,
    checks_step,
    events_step,
    reconciliation_step,
    recording_steps,
    session_steps,
)

_RESPONSE_CHARS = 16 * 1024
_FILE_COLUMNS = ("source_size_bytes", "source_etag", "source_modified_at", "frame_count", "versions", "versions_sha256")


@dataclass(frozen=True)
class Trace:
    """A session with its recordings.

    Attributes:
        call_date: the session's day; None if unknown.
        session: its row of `sessions`; only account and id if only events name it.
        answer: 8x8's last response for the session, unchanged; None if none is stored.
        links: the steps of the session and its day.
        recordings: rows of `recordings` with columns of `recording_files`, `file_state` (`intact`, `changed`, `gone`, or
            None without a file) and `links`, the steps of the recording.
        broken_at: the first of all steps that failed or is waiting; None if there is none.
    """

    call_date: date | None
    session: Row
    answer: str | None
    links: tuple[Step, ...]
    recordings: tuple[Row, ...]
    broken_at: str | None

    def document(self) -> dict[str, Any]:
        """Return the trace as `callarchive find --json` prints it."""
        recordings = [{**row, "links": [step.document() for step in row["links"]]} for row in self.recordings]
        return {**vars(self), "links": [step.document() for step in self.links], "recordings": recordings}


def find(connections: Connections, text: str) -> list[Trace]:
    """Return the traces of the session or recording with this id; empty if neither the catalog nor the inbox has it.

    Raises:
        InvalidIdError: The text is not an id.
        UnavailableError, StoreError: The catalog cannot be read; or the inbox, if the catalog does not have the id.
    """
    wanted = parse_id(plain_id(text), kind="session or recording id")
    found = _rows_with(connections, schemas.SESSIONS, "session_id", wanted)
    if not found:
        for row in _rows_with(connections, schemas.RECORDINGS, "recording_id", wanted):
            day = row["call_date"]
            sessions = _rows_with(connections, schemas.SESSIONS, "session_id", row["session_id"], days=[day])
            # Another account may have a session with the same id, which is not this recording's.
            found += [session for session in sessions if session["subaccount_id"] == row["subaccount_id"]]
    if found:
        return [_trace(connections, session) for session in found]
    return _known_by_events(connections, wanted)


def _trace(connections: Connections, session: Row) -> Trace:
    day: date = session.pop("call_date")
    for name in ("source_number", "destination_number"):
        session[name] = _masked(session[name])
    account, session_id = session["subaccount_id"], session["session_id"]
    lookup: Lookup | None = connections.responses.load_lookups(day).get((account, session_id))
    answer = None if lookup is None or lookup.body is None else cleaned(lookup.body, limit=_RESPONSE_CHARS)
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
    except (StoreError, UnavailableError) as err:  # the rest is still shown
        inbox_error = str(err)
    reconciled = _reconciled(connections, day, session, rows)
    checks = run_checks(connections.catalog, day, connections.settings)
    failed = {check.name: check.summary for check in checks if not check.passed}
    steps = list(session_steps(session, events=events, answer=answer, inbox_error=inbox_error))
    day_steps = [reconciliation_step(reconciled), checks_step(failed, run=len(checks))]
    all_steps = [*steps, *(step for found in recordings for step in _named(found)), *day_steps]
    return Trace(
        call_date=day,
        session=session,
        answer=answer,
        links=(*steps, *day_steps),
        recordings=recordings,
        broken_at=broken_at(all_steps),
    )


def _named(recording: Row) -> list[Step]:
    """Return the recording's steps with its id in their names: a session may have several recordings."""
    name = f"recording {recording['recording_id']}"
    return [replace(step, name=f"{name}: {step.name}") for step in recording["links"]]


def _recording(connections: Connections, day: date, row: Row, session: Row) -> Row:
    row.pop("call_date")
    files = connections.catalog.rows(schemas.RECORDING_FILES, day)
    key = (row["subaccount_id"], row["recording_id"])
    file = next((file for file in files if (file["subaccount_id"], file["recording_id"]) == key), None)
    recording = {**row, "file_state": None}
    versions: list[Row] = []
    if file is not None:
        recording |= {name: file[name] for name in _FILE_COLUMNS if name != "versions"}
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
    steps = recording_steps(recording, versions=versions, call_duration_s=session["call_duration_s"])
    return {**recording, "links": tuple(steps)}


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


def _known_by_events(connections: Connections, wanted: str) -> list[Trace]:
    """Return traces of sessions that only events in the inbox name."""
    events = _events(connections, [wanted])
    found = sorted({(event["subaccount_id"], event["session_id"]) for event in events if event["session_id"]})
    return [
        trace
        for account, session_id in found
        for trace in (
            _without_recording(connections, account, session_id, wanted)
            or [_unarchived(connections, account, session_id)]
        )
    ]


def _without_recording(connections: Connections, account: str, session_id: str, recording_id: str) -> list[Trace]:
    """Return the trace of a session in the catalog with a recording that only an event names."""
    found = []
    for session in _rows_with(connections, schemas.SESSIONS, "session_id", session_id):
        if session["subaccount_id"] != account:
            continue
        trace = _trace(connections, session)
        detail = f"an event names it, 8x8's last response did not: callarchive archive --day {trace.call_date}"
        step = Step(f"recording {recording_id}", StepState.BROKEN, detail)
        steps = (*trace.links[:-2], step, *trace.links[-2:])
        found.append(replace(trace, links=steps, broken_at=broken_at(steps)))
    return found


def _unarchived(connections: Connections, account: str, session_id: str) -> Trace:
    events = [event for event in _events(connections, [session_id]) if event["subaccount_id"] == account]
    inbox = connections.inbox()
    at = None if inbox is None else inbox.call_at(account, session_id)
    day = None if at is None else day_of(at, connections.settings.zone)
    if day is None:
        detail = "the session's day is unknown, so no day has it"
    elif connections.catalog.has(schemas.SESSIONS, day):
        detail = (
            f"{day} was archived without the session: does the account have a source of kind inbox? Archive it again"
        )
    else:
        detail = f"{day} has not been archived: callarchive archive --day {day}"
    steps = (events_step(events), Step("sessions", StepState.BROKEN, detail))
    session = {"subaccount_id": account, "session_id": session_id}
    return Trace(day, session, None, steps, (), broken_at(steps))


def _events(connections: Connections, identifiers: Iterable[str]) -> list[Row]:
    """Return the events of these ids in the inbox, oldest first."""
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
    """Return a mask in place of a number. A hash stays, because it identifies nobody."""
    return number if number is None or str(number).startswith(HASH_PREFIX) else MASK


def _without_numbers(payload: str) -> str:
    """Return the payload with every number field masked: a short number does not look like one."""
    return json.dumps(mask_json(json.loads(payload), _masked), ensure_ascii=False)


def _rows_with(
    connections: Connections, table: Table, column: str, value: str, *, days: list[date] | None = None
) -> list[Row]:
    """Return the rows with this value in the column. Days near the time in the id are read first."""
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

"""The trace of a session or recording, step by step, from its sources to the checks of its day. See `trace_steps`.

Neither 8x8 nor a landing is contacted; archived files are read and hashed. Phone numbers are always masked.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from functools import reduce
from operator import and_
from typing import Any

import pyarrow.compute as pc

from callarchive.archiving.connections import Connections
from callarchive.archiving.steps.account_failures import account_failures
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
from callarchive.ledger.redaction import ERASED, LedgerReader
from callarchive.monitoring.evaluation import run_checks
from callarchive.monitoring.trace_steps import (
    Step,
    StepState,
    broken_at,
    checks_step,
    events_step,
    latest_run_step,
    reconciliation_step,
    recording_steps,
    session_steps,
)

_RESPONSE_CHARS = 16 * 1024
_FILE_COLUMNS = ("source_size_bytes", "source_etag", "source_modified_at", "frame_count", "versions_sha256")


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

    Raises InvalidIdError if the text is no id, StoreError or UnavailableError if the catalog or a needed inbox cannot be read.
    """
    wanted = parse_id(plain_id(text), kind="session or recording id")
    found = rows_with(connections, schemas.SESSIONS, session_id=wanted)
    if not found:
        for row in rows_with(connections, schemas.RECORDINGS, recording_id=wanted):
            # Another account may have a session with the same id, which is not this recording's.
            own = {name: row[name] for name in schemas.SESSIONS.key}
            found += rows_with(connections, schemas.SESSIONS, day=row["call_date"], **own)
    if found:
        return [_trace(connections, session) for session in found]
    return _known_by_events(connections, wanted)


def erasures_of(connections: Connections, text: str) -> list[Row]:
    """Return each erasure of this id, with the reason that the ledger has, or None. Raises ArchiveError."""
    found = connections.register.find(parse_id(plain_id(text), kind="session or recording id"))
    entries = LedgerReader(connections.ledger).entries(ERASED) if found else ()
    reasons = {entry.facts.get("erasure"): entry.facts.get("reason") for entry in entries}
    return [{**asdict(one), "reason": reasons.get(one.erasure_id)} for one in found]


def _trace(connections: Connections, session: Row) -> Trace:
    day: date = session.pop("call_date")
    for name in ("source_number", "destination_number"):
        session[name] = _masked(session[name])
    account, session_id = session["subaccount_id"], session["session_id"]
    lookup: Lookup | None = connections.responses.load_lookups(day).get((account, session_id))
    answer = None if lookup is None or lookup.body is None else cleaned(lookup.body, limit=_RESPONSE_CHARS)
    rows = rows_with(connections, schemas.RECORDINGS, day=day, subaccount_id=account, session_id=session_id)
    recordings = tuple(_recording(connections, day, row, session) for row in rows)
    events, inbox_error = list[Row](), None
    try:
        events = _events(connections, session_id, account)
    except (StoreError, UnavailableError) as err:  # the rest is still shown
        inbox_error = str(err)
    reconciled = _reconciled(connections, day, session, rows)
    checks = run_checks(connections.catalog, day, connections.settings)
    failed = {check.name: check.summary for check in checks if not check.passed}
    steps = list(session_steps(session, events=events, answer=answer, inbox_error=inbox_error))
    failures = [item for item in account_failures(connections.catalog, day) if item.subaccount_id == account]
    day_steps = [
        *map(latest_run_step, failures),
        reconciliation_step(reconciled),
        checks_step(failed, run=len(checks)),
    ]
    all_steps = [*steps, *(step for found in recordings for step in _named(found)), *day_steps]
    return Trace(day, session, answer, (*steps, *day_steps), recordings, broken_at(all_steps))


def _named(recording: Row) -> list[Step]:
    """Return the recording's steps with its id in their names: a session may have several recordings."""
    name = f"recording {recording['recording_id']}"
    return [replace(step, name=f"{name}: {step.name}") for step in recording["links"]]


def _recording(connections: Connections, day: date, row: Row, session: Row) -> Row:
    row.pop("call_date")
    key = {name: row[name] for name in schemas.RECORDING_FILES.key}
    recording = {**row, "file_state": None}
    versions: list[Row] = []
    for file in connections.catalog.partition(schemas.RECORDING_FILES, day).filter(_are(key)).to_pylist():
        recording |= {name: file[name] for name in _FILE_COLUMNS}
        if file["archive_path"] is not None:
            recording["file_state"] = _state_of(connections, file["archive_path"], file["sha256"])
        uri_of = connections.archive.store.uri
        versions = [
            {"uri": uri_of(path), "sha256": sha256, "state": _state_of(connections, path, sha256)}
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
    events = _events(connections, wanted)
    traces: list[Trace] = []
    for account, session_id in sorted(
        {(row["subaccount_id"], row["session_id"]) for row in events if row["session_id"]}
    ):
        sessions = rows_with(connections, schemas.SESSIONS, subaccount_id=account, session_id=session_id)
        traces += [_without_recording(connections, session, wanted) for session in sessions]
        if not sessions:
            traces.append(_unarchived(connections, account, session_id))
    return traces


def _without_recording(connections: Connections, session: Row, recording_id: str) -> Trace:
    """Return the trace of a session in the catalog with a recording that only an event names."""
    trace = _trace(connections, session)
    detail = f"an event names it, 8x8's last response did not: callarchive archive --day {trace.call_date}"
    step = Step(f"recording {recording_id}", StepState.BROKEN, detail)
    steps = (*trace.links[:-2], step, *trace.links[-2:])
    return replace(trace, links=steps, broken_at=broken_at(steps))


def _unarchived(connections: Connections, account: str, session_id: str) -> Trace:
    inbox = connections.inbox()
    at = None if inbox is None else inbox.call_at(account, session_id)
    day = None if at is None else day_of(at, connections.settings.zone)
    if day is None:
        detail = "the session's day is unknown, so no day has it"
    elif connections.catalog.has(schemas.SESSIONS, day):
        why = "does the account have a source of kind inbox? Archive it again"
        detail = f"{day} was archived without the session: {why}"
    else:
        detail = f"{day} has not been archived: callarchive archive --day {day}"
    steps = (events_step(_events(connections, session_id, account)), Step("sessions", StepState.BROKEN, detail))
    session = {"subaccount_id": account, "session_id": session_id}
    return Trace(day, session, None, steps, (), broken_at(steps))


def _events(connections: Connections, identifier: str, account: str | None = None) -> list[Row]:
    """Return the events with this id in the inbox, of one account or of all, oldest first."""
    inbox = connections.inbox()
    found = {} if inbox is None else {event.number: event for event in inbox.events_of(identifier)}
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
            # Every number field is masked: a short number does not look like one.
            "payload": json.dumps(mask_json(json.loads(payload_to_keep(event.payload)), _masked), ensure_ascii=False),
        }
        for number, event in sorted(found.items())
        if account in (None, event.subaccount_id)
    ]


def _masked(number: Any) -> Any:
    """Return a mask in place of a number. A hash stays, because it identifies nobody."""
    return number if number is None or str(number).startswith(HASH_PREFIX) else MASK


def _are(values: dict[str, str]) -> Any:
    return reduce(and_, (pc.field(name) == value for name, value in values.items()))


def rows_with(connections: Connections, table: Table, *, day: date | None = None, **values: str) -> list[Row]:
    """Return the rows with these values and their call_date: of the day, else of days near the id's time, else of any."""
    at = uuid_time(values.get("recording_id") or values["session_id"])
    spans: list[tuple[date | None, date | None]] = [(day, day)]
    if day is None and at is not None:
        spans.insert(0, (at.date() - timedelta(days=1), at.date() + timedelta(days=1)))
    for first, last in spans:
        rows: list[Row] = connections.catalog.dataset(table, first, last).to_table(filter=_are(values)).to_pylist()
        if rows:
            return rows
    return []

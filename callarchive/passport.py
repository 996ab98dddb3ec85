"""Everything that is known of one session or recording, link by link, from its sources to the bytes in the archive."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow.compute as pc

from callarchive import schemas
from callarchive.connections import Connections
from callarchive.errors import ObjectNotFoundError
from callarchive.identifiers import parse_id, uuid_time
from callarchive.models import Lookup
from callarchive.phone_numbers import mask_numbers
from callarchive.records import Row
from callarchive.schemas import Table


@dataclass(frozen=True)
class Passport:
    """One session with its recordings.

    Attributes:
        answer: 8x8's last answer for the session as it came; null when none is kept.
        recordings: rows of `recordings` with what `recording_files` adds and `file_state`: `intact`, `changed`,
            `gone`, or null where no file is kept.
        broken_at: the first link that does not hold, in words; null when all do.
    """

    call_date: date
    session: Row
    answer: str | None
    recordings: tuple[Row, ...]
    broken_at: str | None


def find(connections: Connections, text: str) -> list[Passport]:
    """Passports of the session or recording with that id; empty when the catalog does not know it.

    Nothing is asked of 8x8 or a landing; kept files are read and hashed.

    Raises:
        InvalidIdError: the text is not an id.
    """
    wanted = parse_id(text, kind="session or recording id")
    found = _rows_with(connections, schemas.SESSIONS, "session_id", wanted)
    if not found:
        for row in _rows_with(connections, schemas.RECORDINGS, "recording_id", wanted):
            day = row["call_date"]
            sessions = _rows_with(connections, schemas.SESSIONS, "session_id", row["session_id"], days=[day])
            # Another account may have a session of the same id: it is not this recording's.
            found += [session for session in sessions if session["subaccount_id"] == row["subaccount_id"]]
    return [_passport(connections, session) for session in found]


def _passport(connections: Connections, session: Row) -> Passport:
    day: date = session.pop("call_date")
    key = (session["subaccount_id"], session["session_id"])
    answer: Lookup | None = connections.answers.load_lookups(day).get(key)
    recordings = []
    for row in _rows_with(connections, schemas.RECORDINGS, "session_id", session["session_id"], days=[day]):
        if row["subaccount_id"] == session["subaccount_id"]:
            row.pop("call_date")
            recordings.append({**row, **_file(connections, day, row)})
    return Passport(
        call_date=day,
        session=session,
        answer=None if answer is None or answer.body is None else mask_numbers(answer.body),
        recordings=tuple(recordings),
        broken_at=next(_broken_links(session, recordings), None),
    )


def _file(connections: Connections, day: date, recording: Row) -> dict[str, Any]:
    files = connections.catalog.rows(schemas.RECORDING_FILES, day)
    key = (recording["subaccount_id"], recording["recording_id"])
    row = next((file for file in files if (file["subaccount_id"], file["recording_id"]) == key), None)
    if row is None or row["archive_path"] is None:
        return {"file_state": None}
    told = {name: row[name] for name in ("source_size_bytes", "source_etag", "source_modified_at", "frame_count")}
    try:
        intact = connections.archive.sha256_of(row["archive_path"]) == row["sha256"]
    except ObjectNotFoundError:
        return {**told, "file_state": "gone"}
    return {**told, "file_state": "intact" if intact else "changed"}


def _broken_links(session: Row, recordings: list[Row]) -> Iterator[str]:
    if session["lookup_status"] == "error":
        yield f"look-up at 8x8: {session['lookup_error']}"
    if session["lookup_status"] == "not_found":
        yield "look-up at 8x8: 8x8 does not know the session"
    for row in recordings:
        name = f"recording {row['recording_id']}"
        if row["archive_status"] != "archived":
            yield f"{name}: {row['archive_status']}: {row['error']}"
        elif row["file_state"] != "intact":
            yield f"{name}: the archived file is {row['file_state']}"
        elif row["audio_issue"] is not None:
            yield f"{name}: audio is {row['audio_issue']}: {row['audio_issue_detail']}"
        elif row["duration_mismatch"]:
            yield f"{name}: {row['duration_s']:.1f} s measured, 8x8 says otherwise"


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

"""Events of the day's recordings are ingested from the inbox and never lost."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from callarchive.archiving.transforms.recording_events import (
    event_columns,
    inbox_events,
    merged_events,
    named_by_api,
    with_recordings_of_events,
    write_recording_events,
)
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.schemas import RECORDING_EVENTS, RECORDING_METADATA, SESSION_IDS
from callarchive.events.inbox.events import read_event
from callarchive.events.inbox.inbox import Inbox

DAY = date(2026, 11, 1)
AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
S1, S2 = (f"11111111-1111-4111-8111-11111111111{n}" for n in (1, 2))
R1, R2, R3 = (f"22222222-1111-4111-8111-11111111111{n}" for n in (1, 2, 3))

Row = dict[str, Any]


def event(recording_id: str = R1, session_id: str = S1, account: str = "acme_sg", **facts: Any) -> Row:
    row: Row = dict.fromkeys(RECORDING_EVENTS.schema.names)
    row |= {"subaccount_id": account, "session_id": session_id, "recording_id": recording_id}
    return row | {"event_status": "UPLOAD_COMPLETED", "first_received_at": AT} | facts


def events(*rows: Row) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=RECORDING_EVENTS.schema)


def metadata(*rows: Row) -> pa.Table:
    named = {"subaccount_id": "acme_sg", "session_id": S1, "api_status": "PROCESSING"}
    return pa.Table.from_pylist([named | row for row in rows], schema=RECORDING_METADATA.schema)


def sessions(*keys: tuple[str, str]) -> pa.Table:
    rows = [{"subaccount_id": account, "session_id": session_id} for account, session_id in keys]
    return pa.Table.from_pylist(rows, schema=SESSION_IDS.schema)


OWN = sessions(("acme_sg", S1), ("acme_sg", S2))


def test_the_more_advanced_status_wins_and_its_nulls_are_filled_from_the_other() -> None:
    ahead = event(event_status="CALLBACK_COMPLETED", event_status_raw="done", duration_event_s=3.0)
    behind = event(event_status_raw="up", file_path="a.mp3", duration_event_s=4.0, first_received_at=AT - timedelta(1))
    merged = ahead | {"file_path": "a.mp3", "first_received_at": AT - timedelta(1)}
    assert merged_events(events(ahead), events(behind)).to_pylist() == [merged]
    assert merged_events(events(behind), events(ahead)).to_pylist() == [merged]


def test_earlier_events_stay_and_new_ones_are_added() -> None:
    merged = merged_events(events(event(R1), event(R2)), events(event(R1), event(R3), event(R1, account="other")))
    keys = [(row["subaccount_id"], row["recording_id"]) for row in merged.to_pylist()]
    assert sorted(keys) == [("acme_sg", R1), ("acme_sg", R2), ("acme_sg", R3), ("other", R1)]


def test_a_recording_named_only_by_an_event_belongs_to_the_day() -> None:
    named = events(event(R1, event_status_raw="x"), event(R2), event(R3, session_id="not the day's"))
    rows = with_recordings_of_events(metadata({"recording_id": R1}), named, sessions=OWN).to_pylist()
    assert [(row["recording_id"], row["api_status"], row["only_by_event"]) for row in rows] == [
        (R1, "PROCESSING", None),
        (R2, "UPLOAD_COMPLETED", True),
    ]
    assert rows[1]["external_file_url"] is None
    assert rows[1]["duration_api_s"] is None
    both = with_recordings_of_events(metadata({"recording_id": R1}), named, sessions=OWN)
    assert named_by_api(both).to_pylist() == metadata({"recording_id": R1}).to_pylist()


def test_an_event_of_another_account_is_ignored() -> None:
    ours = metadata({"recording_id": R1})
    assert with_recordings_of_events(ours, events(event(R2, account="other")), sessions=OWN).equals(ours)
    assert event_columns(ours, events(event(R1, account="other", file_path="x")), ["file_path"])[
        "file_path"
    ].to_pylist() == [None]


class Day:
    """A catalog and an inbox."""

    def __init__(self, folder: Path) -> None:
        self.catalog = Catalog.open(folder / "catalog")
        self.now = AT
        self.inbox = Inbox.open(f"sqlite:///{folder / 'inbox.sqlite3'}", clock=lambda: self.now)

    def receive(self, recording_id: str, session_id: str = S1, *, account: str = "acme_sg", **payload: Any) -> None:
        fields = {"sessionId": session_id, "recordingId": recording_id, "status": "UPLOAD_COMPLETED", **payload}
        body = json.dumps({"eventType": "CALL_RECORDING_STATUS", "payload": fields}).encode()
        self.inbox.add([(account, read_event(body, subaccount_id=account, mask=lambda number: number))])

    def write(self, *, inbox: bool = True, of: pa.Table = OWN) -> list[Row]:
        new = inbox_events(self.inbox, of) if inbox else None
        count = write_recording_events(self.catalog, DAY, new, sessions=of)
        rows = self.catalog.rows(RECORDING_EVENTS, DAY)
        assert len(rows) == count
        return rows


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    day = Day(tmp_path)
    yield day
    day.inbox.close()


def test_events_of_the_days_sessions_are_ingested(day: Day) -> None:
    day.receive(R1, durationSeconds=33, filePath="/a/b:c.mp3")
    day.receive(R2, S2, status="soon")
    day.receive(R3, R3)
    day.receive(R3, account="other")
    assert day.write() == [
        event(
            R1,
            event_status_raw="UPLOAD_COMPLETED",
            duration_event_s=33.0,
            file_path="/a/b:c.mp3",
        ),
        event(R2, S2, event_status="UNKNOWN", event_status_raw="soon"),
    ]


def test_ingested_events_stay_when_the_inbox_is_pruned_or_gone(day: Day) -> None:
    day.receive(R1, durationSeconds=33)
    before = day.write()
    day.inbox.prune(AT + timedelta(days=1))
    assert day.write() == before
    assert day.write(inbox=False) == before
    day.now += timedelta(days=2)
    day.receive(R1, status="PROCESSING_FAILED")
    assert day.write() == before


def test_the_events_of_a_session_move_with_it_to_another_day(day: Day) -> None:
    day.receive(R1)
    day.receive(R2, S2)
    day.write()
    assert [row["recording_id"] for row in day.write(inbox=False, of=sessions(("acme_sg", S2)))] == [R2]


def test_a_day_without_events_has_no_partition(day: Day) -> None:
    assert day.write() == []
    assert not day.catalog.has(RECORDING_EVENTS, DAY)

"""The table `reconciliation`: each kind of discrepancy opens, stays, is resolved when it fits, and opens again."""

import json
import logging
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from callarchive.archiving.connections import Connections
from callarchive.archiving.steps.day_steps import DAY_STEPS
from callarchive.archiving.steps.lost_files import rows_without_file
from callarchive.archiving.steps.open_findings import OpenFindings
from callarchive.archiving.steps.reports import StepReport
from callarchive.archiving.transforms.orphans import SuspectFile
from callarchive.catalog import schemas
from callarchive.domain.errors import ArchiveError, UnavailableError
from callarchive.domain.evidence import Absent, Evidence, Present, Unknown
from callarchive.domain.landing_objects import LandingObject
from callarchive.events.inbox.events import read_event
from callarchive.events.inbox.inbox import Inbox
from callarchive.settings import load_settings
from callarchive.simulator.clock import MovableClock
from callarchive.storage.landing import Gap, Listing
from callarchive.storage.landing.contents import LandingContents
from callarchive.storage.stores.local import LocalStore

Row = dict[str, Any]
DAY = date(2026, 10, 25)
"""25 hours long in Berlin: from 22:00 UTC on the 24th to 23:00 UTC on the 25th."""
NOON = datetime(2026, 10, 25, 12, tzinfo=UTC)
TWO_DAYS_LATER = NOON + timedelta(days=2)
GRACE = timedelta(hours=24)
KEPT = 1000
CONFIGURATION = """
timezone = "Europe/Berlin"
start_date = 2026-01-01
archive.url = "archive"
catalog.url = "catalog"
[[accounts]]
subaccount_id = "acme_sg"
api_key = { file = "key" }
landing = "s3://acme-recordings/sg"
session_sources = [{ kind = "log_export" }]
[[accounts]]
subaccount_id = "acme_th"
api_key = { file = "key" }
landing = "s3://acme-recordings/th"
session_sources = [{ kind = "log_export" }]
"""


def uuid_at(at: datetime, node: int) -> str:
    ticks = int((at - datetime(1582, 10, 15, tzinfo=UTC)) / timedelta(microseconds=1)) * 10
    fields = (ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF | 0x1000, 0x80, 0)
    return str(uuid.UUID(fields=(*fields, node)))


def session_id(number: int = 1, at: datetime = NOON) -> str:
    return uuid_at(at, 0xA00 + number)


def recording_id(number: int = 1, at: datetime = NOON) -> str:
    return uuid_at(at, 0xB00 + number)


class InMemoryLanding:
    """A landing that can be listed, and that can be out of reach."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.walks_folders = False
        self.paths: list[str] = []
        self.hidden: list[str] = []  # there, and no listing shows them
        self.refused: list[str] = []
        self.gaps: tuple[Gap, ...] = ()
        self.out_of_reach = False
        self.listed_count = 0

    def pages(self, folder: str, **_: object) -> Iterator[Listing]:
        self.listed_count += 1
        yield Listing((), self.gaps)
        for path in self.paths:
            if self.out_of_reach:
                raise UnavailableError(f"{self.uri} does not answer")
            yield Listing([LandingObject(path, self.uri_of(path), 1, modified_at=TWO_DAYS_LATER)])

    def uri_of(self, path: str) -> str:
        return f"{self.uri}/{path}"

    def stat_many(self, paths: Iterable[str], **_: object) -> dict[str, Evidence[LandingObject]]:
        if self.out_of_reach:
            raise UnavailableError(f"{self.uri} does not answer")
        there = {*self.paths, *self.hidden}
        found: dict[str, Evidence[LandingObject]] = {
            path: Present(LandingObject(path, self.uri_of(path), 1, modified_at=NOON))
            if path in there
            else Absent("404")
            for path in paths
        }
        return found | {path: Unknown(f"{self.uri_of(path)}: denied") for path in paths if path in self.refused}

    def close(self) -> None: ...


class World:
    """A day of two accounts written by hand: what the catalog, the archive and the landings hold."""

    def __init__(self, folder: Path, connections: Connections, clock: MovableClock) -> None:
        self.folder = folder
        self.connections = connections
        self.clock = clock
        self.landings = {name: InMemoryLanding(f"s3://acme-recordings/{name[-2:]}") for name in ("acme_sg", "acme_th")}
        connections.landings._landings.update(self.landings)  # type: ignore[arg-type]
        self.sessions: list[Row] = []
        self.recordings: list[Row] = []
        self.files: list[Row] = []

    def session(self, number: int = 1, *, account: str = "acme_sg", **values: Any) -> Row:
        row = dict.fromkeys(schemas.SESSIONS.schema.names) | {
            "subaccount_id": account,
            "session_id": session_id(number),
            "started_at": NOON,
            "ended_at": NOON + timedelta(minutes=1),
            "session_status": "COMPLETED",
            "call_duration_s": 60.0,
            "sources": ["log_export"],
            "lookup_status": "ok",
            "looked_up_at": TWO_DAYS_LATER,
            "recording_count": 1,
        }
        self.sessions.append(row | values)
        return self.sessions[-1]

    def recording(self, number: int = 1, *, account: str = "acme_sg", **values: Any) -> Row:
        """With its file if it is archived, as `fetch_recordings` leaves it."""
        ids = {"subaccount_id": account, "session_id": session_id(number), "recording_id": recording_id(number)}
        path = f"{account}/call_date={DAY}/{session_id(number)}/{recording_id(number)}.mp3"
        state = values.get("archive_status", "archived")
        kept = {"archive_path": path, "size_bytes": KEPT, "versions": [path]} if state == "archived" else {}
        names = schemas.RECORDING_FILES.schema.names
        self.files.append(
            dict.fromkeys(names) | {"versions": [], "source_path": None} | ids | {"archive_status": state} | kept
        )
        facts = {"api_status": "UPLOAD_COMPLETED", "archive_status": state, "started_at": NOON, "duration_s": 59.0}
        row = dict.fromkeys(schemas.RECORDINGS.schema.names) | ids | facts | {"versions": []}
        self.recordings.append(row | values)
        if state == "archived":
            self.keep(path)
        return self.recordings[-1]

    @property
    def store(self) -> LocalStore:
        store = self.connections.archive.store
        assert isinstance(store, LocalStore)
        return store

    def call(self, number: int = 1, *, account: str = "acme_sg") -> None:
        """A session with its archived recording, for which the landing has an object."""
        self.session(number, account=account)
        self.recording(number, account=account)
        self.landings[account].paths.append(f"{session_id(number)}/{recording_id(number)}_2026-10-25T12:00:00.000Z.mp3")

    def keep(self, path: str, size_bytes: int = KEPT) -> Path:
        file = self.folder / "archive" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(size_bytes))
        return file

    def write(self, day: date = DAY) -> None:
        catalog = self.connections.catalog
        catalog.replace_partition(schemas.SESSIONS, day, self.sessions)
        catalog.replace_partition(schemas.RECORDINGS, day, self.recordings)
        catalog.replace_partition(schemas.RECORDING_FILES, day, self.files)

    def reconcile(self, at: datetime | None = None) -> StepReport:
        if at is not None:
            self.clock.set(at)
        self.write()
        return self.run_step(DAY)

    def run_step(self, day: date) -> StepReport:
        step = next(step for step in DAY_STEPS if step.table is schemas.RECONCILIATION)
        return step.run(self.connections, day)

    def rows(self) -> list[Row]:
        return self.connections.catalog.rows(schemas.RECONCILIATION, DAY)

    def states(self) -> dict[str, str]:
        """State by kind, where there is one row a kind."""
        rows = self.rows()
        assert len({row["kind"] for row in rows}) == len(rows)
        return {row["kind"]: row["state"] for row in rows}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "key").write_text("a key that is not used", encoding="utf-8")
    file = tmp_path / "callarchive.toml"
    file.write_text(CONFIGURATION, encoding="utf-8")
    clock = MovableClock(TWO_DAYS_LATER)
    with Connections(load_settings(file), clock=clock) as connections:
        world = World(tmp_path, connections, clock)
        # The days around are archived and have nothing.
        for offset in (-1, 1):
            world.write(DAY + timedelta(days=offset))
        yield world


def lose_the_recording(world: World) -> Callable[[], None]:
    world.session(7, lookup_status="no_recordings", recording_count=0)

    def mend() -> None:
        world.sessions[-1].update(lookup_status="ok", recording_count=1)
        world.recording(7)

    return mend


def lose_the_file_at_8x8(world: World) -> Callable[[], None]:
    world.session(7)
    world.recording(7, archive_status="missing", error="no object for the recording", duration_s=None)

    def mend() -> None:
        world.recordings.pop()
        world.files.pop()
        world.recording(7)

    return mend


def push_a_foreign_object(world: World) -> Callable[[], None]:
    path = f"2026-10-26/{session_id(7)}/{recording_id(7)}_2026-10-25T22:59:59.000Z.mp3"
    world.landings["acme_sg"].paths.append(path)
    return lambda: world.landings["acme_sg"].paths.remove(path)


def put_a_file_into_the_archive(world: World) -> Callable[[], None]:
    file = world.keep(f"acme_sg/call_date={DAY}/{session_id(7)}/{recording_id(7)}.mp3")
    return file.unlink


def lose_a_file_of_the_archive(world: World) -> Callable[[], None]:
    world.session(7)
    world.recording(7)
    path = world.files[-1]["archive_path"]
    (world.folder / "archive" / path).unlink()

    def mend() -> None:
        world.keep(path)

    return mend


def disagree_on_a_duration(world: World) -> Callable[[], None]:
    world.session(7)
    row = world.recording(7, duration_api_s=30.0)
    return lambda: row.update(duration_api_s=59.0)


BROKEN = {
    "connected_call_without_recording": lose_the_recording,
    "recording_without_file": lose_the_file_at_8x8,
    "orphan_object": push_a_foreign_object,
    "file_without_row": put_a_file_into_the_archive,
    "row_without_file": lose_a_file_of_the_archive,
    "duration_mismatch": disagree_on_a_duration,
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_does_not_fit_is_open_is_resolved_when_it_fits_and_opens_again(world: World, kind: str) -> None:
    world.call(1)
    world.call(2, account="acme_th")
    first = TWO_DAYS_LATER
    mend = BROKEN[kind](world)
    report = world.reconcile()
    assert report.counts == {kind: 1, "resolved": 0}
    (row,) = world.rows()
    assert (row["subaccount_id"], row["kind"], row["state"]) == ("acme_sg", kind, "open")
    assert (row["first_seen_at"], row["resolved_at"]) == (first, None)
    assert row["session_id"] == session_id(7)
    assert row["recording_id"] == (None if kind == "connected_call_without_recording" else recording_id(7))
    assert row["reason"]

    world.reconcile(first + timedelta(hours=1))
    assert world.rows() == [row], "a row that stays as it was does not change with the time"

    mend()
    resolved_at = first + timedelta(hours=2)
    assert world.reconcile(resolved_at).counts == {"resolved": 1}
    (resolved,) = world.rows()
    assert resolved == row | {"state": "resolved", "resolved_at": resolved_at, "reason": resolved["reason"]}
    world.reconcile(first + timedelta(hours=3))
    assert world.rows() == [resolved]

    for part in (world.sessions, world.recordings, world.files):
        part[:] = [row for row in part if row["session_id"] != session_id(7)]
    for file in (world.folder / "archive").rglob(f"{recording_id(7)}.mp3"):
        file.unlink()
    BROKEN[kind](world)
    world.reconcile(first + timedelta(hours=4))
    assert world.rows() == [row], "it is the row that it was, first seen when it was seen first"


def test_a_day_on_which_everything_fits_has_no_rows(world: World) -> None:
    world.call(1)
    world.call(2, account="acme_th")
    assert world.reconcile() == StepReport(schemas.RECONCILIATION, DAY, 0, {"resolved": 0})


def test_a_rerun_with_nothing_new_leaves_the_partition_untouched(world: World) -> None:
    push_a_foreign_object(world)
    put_a_file_into_the_archive(world)
    world.recording(3, archive_status="failed", error="after 4 attempts")
    world.reconcile()
    file = world.folder / "catalog" / schemas.RECONCILIATION.partition_path(DAY)
    written = file.stat().st_mtime_ns, file.stat().st_ino
    world.reconcile(TWO_DAYS_LATER + timedelta(days=1))
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == written
    assert len(world.rows()) == 3


# --- connected calls ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "is_row"),
    [
        ({}, True),
        ({"lookup_status": "not_found"}, True),
        ({"lookup_status": "ok"}, True),
        ({"session_status": None}, True),
        ({"session_status": "FAILED"}, True),
        ({"call_duration_s": None}, True),
        ({"call_duration_s": None, "session_status": None}, False),
        ({"call_duration_s": 0.0}, False),
        ({"session_status": "NO_ANSWER"}, False),
        ({"session_status": "BUSY"}, False),
        ({"session_status": "CANCELED"}, False),
        ({"lookup_status": "error"}, False),
        ({"looked_up_at": None}, False),
        ({"looked_up_at": NOON + timedelta(minutes=1) + GRACE - timedelta(seconds=1)}, False),
        ({"looked_up_at": NOON + timedelta(minutes=1) + GRACE}, True),
        # Where nobody dates the call it ends with its day, at 23:00 UTC.
        ({"started_at": None, "ended_at": None, "looked_up_at": datetime(2026, 10, 26, 22, 59, tzinfo=UTC)}, False),
        ({"started_at": None, "ended_at": None, "looked_up_at": datetime(2026, 10, 26, 23, 0, tzinfo=UTC)}, True),
    ],
)
def test_only_a_connected_call_with_a_final_lookup_lacks_a_recording(world: World, values: Row, is_row: bool) -> None:
    row: Row = {"lookup_status": "no_recordings", "recording_count": 0}
    world.session(**row | values)
    world.reconcile(TWO_DAYS_LATER + timedelta(days=9))
    assert [row["kind"] for row in world.rows()] == ["connected_call_without_recording"] * is_row


def test_a_call_stays_open_when_a_look_up_fails_or_its_session_is_gone_and_is_resolved_on_another_day(
    world: World,
) -> None:
    row = world.session(lookup_status="no_recordings", recording_count=0)
    world.reconcile()
    before = world.rows()
    row.update(lookup_status="error", looked_up_at=TWO_DAYS_LATER + timedelta(hours=1))
    world.reconcile(TWO_DAYS_LATER + timedelta(hours=1))
    assert world.rows() == before
    world.sessions.clear()
    world.reconcile()
    assert world.rows() == before, "that no source names it any more does not bring its recording"
    world.session(lookup_status="no_recordings", recording_count=0)
    world.write(DAY + timedelta(days=1))
    world.sessions.clear()
    world.reconcile()
    assert world.states() == {"connected_call_without_recording": "resolved"}, "it is another day's by now"


# --- sessions that 8x8 does not know --------------------------------------------------------------------------------------


def confirm(world: World, row: Row, *, since: datetime | None) -> None:
    """8x8 first named no recording of the session then."""
    lookup = {name: row[name] for name in ("subaccount_id", "session_id", "lookup_status", "looked_up_at")}
    world.connections.catalog.replace_partition(schemas.LOOKUPS, DAY, [lookup | {"negative_since": since}])


def not_found_rows(world: World) -> list[Row]:
    return [row for row in world.rows() if row["kind"] == "session_not_found"]


def test_a_session_that_a_source_names_and_8x8_does_not_know_is_a_contradiction_after_two_answers(world: World) -> None:
    row = world.session(lookup_status="not_found", recording_count=0, sources=["inbox", "log_export"])
    for since in (None, TWO_DAYS_LATER, TWO_DAYS_LATER - timedelta(hours=23)):
        confirm(world, row, since=since)
        world.reconcile()
        assert not_found_rows(world) == []
    confirm(world, row, since=TWO_DAYS_LATER - timedelta(hours=24))
    world.reconcile()
    (found,) = not_found_rows(world)
    assert (found["subject"], found["session_id"], found["state"]) == (row["session_id"], row["session_id"], "open")
    assert found["reason"] == (
        "8x8 reported the session as unknown twice, a day apart, though sources list it: inbox, log_export,"
        " and the call lasted 60 s"
    )


@pytest.mark.parametrize("status", ["error", "no_recordings", "not_found"])
def test_only_an_answer_that_names_a_recording_resolves_it(world: World, status: str) -> None:
    row = world.session(lookup_status="not_found", recording_count=0, call_duration_s=None)
    confirm(world, row, since=TWO_DAYS_LATER - timedelta(hours=24))
    world.reconcile()
    (before,) = not_found_rows(world)
    row.update(lookup_status=status)
    confirm(world, row, since=None)
    world.reconcile(TWO_DAYS_LATER + timedelta(hours=1))
    assert not_found_rows(world) == [before]
    row.update(lookup_status="ok", recording_count=1)
    confirm(world, row, since=None)
    world.reconcile(TWO_DAYS_LATER + timedelta(hours=2))
    assert [found["state"] for found in not_found_rows(world)] == ["resolved"]


# --- recordings without a file --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "age", "is_row"),
    [
        ("missing", timedelta(hours=1), True),  # the step that called it missing knew the call's time better
        ("failed", GRACE - timedelta(seconds=1), False),
        *((state, GRACE, True) for state in ("failed", "rejected", "not_uploaded", "pending")),
        ("archived", 9 * GRACE, False),
        ("erased", 9 * GRACE, False),
    ],
)
def test_a_recording_that_is_not_archived_after_the_grace_period_has_no_file(
    world: World, state: str, age: timedelta, is_row: bool
) -> None:
    world.session()
    world.recording(archive_status=state, error="why", duration_s=None)
    world.reconcile(NOON + age)
    rows = [row for row in world.rows() if row["kind"] == "recording_without_file"]
    assert len(rows) == is_row
    assert all("why" in row["reason"] for row in rows)


def test_a_recording_that_nobody_dates_is_as_old_as_its_call_and_else_as_its_day(world: World) -> None:
    world.session(1, started_at=NOON)
    world.recording(1, archive_status="failed", started_at=None)
    world.recording(2, archive_status="failed", started_at=None)
    world.reconcile(NOON + GRACE)
    assert [row["subject"] for row in world.rows()] == [recording_id(1)]
    world.reconcile(datetime(2026, 10, 26, 23, tzinfo=UTC))
    assert {row["subject"] for row in world.rows()} == {recording_id(1), recording_id(2)}


# --- the archive ----------------------------------------------------------------------------------------------------------


def test_versions_are_known_files_and_are_missed_when_they_are_gone(world: World) -> None:
    world.call()
    older = world.files[-1]["archive_path"]
    newer = older.replace(".mp3", ".0123456789abcdef.mp3")
    world.files[-1].update(archive_path=newer, versions=[older, newer])
    file = world.keep(newer)
    assert world.reconcile().row_count == 0
    (world.folder / "archive" / older).unlink()
    world.reconcile()
    (row,) = world.rows()
    assert (row["kind"], row["subject"]) == ("row_without_file", older)
    assert row["place"] == f"{world.folder.as_uri()}/archive/{older}"
    file.write_bytes(b"short")
    world.reconcile()
    assert {row["subject"]: row["reason"] for row in world.rows()} == {
        older: "the archive has no such file",
        newer: "the file has 5 bytes, its row has 1000",
    }


def test_erased_recordings_lack_no_file_and_have_no_duration_that_is_wrong(world: World) -> None:
    world.session()
    world.recording(duration_api_s=30.0)
    row = world.files[-1]
    (world.folder / "archive" / row["archive_path"]).unlink()
    row["archive_status"] = world.recordings[-1]["archive_status"] = "erased"
    assert world.reconcile().row_count == 0


def test_what_a_broken_off_run_left_in_its_journal_is_known(world: World) -> None:
    world.call()
    row = world.files.pop()
    world.write()
    catalog = world.connections.catalog
    piece = f"_steps/recording_files_journal/call_date={DAY}/00000000000000000001.parquet"
    catalog.replace_partition(schemas.RECORDING_FILES, date(2020, 1, 1), [row])
    catalog.store.replace(piece, catalog.store.read(schemas.RECORDING_FILES.partition_path(date(2020, 1, 1))))
    assert world.reconcile().row_count == 0


def test_files_of_removed_accounts_are_listed_and_quarantine_and_unfinished_files_are_not(
    world: World,
) -> None:
    world.keep(f"%2Eold/call_date={DAY}/x/y.mp3")
    world.keep(f"_quarantine/acme_sg/call_date={DAY}/{session_id()}/{recording_id()}.0123456789abcdef.bin")
    world.keep(f"acme_sg/call_date={DAY}/{session_id()}/.0123456789abcdef.part")
    world.keep(f"acme_sg/call_date={DAY + timedelta(days=1)}/{session_id()}/{recording_id()}.mp3")
    world.reconcile()
    (row,) = world.rows()
    assert (row["subaccount_id"], row["subject"]) == (".old", f"%2Eold/call_date={DAY}/x/y.mp3")
    assert (row["session_id"], row["recording_id"]) == (None, None)


# --- landings -------------------------------------------------------------------------------------------------------------


def test_an_object_is_known_by_its_recordings_id_or_by_the_place_that_was_read(world: World) -> None:
    world.call()
    world.recording(2, archive_status="rejected", error="an HTML page")
    world.files[-1]["source_path"] = "odd/name_2026-10-25T12:00:00.000Z.mp3"
    landing = world.landings["acme_sg"]
    landing.paths += [
        "odd/name_2026-10-25T12:00:00.000Z.mp3",
        f"2026-10-25/{session_id()}/{recording_id(2).upper()}_2026-10-25T12:00:00.000Z.MP3",
        f"{session_id()}/{recording_id(9)}_2026-10-25T12:00:00.000Z.txt",
    ]
    world.reconcile()
    assert [row for row in world.rows() if row["kind"] == "orphan_object"] == []


def test_an_object_belongs_to_the_day_of_its_time_stamp_else_of_its_uuid_else_of_its_arrival(world: World) -> None:
    evening, morning = datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 22, 59, 59, tzinfo=UTC)
    expected = [
        f"{session_id()}/{recording_id(1, NOON + GRACE)}_2026-10-24T22:00:00.000Z.mp3",
        f"{session_id(2, NOON + GRACE)}/{recording_id(2, evening)}.mp3",
        f"{session_id(3, morning)}/{uuid.UUID(int=4, version=4)}.mp3",
        f"{session_id(4, morning)}/audio_1969-12-31T23:59:59.999Z.MP3",
    ]
    others = [
        f"{session_id()}/{recording_id(1)}_2026-10-24T21:59:59.999Z.mp3",
        f"{session_id()}/{recording_id(1)}_2026-10-25T23:00:00.000Z.mp3",
        f"{session_id()}/{recording_id(5, NOON + GRACE)}.mp3",
        "audio.mp3",  # arrived two days later
    ]
    world.landings["acme_sg"].paths = expected + others
    world.reconcile()
    assert {row["subject"] for row in world.rows()} == set(expected)
    assert {row["place"] for row in world.rows()} == {f"s3://acme-recordings/sg/{path}" for path in expected}


@pytest.mark.parametrize("offset", [-1, 1, -31, 31])
def test_an_object_may_belong_to_a_recording_of_another_day(world: World, offset: int) -> None:
    world.recording()
    world.files[-1]["archive_path"] = None
    world.write(DAY + timedelta(days=offset))
    world.recordings.clear()
    world.files.clear()
    for file in (world.folder / "archive").rglob("*.mp3"):
        file.unlink()
    world.landings["acme_sg"].paths = [f"{session_id()}/{recording_id()}_2026-10-25T22:59:59.000Z.mp3"]
    assert world.reconcile().row_count == 0


def test_two_accounts_with_the_same_ids_have_their_own_rows(world: World) -> None:
    world.call(account="acme_th")
    name = f"{session_id()}/{recording_id()}_2026-10-25T12:00:00.000Z.mp3"
    world.landings["acme_sg"].paths.append(name)
    world.session(lookup_status="no_recordings", recording_count=0)
    world.reconcile()
    assert {(row["subaccount_id"], row["kind"]) for row in world.rows()} == {
        ("acme_sg", "orphan_object"),
        ("acme_sg", "connected_call_without_recording"),
    }


def test_accounts_that_share_a_landing_share_what_is_known_of_it_and_an_orphan_is_listed_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = world.connections.settings.accounts
    shared = second.model_copy(update={"landing": f"{first.landing}/below"})
    settings = world.connections.settings.model_copy(update={"accounts": (first, shared)})
    monkeypatch.setattr(world.connections, "settings", settings)
    world.landings["acme_th"].uri = "s3://acme-recordings/sg/below"
    world.call(account="acme_th")
    world.landings["acme_th"].paths.append("orphan_2026-10-25T12:00:00.000Z.mp3")
    world.landings["acme_sg"].paths = [f"below/{path}" for path in world.landings["acme_th"].paths]
    world.reconcile()
    assert [(row["subaccount_id"], row["subject"]) for row in world.rows()] == [
        ("acme_sg", "below/orphan_2026-10-25T12:00:00.000Z.mp3")
    ]


def test_a_landing_out_of_reach_is_a_warning_and_leaves_its_orphans_as_they_were(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    mend = push_a_foreign_object(world)
    world.landings["acme_th"].paths.append(f"{session_id(8)}/{recording_id(8)}_2026-10-25T12:00:00.000Z.mp3")
    world.reconcile()
    sg, th = world.rows()
    mend()
    world.landings["acme_sg"].paths.append("another.mp3")
    world.landings["acme_th"].paths[:] = ["other_2026-10-24T12:00:00.000Z.mp3"]
    world.landings["acme_sg"].out_of_reach = True
    with caplog.at_level(logging.WARNING):
        world.reconcile(TWO_DAYS_LATER + timedelta(hours=1))
    assert "acme_sg: the landing was not searched: s3://acme-recordings/sg does not" in caplog.text
    assert world.rows() == [sg, th | {"state": "resolved", "resolved_at": TWO_DAYS_LATER + timedelta(hours=1)}]
    world.landings["acme_sg"].out_of_reach = False
    world.reconcile()
    assert {row["state"] for row in world.rows()} == {"resolved"}


def test_landings_are_not_listed_when_that_is_switched_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    push_a_foreign_object(world)
    world.reconcile()
    before, counts = world.rows(), [landing.listed_count for landing in world.landings.values()]
    world.landings["acme_sg"].paths.clear()
    reconciliation = world.connections.settings.reconciliation.model_copy(update={"list_landing": False})
    settings = world.connections.settings.model_copy(update={"reconciliation": reconciliation})
    monkeypatch.setattr(world.connections, "settings", settings)
    world.reconcile(TWO_DAYS_LATER + timedelta(hours=1))
    assert world.rows() == before
    assert [landing.listed_count for landing in world.landings.values()] == counts


def test_one_listing_serves_all_days_of_a_run_for_a_quarter_of_an_hour(world: World) -> None:
    for _ in range(3):
        world.reconcile()
    for offset in (0, 1):
        world.run_step(DAY + timedelta(days=offset))
    assert [landing.listed_count for landing in world.landings.values()] == [1, 1]
    world.run_step(DAY - timedelta(days=1))
    assert [landing.listed_count for landing in world.landings.values()] == [2, 2]
    world.reconcile(TWO_DAYS_LATER + timedelta(minutes=16))
    assert [landing.listed_count for landing in world.landings.values()] == [3, 3]


def test_a_landing_that_is_walked_by_folders_is_listed_for_each_day(world: World) -> None:
    world.landings["acme_th"].walks_folders = True
    world.write()
    for offset in (0, 0, -1, 1):
        world.run_step(DAY + timedelta(days=offset))
    assert [landing.listed_count for landing in world.landings.values()] == [2, 3]


def test_a_day_that_is_not_over_has_no_orphans_yet_and_no_landing_is_listed(world: World) -> None:
    push_a_foreign_object(world)
    world.reconcile(datetime(2026, 10, 25, 23, 59, tzinfo=UTC))
    assert world.rows() == []
    assert world.landings["acme_sg"].listed_count == 0
    world.reconcile(datetime(2026, 10, 26, 0, 0, tzinfo=UTC))
    assert world.states() == {"orphan_object": "open"}


def test_objects_of_the_small_hours_are_left_alone_where_the_day_before_was_never_archived(world: World) -> None:
    small_hours = f"{session_id()}/{recording_id()}_2026-10-25T01:59:59.000Z.mp3"
    later = f"{session_id()}/{recording_id(2)}_2026-10-25T02:00:00.000Z.mp3"
    world.landings["acme_sg"].paths = [small_hours, later]
    world.connections.catalog.store.delete(schemas.RECORDINGS.partition_path(DAY - timedelta(days=1)))
    world.reconcile()
    assert [row["subject"] for row in world.rows()] == [later]
    world.write(DAY - timedelta(days=1))
    world.reconcile()
    assert {row["subject"] for row in world.rows()} == {small_hours, later}
    world.connections.catalog.store.delete(schemas.RECORDINGS.partition_path(DAY - timedelta(days=1)))
    world.reconcile()
    assert {row["state"] for row in world.rows()} == {"open"}, "it is not known to fit"


def test_what_is_written_of_foreign_names_is_one_line_without_phone_numbers(world: World) -> None:
    world.landings["acme_sg"].paths = [
        "+65 6123 4567_2026-10-25T12:00:00.000Z.mp3",
        "+65 6123 9999_2026-10-25T12:00:00.000Z.mp3",
        "a\u202eb\u2028<script>_2026-10-25T12:00:00.000Z.mp3",
        "call_447700900123_2026-10-25T12:00:00.000Z.mp3",
        f"{'x' * 2000}_2026-10-25T12:00:00.000Z.mp3",
    ]
    world.keep(f"acme_sg/call_date={DAY}/447700900123\n.mp3")
    Path(os.fsdecode(os.fsencode(world.folder / "archive" / f"acme_sg/call_date={DAY}") + b"/\xff.mp3")).touch()
    report = world.reconcile()
    assert report.counts == {"file_without_row": 2, "orphan_object": 4, "resolved": 0}
    text = repr(world.rows())
    for number in ("6123", "9999", "447700900123"):
        assert number not in text
    subjects = {row["subject"]: row["reason"] for row in world.rows()}
    assert "2 paths with this name after masking" in subjects["***_2026-10-25T12:00:00.000Z.mp3"]
    assert "a\\u{202e}b\\u{2028}<script>_2026-10-25T12:00:00.000Z.mp3" in subjects
    assert f"acme_sg/call_date={DAY}/***\\u{{a}}.mp3" in subjects
    assert f"acme_sg/call_date={DAY}/\\u{{dcff}}.mp3" in subjects
    assert all(subject.isprintable() and len(subject) <= 1024 for subject in subjects)


# --- events ---------------------------------------------------------------------------------------------------------------


def tell(
    world: World,
    number: int,
    *,
    account: str = "acme_sg",
    recording: bool = True,
    at: datetime = NOON,
    recording_is: str | None = None,
) -> None:
    """A webhook event of the call's recording, or of the call itself, that arrives now."""
    payload: Row = {"sessionId": session_id(number, at)}
    if recording:
        id_ = recording_is or recording_id(number, at)
        payload |= {"recordingId": id_, "status": "UPLOAD_COMPLETED", "durationSeconds": 59}
    event_type = "CALL_RECORDING_STATUS" if recording else "SESSION_SUMMARY"
    body = json.dumps({"eventType": event_type, "payload": payload}).encode()
    with closing(Inbox.open(world.connections.settings.inbox.url, clock=world.clock)) as inbox:
        inbox.add([(account, read_event(body, subaccount_id=account, mask=lambda _: None))])


@pytest.mark.parametrize("recording", [True, False])
def test_an_event_of_a_session_that_no_source_names_is_open_until_one_does_and_opens_again(
    world: World, recording: bool
) -> None:
    world.call(1)
    tell(world, 1)
    tell(world, 7, recording=recording)
    late = TWO_DAYS_LATER + timedelta(hours=2)
    assert world.reconcile(late).counts == {"event_without_session": 1, "resolved": 0}
    (row,) = world.rows()
    assert (row["subject"], row["session_id"], row["recording_id"]) == (session_id(7), session_id(7), None)
    world.reconcile(late + timedelta(hours=1))
    assert world.rows() == [row]
    world.call(7)
    world.reconcile(late + timedelta(hours=2))
    assert world.rows() == [row | {"state": "resolved", "resolved_at": late + timedelta(hours=2)}]
    for part in (world.sessions, world.recordings):
        part.pop()
    world.files[-1]["recording_id"] = recording_id(8)
    world.reconcile(late + timedelta(hours=3))
    assert row in world.rows()


def test_an_event_of_a_recording_that_8x8_does_not_name_is_listed_an_hour_after_it_arrived(world: World) -> None:
    world.session(7, call_duration_s=None, session_status=None)
    tell(world, 7)
    assert world.reconcile(TWO_DAYS_LATER + timedelta(minutes=59)).row_count == 0
    world.reconcile(TWO_DAYS_LATER + timedelta(hours=1))
    (row,) = world.rows()
    assert (row["kind"], row["subject"]) == ("event_without_session", recording_id(7))
    world.recording(7)
    world.reconcile()
    assert world.states() == {"event_without_session": "resolved"}


def test_an_event_that_was_pruned_does_not_resolve_its_row(world: World) -> None:
    tell(world, 7)
    world.reconcile(TWO_DAYS_LATER + timedelta(hours=2))
    before = world.rows()
    with closing(Inbox.open(world.connections.settings.inbox.url, clock=world.clock)) as inbox:
        assert inbox.prune(world.clock()) == 1
    world.reconcile(TWO_DAYS_LATER + timedelta(hours=3))
    assert world.rows() == before


def test_events_with_one_id_as_session_and_as_recording_make_one_row(world: World) -> None:
    world.session(7, call_duration_s=0.0)
    world.session(8, call_duration_s=0.0)
    for number in (7, 8):
        tell(world, number, recording_is=session_id(9))
    tell(world, 9, recording=False)
    for hour in (2, 3):
        world.reconcile(TWO_DAYS_LATER + timedelta(hours=hour))
        assert [(row["kind"], row["subject"]) for row in world.rows()] == [("event_without_session", session_id(9))]


def test_events_of_other_days_and_other_accounts_are_left_out(world: World) -> None:
    world.call(7, account="acme_th")
    tell(world, 7, account="acme_th")
    tell(world, 8, at=datetime(2026, 10, 24, 21, 59, tzinfo=UTC))
    tell(world, 9, at=datetime(2026, 10, 25, 23, 0, tzinfo=UTC))
    tell(world, 7, account="acme_sg")
    world.reconcile(TWO_DAYS_LATER + timedelta(hours=2))
    assert [(row["subaccount_id"], row["subject"]) for row in world.rows()] == [("acme_sg", session_id(7))]


def test_an_event_of_a_call_near_midnight_may_be_of_a_session_of_the_day_before(world: World) -> None:
    just_after = datetime(2026, 10, 24, 22, 0, 1, tzinfo=UTC)
    world.session(session_id=session_id(7, just_after))
    world.recording(session_id=session_id(7, just_after), recording_id=recording_id(7, just_after))
    world.write(DAY - timedelta(days=1))
    for part in (world.sessions, world.recordings, world.files):
        part.clear()
    for file in (world.folder / "archive").rglob("*.mp3"):
        file.unlink()
    tell(world, 7, at=just_after)
    assert world.reconcile(TWO_DAYS_LATER + timedelta(hours=2)).row_count == 0


def test_an_inbox_that_cannot_be_read_is_a_warning_and_leaves_its_rows_as_they_were(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    tell(world, 7)
    world.reconcile(TWO_DAYS_LATER + timedelta(hours=2))
    before = world.rows()
    world.connections.close()
    world.connections.landings._landings.update(world.landings)  # type: ignore[arg-type]
    file = Path(world.connections.settings.inbox.url.removeprefix("sqlite:///"))
    for leftover in file.parent.glob(f"{file.name}-*"):
        leftover.unlink()
    file.write_bytes(b"no database" * 1000)
    world.call(7)
    with caplog.at_level(logging.WARNING):
        world.reconcile()
    assert "events were not compared with sessions" in caplog.text
    assert world.rows() == before


# --- durations ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("durations", "reason"),
    [
        ({"duration_api_s": 61.0}, None),
        ({"duration_event_s": 57.0}, None),
        ({"duration_api_s": None, "duration_event_s": None}, None),
        (
            {"duration_api_s": 61.5},
            "measured and 8x8's API differ by 2.5 s; measured 59.0 s, 8x8's API 61.5 s, call 60.0 s",
        ),
        (
            {"duration_api_s": 60.5, "duration_event_s": 58.0},
            "8x8's API and event differ by 2.5 s; measured 59.0 s, 8x8's API 60.5 s, event 58.0 s, call 60.0 s",
        ),
        ({"duration_s": 65.9}, None),  # a tenth longer than its call
        ({"duration_s": 66.1}, "measured is 6.1 s longer than the call; measured 66.1 s, call 60.0 s"),
        ({"duration_s": float("nan")}, None),
    ],
)
def test_durations_that_disagree_by_more_than_the_tolerance_are_a_mismatch(
    world: World, durations: Row, reason: str | None
) -> None:
    world.session()
    world.recording(**durations)
    world.reconcile()
    assert [row["reason"] for row in world.rows()] == ([] if reason is None else [reason])


def test_the_step_wants_the_steps_before_it(world: World) -> None:
    world.clock.set(TWO_DAYS_LATER)
    with pytest.raises(ArchiveError, match="sessions has no partition 2026-10-20 yet"):
        world.run_step(date(2026, 10, 20))


# --- evidence -------------------------------------------------------------------------------------------------------------


def unknowns(world: World) -> dict[tuple[str, str], str]:
    """Reason by account and question, where there is one each."""
    rows = world.connections.catalog.rows(schemas.UNKNOWNS, DAY)
    found = {(row["subaccount_id"], row["question"]): row["reason"] for row in rows}
    assert len(found) == len(rows)
    return found


SG, TH = ("acme_sg", "landing_objects_known"), ("acme_th", "landing_objects_known")


def empty_listing(world: World) -> str:
    landing = world.landings["acme_sg"]
    landing.paths.clear()
    return "shows no object at all"


def refused_folder(world: World) -> str:
    world.landings["acme_sg"].gaps = (Gap("lost+found", "s3://acme-recordings/sg/lost+found", "denied"),)
    return "sg/lost+found: denied"


def listing_that_lacks_what_was_read(world: World) -> str:
    landing = world.landings["acme_sg"]
    read = world.files[0]["source_path"] = landing.paths[0]
    landing.paths.remove(read)
    landing.paths.append("other_2026-10-24T12:00:00.000Z.mp3")
    landing.hidden.append(read)
    return f"lacks s3://acme-recordings/sg/{read}, which this run has read or compared"


def landing_away(world: World) -> str:
    world.landings["acme_sg"].out_of_reach = True
    return "does not answer"


def orphan_that_only_the_listing_lacks(world: World) -> str:
    world.landings["acme_sg"].hidden.append(str(world.rows()[0]["subject"]))
    return "which is there"


def orphan_refused(world: World) -> str:
    world.landings["acme_sg"].refused.append(str(world.rows()[0]["subject"]))
    return "denied"


@pytest.mark.parametrize(
    "trouble",
    [
        empty_listing,
        refused_folder,
        listing_that_lacks_what_was_read,
        landing_away,
        orphan_that_only_the_listing_lacks,
        orphan_refused,
    ],
)
def test_an_orphan_that_is_not_proven_gone_stays_open_and_the_question_is_not_known(
    world: World, trouble: Callable[[World], str]
) -> None:
    world.call(1)
    world.call(2, account="acme_th")
    mend = push_a_foreign_object(world)
    world.reconcile()
    before = world.rows()
    assert unknowns(world) == {}
    mend()
    reason = trouble(world)
    world.reconcile(TWO_DAYS_LATER + timedelta(hours=1))
    assert world.rows() == before
    assert unknowns(world).keys() == {SG}
    assert reason in unknowns(world)[SG]


def test_an_orphan_is_resolved_when_its_own_path_is_absent_or_a_recording_is_known_for_it(world: World) -> None:
    world.call(1)
    mend = push_a_foreign_object(world)
    world.reconcile()
    mend()
    world.reconcile(TWO_DAYS_LATER + timedelta(hours=1))
    assert (world.states(), unknowns(world)) == ({"orphan_object": "resolved"}, {})
    push_a_foreign_object(world)
    world.reconcile(TWO_DAYS_LATER + timedelta(hours=2))
    assert world.states() == {"orphan_object": "open"}
    world.session(7)
    world.recording(7)
    world.landings["acme_sg"].out_of_reach = True
    world.reconcile(TWO_DAYS_LATER + timedelta(hours=3))
    assert world.states() == {"orphan_object": "resolved"}, "the catalog is evidence enough"


def test_objects_that_a_lifecycle_rule_removed_after_they_were_read_put_no_listing_in_doubt(world: World) -> None:
    world.call(1)
    world.files[0]["source_path"] = world.landings["acme_sg"].paths.pop()
    world.landings["acme_sg"].paths.append("other_2026-10-24T12:00:00.000Z.mp3")
    world.reconcile()
    assert unknowns(world) == {}


def test_an_object_that_arrived_after_the_listing_began_does_not_contradict_it(world: World) -> None:
    late = f"{session_id(2)}/{recording_id(2)}_2026-10-25T12:00:00.000Z.mp3"
    world.call(2)
    world.files[-1]["source_path"] = late
    world.landings["acme_sg"].paths.remove(late)
    world.landings["acme_sg"].hidden.append(late)
    world.write()
    account = world.connections.settings.accounts[0]
    world.clock.set(NOON)  # the object's own time
    contents = world.connections.landings.contents(account, DAY)
    assert isinstance(contents, LandingContents)
    day = world.connections.catalog_day(DAY)
    findings = OpenFindings(day, world.store, day.rows(schemas.RECONCILIATION))
    assert findings.doubt_about(account, world.connections.landings.of(account), contents) is None


def test_what_was_not_asked_is_not_known(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.reconcile(datetime(2026, 10, 25, 23, 59, tzinfo=UTC))
    assert set(unknowns(world)) == {
        (account, question)
        for account in ("acme_sg", "acme_th")
        for question in ("landing_objects_known", "events_known")
    }
    settings = world.connections.settings
    reconciliation = settings.reconciliation.model_copy(update={"list_landing": False})
    monkeypatch.setattr(world.connections, "settings", settings.model_copy(update={"reconciliation": reconciliation}))
    world.reconcile(TWO_DAYS_LATER)
    assert unknowns(world) == dict.fromkeys((SG, TH), "reconciliation.list_landing is off")


@pytest.mark.parametrize("kind", ["recording_without_file", "duration_mismatch"])
def test_a_recording_that_no_table_names_any_more_does_not_fit_for_that(world: World, kind: str) -> None:
    BROKEN[kind](world)
    world.reconcile()
    before = world.rows()
    assert [row["kind"] for row in before] == [kind]
    world.recordings.clear()
    world.files.clear()
    for file in (world.folder / "archive").rglob("*.mp3"):
        file.unlink()
    world.sessions[-1].update(lookup_status="error")
    world.reconcile(TWO_DAYS_LATER + timedelta(hours=1))
    assert [row for row in world.rows() if row["kind"] == kind] == before


def test_a_duration_mismatch_stays_open_while_one_duration_is_unknown(world: World) -> None:
    disagree_on_a_duration(world)
    world.reconcile()
    before = world.rows()
    world.recordings[-1].update(duration_api_s=None)
    world.reconcile(TWO_DAYS_LATER + timedelta(hours=1))
    assert world.rows() == before


def test_a_file_without_a_row_that_only_the_archives_listing_lacks_stays_open(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mend = put_a_file_into_the_archive(world)
    world.reconcile()
    before = world.rows()
    with monkeypatch.context() as lying:
        lying.setattr(world.connections.archive.store, "list", lambda _: [])
        world.reconcile(TWO_DAYS_LATER + timedelta(hours=1))
    assert world.rows() == before
    assert "the archive's listing lacks it" in unknowns(world)["acme_sg", "archive_files_known"]
    mend()
    world.reconcile(TWO_DAYS_LATER + timedelta(hours=2))
    assert (world.states(), unknowns(world)) == ({"file_without_row": "resolved"}, {})


def hide(store: LocalStore, *paths: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No listing of the store shows these files."""
    whole = store.list
    monkeypatch.setattr(store, "list", lambda folder: [item for item in whole(folder) if item.path not in paths])


THERE = ("acme_sg", "archive_files_there")


def test_a_file_that_only_the_archives_listing_lacks_is_no_finding_and_leaves_earlier_rows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.call(1)
    lose_a_file_of_the_archive(world)
    world.reconcile()
    before = world.rows()
    assert [row["reason"] for row in before] == ["the archive has no such file"]
    assert unknowns(world) == {}
    hidden, lost = (row["archive_path"] for row in world.files)
    world.keep(lost)
    with monkeypatch.context() as lying:
        hide(world.store, hidden, lost, monkeypatch=lying)
        world.reconcile(TWO_DAYS_LATER + timedelta(hours=1))
    assert world.rows() == before
    assert hidden in unknowns(world)[THERE]
    assert unknowns(world)[THERE].endswith("it is there, and the archive's listing lacks it (and 1 more files)")
    world.reconcile(TWO_DAYS_LATER + timedelta(hours=2))
    assert (world.states(), unknowns(world)) == ({"row_without_file": "resolved"}, {})


def test_an_archive_whose_folders_no_listing_shows_has_lost_no_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.call(1)
    world.call(2, account="acme_th")
    monkeypatch.setattr(world.store, "folders", lambda _: ())
    world.reconcile()
    assert world.rows() == []
    assert unknowns(world).keys() == {THERE, ("acme_th", "archive_files_there")}


def test_a_file_whose_presence_the_store_cannot_confirm_is_no_finding(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.call(1)
    hide(world.store, world.files[0]["archive_path"], monkeypatch=monkeypatch)
    monkeypatch.setattr(world.store, "stat", lambda _: Unknown("permission denied"))
    world.reconcile()
    assert world.rows() == []
    assert unknowns(world)[THERE].endswith(".mp3: permission denied")


def test_a_file_of_another_size_is_a_finding_though_the_listing_lacks_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.call(1)
    path = world.files[0]["archive_path"]
    world.keep(path, size_bytes=KEPT - 1)
    hide(world.store, path, monkeypatch=monkeypatch)
    world.reconcile()
    assert [row["reason"] for row in world.rows()] == ["the file has 999 bytes, its row has 1000"]
    assert THERE in unknowns(world)


def test_beyond_the_bound_the_listing_is_believed_only_if_no_answer_contradicts_it(world: World) -> None:
    suspects = [
        SuspectFile("acme_sg", session_id(n), recording_id(n), f"acme_sg/{n}.mp3", 1000, None) for n in range(4)
    ]
    rows, doubts = rows_without_file(world.connections.archive, suspects, asked_max=2)
    assert ([row["subject"] for row in rows], doubts) == ([f"acme_sg/{n}.mp3" for n in range(4)], [])
    assert {row["reason"] for row in rows[:2]} == {"the archive has no such file"}
    assert {row["reason"] for row in rows[2:]} == {"the archive's listing has no such file"}
    world.keep("acme_sg/1.mp3")
    rows, doubts = rows_without_file(world.connections.archive, suspects, asked_max=2)
    assert [row["subject"] for row in rows] == ["acme_sg/0.mp3"]
    ((account, reason),) = doubts
    assert account == "acme_sg"
    assert reason.endswith("it is there, and the archive's listing lacks it (and 2 more files)")


def test_a_store_that_does_not_answer_is_not_asked_for_every_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def stat(path: str) -> Unknown:
        asked.append(path)
        return Unknown("timed out")

    monkeypatch.setattr(world.store, "stat", stat)
    suspects = [SuspectFile("acme_sg", "s", "r", f"acme_sg/{n}.mp3", 1000, None) for n in range(100)]
    rows, doubts = rows_without_file(world.connections.archive, suspects)
    assert (rows, len(doubts), len(asked)) == ([], 1, 5)


def test_a_row_without_file_is_resolved_by_the_file_and_not_by_the_rows_being_gone(world: World) -> None:
    lose_a_file_of_the_archive(world)
    world.reconcile()
    before = world.rows()
    row = world.files.pop()
    world.reconcile(TWO_DAYS_LATER + timedelta(hours=1))
    assert [found for found in world.rows() if found["kind"] == "row_without_file"] == before
    world.files.append(row | {"archive_status": "erased"})
    world.reconcile(TWO_DAYS_LATER + timedelta(hours=2))
    assert world.states()["row_without_file"] == "resolved"

"""Read, repeat and continue a catalog, an archive and an inbox that version 0.1.0 wrote.

The files are in `tests/data/catalog_of_0_1_0`; its README explains how they were made. A failure here means that users
lose something when they upgrade: change the code, not the files.
"""

import http.server
import json
import shutil
import tarfile
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from callarchive.simulator.clock import MovableClock
from callarchive.simulator.landings import object_bytes
from callarchive.simulator.world import AccountPlan, Answer, FileState, Leg, PhoneNumber, Recording, Session, World

DATA = Path(__file__).parents[1] / "data" / "catalog_of_0_1_0" / "files.tar.xz"
DAYS = [date(2026, 1, day) for day in range(5, 10)]
"""Two that are archived, one whose transfer ended early, one whose lookups did, and one that came after the upgrade."""
NOW = datetime(2026, 1, 9, 6, 30, tzinfo=UTC)
"""Half an hour after the last run of 0.1.0."""
ON_S3 = AccountPlan("acme_s3", "s3", "acme-recordings/calls", layout="flat")
ON_SFTP = AccountPlan("acme_sftp", "sftp", "upload", layout="dated", export_offsets=False)
PORTS = {"api": 18101, "s3": 18102, "sftp": 18103}
"""Those that the kept configuration names."""
SECRETS = {
    "ACME_S3_API_KEY": "key-of-acme-s3",
    "ACME_SFTP_API_KEY": "key-of-acme-sftp",
    "SIMULATED_SFTP_PASSWORD": "password-of-acme-sftp",
    "PHONE_HASH_KEY": "0123456789abcdef0123456789abcdef",
}
NEW = ("silent_channels", "mos")
"""Columns that 0.1.0 did not have."""
NOT_COMPARED = (*NEW, "archived_at", "looked_up_at", "first_seen_at", "resolved_at", "error", "lookup_error", "reason")
"""And times at which runs differ, and sentences, which may be reworded."""


@dataclass(frozen=True)
class Call:
    """A session of the world, in short: its account, its day, and a status and file for each recording."""

    account: AccountPlan
    day: int
    recordings: tuple[tuple[str, FileState], ...] = (("CALLBACK_COMPLETED", FileState.WHOLE),)
    more: dict[str, Any] = field(default_factory=dict)
    ready_after: timedelta = timedelta(minutes=1)


CALLS = (
    Call(ON_S3, 5),
    Call(ON_S3, 5, (("UPLOAD_COMPLETED", FileState.WHOLE), ("CALLBACK_COMPLETED", FileState.CUT_HALF))),
    Call(ON_S3, 5, (("UPLOAD_COMPLETED", FileState.HTML),)),
    Call(ON_S3, 5, (), {"answer": Answer.EMPTY_LIST}),
    Call(ON_S3, 5, (), {"answer": Answer.NOT_FOUND}),
    Call(ON_S3, 5, more={"exported": False}),  # only webhook events name it
    Call(ON_SFTP, 5),
    Call(ON_SFTP, 5, (("PROCESSING_FAILED", FileState.ABSENT),)),
    Call(ON_SFTP, 5, (("UPLOAD_COMPLETED", FileState.ABSENT),)),
    Call(ON_S3, 6),
    Call(ON_S3, 6, (("UPLOAD_COMPLETED", FileState.WHOLE),), ready_after=timedelta(hours=80)),
    Call(ON_SFTP, 6, (("UPLOAD_COMPLETED", FileState.ZERO_TAIL),)),
    *(Call(ON_S3, 7) for _ in range(3)),
    Call(ON_SFTP, 7),
    *(Call(ON_S3, 8) for _ in range(3)),
    Call(ON_SFTP, 8),
    Call(ON_S3, 9),
    Call(ON_SFTP, 9),
)


def uuid_at(at: datetime, number: int) -> str:
    """A version-1 UUID made at that time."""
    ticks = int((at - datetime(1582, 10, 15, tzinfo=UTC)) / timedelta(microseconds=1)) * 10
    return str(
        uuid.UUID(fields=(ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 | 0x1000, 0x80, number, 1 << 40))
    )


def phone_number(number: int) -> PhoneNumber:
    return PhoneNumber(f"447700900{number:03}", "44")


def make_session(number: int, call: Call) -> Session:
    begin = datetime(2026, 1, call.day, 9, number, tzinfo=UTC)
    times = begin, begin + timedelta(seconds=2), begin + timedelta(seconds=12)
    session_id = uuid_at(begin, number)
    legs = tuple(
        Leg(
            call_id=uuid_at(begin, 100 + 2 * number + leg),
            direction="outbound" if leg else "inbound",
            source=phone_number(number + leg),
            destination=phone_number(number + leg + 1),
            initiated_at=times[0],
            connected_at=times[1],
            disconnected_at=times[2],
            duration_s=10,
            status="COMPLETED",
            mos=Decimal("4.1"),
        )
        for leg in range(2)
    )
    recordings = []
    for piece, (status, file) in enumerate(call.recordings):
        started_at = times[1] + timedelta(seconds=3 * piece)
        recording_id = uuid_at(started_at, 200 + number)
        name = f"{recording_id}_{started_at:%Y-%m-%dT%H:%M:%S}.000Z.mp3"
        folder = f"{started_at.date()}/" if call.account.layout == "dated" else ""
        recording = Recording(
            subaccount_id=call.account.subaccount_id,
            session_id=session_id,
            recording_id=recording_id,
            started_at=started_at,
            duration_s=2.0,
            status=status,
            file=file,
            path=f"{folder}{session_id}/{name}",
            external_file_url=f"{call.account.external_base}/{session_id}/{name.replace(':', '%3A')}",
            shape="lame_cbr_8k_mono",
            audio_seed=number,
            reported_started_at=started_at if number % 2 else None,
            reported_duration_s=2,
            ready_at=started_at + call.ready_after,
        )
        recordings.append(recording)
    return Session(
        subaccount_id=call.account.subaccount_id,
        session_id=session_id,
        started_at=times[0],
        ended_at=times[2],
        status="COMPLETED",
        legs=legs,
        recordings=tuple(recordings),
        **call.more,
    )


def make_world() -> World:
    """What happened on the five days, ordered by account and then by time."""
    sessions = [make_session(number, call) for number, call in enumerate(CALLS)]
    return World(
        accounts=(ON_S3, ON_SFTP), sessions=tuple(sorted(sessions, key=lambda s: (s.subaccount_id, s.started_at)))
    )


def changed_bytes() -> bytes:
    """What 8x8 put in the place of the first recording."""
    return object_bytes(replace(make_world().sessions[0].recordings[0], audio_seed=999))


class Alerts(http.server.ThreadingHTTPServer):
    """Receives the alerts that the kept configuration sends to a webhook."""

    daemon_threads = True

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        received = self.received

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@dataclass
class Upgrade:
    """An installation of 0.1.0 on which this version runs now."""

    trial: Any
    clock: MovableClock
    alerts: Alerts

    @property
    def catalog(self) -> Path:
        return Path(self.trial.config.parent / "catalog")

    def ask(self, *words: str) -> Any:
        """Return what the command prints as JSON."""
        done = self.trial.run(*words, "--json")
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rows of every public table by its folder, without the columns `NOT_COMPARED`."""
        found = {}
        for folder in sorted(self.catalog.glob("[!_]*/call_date=*")):
            rows = duckdb.read_parquet(str(folder / "*.parquet"), hive_partitioning=False)
            names = [name for name in rows.columns if name not in NOT_COMPARED]
            found[str(folder.relative_to(self.catalog))] = [
                dict(zip(names, row, strict=True)) for row in rows.select(*names).fetchall()
            ]
        return found

    def columns(self) -> dict[str, dict[str, str]]:
        """Return the columns of every table of two days, of steps too, with their types."""
        found = {}
        for file in sorted(self.catalog.rglob("call_date=2026-01-0[56]/part-0.parquet")):
            rows = duckdb.read_parquet(str(file), hive_partitioning=False)
            types = dict(zip(rows.columns, map(str, rows.types), strict=True))
            found[str(file.relative_to(self.catalog))] = types
        return found

    def archived_files(self) -> dict[str, str]:
        """Return the ETag of every object in the archive except locks and the ledger."""
        listed = self.trial.simulator.s3.client.list_objects_v2(Bucket="acme-archive")
        hidden = ("kept/_locks/", "kept/_ledger/")
        return {item["Key"]: item["ETag"] for item in listed["Contents"] if not item["Key"].startswith(hidden)}


@pytest.fixture
def upgrade(tmp_path: Path, start_trial: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Upgrade]:
    """The kept files in their places, and servers that answer as those of then did."""
    kept, root = tmp_path / "kept", tmp_path / "trial"
    with tarfile.open(DATA) as packed:
        # Python 3.11.2, Debian 12's, has no filters; later versions warn without one.
        options: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        packed.extractall(kept, **options)
    root.mkdir()
    for source, target in (("catalog", "catalog"), ("landing_sftp", "sftp"), ("inbox.sqlite3", "inbox.sqlite3")):
        shutil.move(kept / source, root / target)
    (root / "simulator.json").write_text("{}")  # else the simulators take the files for a user's
    (root / ".env").write_text("".join(f"{name}={value}\n" for name, value in SECRETS.items()))
    world = make_world()
    for recording in world.recordings:  # what the landings hold was kept, too
        world = world.altered(recording, file=FileState.ABSENT)
    clock = MovableClock(NOW)
    trial = start_trial(world=world, clock=clock)
    monkeypatch.setenv("PHONE_HASH_KEY", SECRETS["PHONE_HASH_KEY"])
    s3 = trial.simulator.s3
    s3.create_bucket("acme-archive")
    for folder, bucket, prefix in (("archive", "acme-archive", "kept/"), ("landing_s3", ON_S3.bucket, "")):
        for file in (path for path in (kept / folder).rglob("*") if path.is_file()):
            s3.client.put_object(
                Bucket=bucket, Key=f"{prefix}{file.relative_to(kept / folder)}", Body=file.read_bytes()
            )
    with Alerts() as alerts:
        threading.Thread(target=alerts.serve_forever, kwargs={"poll_interval": 0.01}).start()
        text = (kept / "callarchive.toml").read_text().replace("file:///srv/callarchive", root.as_uri())
        ports = {"api": trial.simulator.api.port, "s3": s3.port, "sftp": trial.simulator.sftp.port}
        for server, port in PORTS.items():
            text = text.replace(f":{port}", f":{ports[server]}")
        trial.config.write_text(text.replace(":18104", f":{alerts.server_port}"))
        yield Upgrade(trial, clock, alerts)
        alerts.shutdown()


def test_commands_read_what_0_1_0_wrote(upgrade: Upgrade) -> None:
    status = upgrade.ask("status", "--from", str(DAYS[0]), "--to", str(DAYS[3]))["status"]
    assert [(day["day"], day["subaccount_id"], day["session_count"], day["recordings"]) for day in status["days"]] == [
        ("2026-01-05", "acme_s3", 6, {"archived": 4, "rejected": 1}),
        ("2026-01-05", "acme_sftp", 3, {"archived": 1, "missing": 1, "not_uploaded": 1}),
        ("2026-01-06", "acme_s3", 2, {"archived": 1, "pending": 1}),
        ("2026-01-06", "acme_sftp", 1, {"archived": 1}),
    ]
    assert status["never_archived"] == ["2026-01-07", "2026-01-08"]
    assert status["last_events"]["acme_s3"] == "2026-01-09T06:00:00+00:00", "the inbox is read"
    assert {item["archive_status"] for item in status["at_risk"]} == {"missing", "not_uploaded", "pending"}

    verified = upgrade.ask("verify", "--from", str(DAYS[0]), "--to", str(DAYS[1]))
    row_counts = [
        sum(len(rows) for path, rows in upgrade.tables().items() if path.endswith(f"call_date={day}"))
        for day in DAYS[:2]
    ]
    assert [(day["file_count"], day["row_count"], day["defects"]) for day in verified["days"]] == [
        (7, row_counts[0], []),
        (2, row_counts[1], []),
    ], "two versions of one file and one in quarantine are among them"

    changed = make_world().sessions[0].recordings[0]
    [found] = upgrade.ask("find", changed.recording_id)["found"]
    assert (found["call_date"], found["session"]["lookup_status"]) == ("2026-01-05", "ok")
    assert len(found["recordings"]) == 1
    [found] = upgrade.ask("find", make_world().sessions[-2].session_id)["found"]
    assert found["call_date"] == "2026-01-08"
    assert "SESSION_SUMMARY" in json.dumps(found), "only the inbox knows this session so far"


def test_days_of_0_1_0_run_again_without_a_download_or_a_change(upgrade: Upgrade) -> None:
    tables, columns, files = upgrade.tables(), upgrade.columns(), upgrade.archived_files()
    summaries = upgrade.trial.archive(*DAYS[:2])
    assert [(day.fetched_count, day.unchanged_count) for day in summaries] == [(0, 6), (0, 2)]
    assert upgrade.trial.look_up_count() == 5 + 3, (
        "what has no file on the 5th; all of the 6th, seen within its grace period"
    )
    after = upgrade.tables()
    assert not [row for path, rows in tables.items() for row in rows if row not in after[path]]
    added = [(path, row["kind"]) for path, rows in after.items() for row in rows if row not in tables[path]]
    assert added == [
        ("reconciliation/call_date=2026-01-05", "session_not_found"),
        ("reconciliation/call_date=2026-01-06", "recording_without_file"),
    ], "time passed: the second negative response came a day after the first, and a grace period is over"
    assert upgrade.archived_files() == files
    values = duckdb.execute(
        f"""select distinct mos, silent_channels from '{upgrade.catalog}/sessions/call_date=2026-01-05/*.parquet'
        left join '{upgrade.catalog}/recordings/call_date=2026-01-05/*.parquet' using (session_id) order by all"""
    ).fetchall()
    assert values == [(4.1, None), (None, None)], "the export gives the quality; kept files are not measured again"
    assert [(alert["kind"], alert["key"]) for alert in upgrade.alerts.received] == [
        ("checks_failed", "2026-01-05"),
        ("checks_failed", "2026-01-06"),
    ], "a check more fails; the alert on a missing recording is not repeated, for 0.1.0 sent it"
    for path, types in upgrade.columns().items():
        assert types.items() >= columns.get(path, {}).items(), f"{path}: columns are only added"


def test_runs_that_0_1_0_did_not_finish_are_finished_and_the_next_day_follows(upgrade: Upgrade) -> None:
    [transferred] = upgrade.trial.archive(DAYS[2])
    assert (transferred.fetched_count, transferred.recordings) == (2, {"archived": 4}), "two were in the archive"
    assert upgrade.trial.look_up_count() == 4, "lookups are final once every file is archived"
    [looked_up] = upgrade.trial.archive(DAYS[3])
    assert (looked_up.fetched_count, looked_up.recordings) == (4, {"archived": 4})
    assert upgrade.trial.look_up_count() == 4 + 2, "the other two responses of 8x8 were kept"

    upgrade.clock.set(datetime(2026, 1, 10, 6, tzinfo=UTC))
    reopened, following = upgrade.trial.archive(DAYS[1], DAYS[4])
    assert (reopened.fetched_count, reopened.recordings) == (1, {"archived": 3}), "it was pending before"
    assert (following.fetched_count, following.recordings) == (2, {"archived": 2})
    verified = upgrade.ask("verify", "--from", str(DAYS[0]), "--to", str(DAYS[4]))
    assert [(day["file_count"], day["defects"]) for day in verified["days"]] == [
        (count, []) for count in (7, 3, 4, 4, 2)
    ]

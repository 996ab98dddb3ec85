"""Two archived days with a version, a rejected, a pending and a missing recording, and ways to tamper with them."""

import io
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from callarchive.catalog import schemas
from callarchive.custody.holds import Scope
from callarchive.ledger.notes import SigningKey
from callarchive.monitoring.verification import Defect, Finding, VerifiedDay, days_in_range, unknown_names, verify_days
from callarchive.monitoring.verification.custody import compare_custody
from callarchive.monitoring.verification.witnessed import days_since, read_ledger
from callarchive.removal.erasing import Erasing, Order
from callarchive.removal.holds import Person, add_hold, release_hold
from callarchive.runtime.worker_pool import NoProgress
from callarchive.simulator.audio import SHAPES, make_recording
from callarchive.simulator.clock import MovableClock
from callarchive.simulator.generation import generate_world
from callarchive.simulator.running import DEMO_ACCOUNTS
from callarchive.simulator.world import FileState

Row = dict[str, Any]
FIRST, SECOND, THIRD = date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 7)


class Archived:
    """Archived days that are put back as they were before each tampering."""

    def __init__(self, trial: Any) -> None:
        self.trial = trial
        self.root: Path = trial.config.parent
        self.archive, self.catalog = self.root / "archive", self.root / "catalog"
        self.all_days = self.days = (FIRST, SECOND, THIRD)
        self.earlier = self.root / "earlier"
        self._kept = copied(self.root, "kept")

    def restore(self) -> None:
        elsewhere = self.root / "elsewhere"
        if elsewhere.is_dir():
            shutil.rmtree(elsewhere)
        elsewhere.unlink(missing_ok=True)
        for name in ("archive", "catalog"):
            shutil.rmtree(self.root / name)
            shutil.copytree(self._kept / name, self.root / name)

    def part(self, table: schemas.Table, day: date = FIRST) -> Path:
        return self.catalog / table.partition_path(day)

    def rows(self, table: schemas.Table, day: date = FIRST) -> list[Row]:
        rows: list[Row] = pq.ParquetFile(self.part(table, day)).read().to_pylist()
        return rows

    def write(self, table: schemas.Table, rows: list[Row], day: date = FIRST) -> None:
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), buffer)
        self.part(table, day).write_bytes(buffer.getvalue())

    def keep(self, table: schemas.Table, wanted: Callable[[Row], bool], day: date = FIRST) -> None:
        self.write(table, [row for row in self.rows(table, day) if wanted(row)], day)

    def edit(self, table: schemas.Table, chosen: Callable[[Row], bool], day: date = FIRST, **facts: Any) -> None:
        self.write(table, [{**row, **facts} if chosen(row) else row for row in self.rows(table, day)], day)

    def recording(self, **facts: Any) -> Row:
        """The first row of `recordings` with these values."""
        return next(
            row for row in self.rows(schemas.RECORDINGS) if all(row[name] == value for name, value in facts.items())
        )

    def file(self, uri: str) -> Path:
        return Path(uri.removeprefix("file://"))

    def verify(self, *days: date, **more: Any) -> list[VerifiedDay]:
        with self.trial.connections() as connections:
            wanted = list(days or days_in_range(connections).known)
            return list(verify_days(connections, wanted, progress=NoProgress(), **more))

    def found(self, *days: date) -> set[tuple[Defect, str]]:
        return {finding for day in self.verify(*days) for finding in day.defects}

    def report(self, since: str | None = None) -> list[str]:
        """Return a line for each finding, problem and item that was not checked, as `callarchive verify` prints them."""
        with self.trial.connections() as connections:
            ledger = read_ledger(connections, since=None if since is None else ("kept.txt", since))
            found = days_in_range(connections, ledger=ledger)
            days = list(found.known) if since is None else days_since(ledger, found.known)
            custody, unfinished = compare_custody(connections, ledger)
            beside = [*unknown_names(connections), *custody]
            verified = list(
                verify_days(connections, days, ledger=ledger if ledger.size else None, progress=NoProgress())
            )
        findings = [*beside, *(finding for day in verified for finding in day.defects)]
        return [
            *(f"{defect} {what}" for defect, what in findings),
            *(f"not checked {reason}" for reason in unfinished),
            *(f"not checked {reason}" for day in verified for reason in day.not_checked),
            *(f"removed {day}" for day in found.unknown),
            *ledger.problems,
        ]

    def verify_with_ledger(self, since: str | None = None) -> tuple[set[Finding], list[str], list[str]]:
        """Return the findings, what was not checked, and the problems of the ledger itself."""
        with self.trial.connections() as connections:
            ledger = read_ledger(connections, since=None if since is None else ("kept.txt", since))
            days = list(days_in_range(connections, ledger=ledger).known)
            verified = list(verify_days(connections, days, ledger=ledger, progress=NoProgress()))
        found = {finding for day in verified for finding in day.defects}
        return found, [reason for day in verified for reason in day.not_checked], ledger.problems


def copied(root: Path, name: str) -> Path:
    """Copy archive and catalog, and return the folder of the copies."""
    for part in ("archive", "catalog"):
        shutil.copytree(root / part, root / name / part)
    return root / name


@pytest.fixture
def archived(start_trial: Callable[..., Any]) -> Archived:
    return archived_days(start_trial)


@pytest.fixture(scope="module")
def archived_once(start_shared_trial: Callable[..., Any]) -> Archived:
    return archived_days(start_shared_trial)


@pytest.fixture(scope="module")
def witnessed(start_shared_trial: Callable[..., Any]) -> Archived:
    """The archived days with a signed ledger, an anchor, a hold, a released one, and an erased session of the first day."""
    return archived_days(start_shared_trial, key=SigningKey.generate("callarchive"))


def hold_and_erase(trial: Any) -> None:
    with trial.connections() as connections:
        of_day = connections.catalog.rows(schemas.RECORDINGS, FIRST)
        rows = [row for row in of_day if row["archive_status"] == "archived" and len(row["versions"]) == 1]
        held, erased = rows[0], next(row for row in rows if row["session_id"] != rows[0]["session_id"])
        add_hold(connections, Scope(session_id=held["session_id"]), reason="case 17", by=Person("ann"))
        days = Scope(subaccount_id=held["subaccount_id"], first=SECOND)
        released = add_hold(connections, days, reason="case 18", by=Person("ann"))
        release_hold(connections, released.hold_id, reason=None, by=Person("bob"))
        erasing = Erasing(connections)
        order = Order(reason="request 1", by="ann")
        assert erasing.erase(erased["subaccount_id"], FIRST, order, sessions=[erased["session_id"]]) is not None
        erasing.finish()


def archived_days(start_trial: Callable[..., Any], key: SigningKey | None = None) -> Archived:
    clock = MovableClock(datetime(2026, 1, 8, 1, tzinfo=UTC))
    world = generate_world(seed=3, accounts=DEMO_ACCOUNTS, first_day=FIRST, last_day=THIRD, sessions_per_day=8)
    whole = [r for r in world.recordings if r.started_at.date() == FIRST and r.file is FileState.WHOLE]
    world = world.altered(whole[0], file=FileState.HTML)
    trial = start_trial(world=world, clock=clock)
    if key is not None:
        folder = trial.config.parent
        (folder / "ledger.key").write_text(key.private_text())
        anchor = f'anchor = {{ url = "file://{folder}/anchor" }}'
        trial.configure(f'[ledger]\nsigning_key = {{ file = "ledger.key" }}\n{anchor}')
    trial.archive()
    copied(trial.config.parent, "earlier")
    changed = next(
        row
        for row in trial.tables()["recordings"]
        if row["call_date"] == FIRST and row["archive_status"] == "archived" and row["subaccount_id"] == "demo_s3"
    )
    path = changed["source_uri"].removeprefix("s3://demo-recordings/my-recordings-path/")
    other = make_recording(shape=SHAPES[0], duration_s=33.0, seed=99)
    trial.simulator.s3.put(trial.simulator.world.accounts[0], path, other)
    trial.archive()
    if key is not None:
        hold_and_erase(trial)
    return Archived(trial)

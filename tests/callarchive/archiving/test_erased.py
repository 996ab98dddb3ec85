"""What was erased from a day does not return, however the day is archived again."""

import json
import shutil
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from callarchive.archiving.steps.erasing import erase_from_catalog
from callarchive.cli.day_results import archive_day
from callarchive.domain.erased_ids import ErasedIds
from callarchive.events.inbox.events import read_event
from callarchive.events.inbox.inbox import Inbox
from callarchive.monitoring.evaluation import run_checks
from callarchive.monitoring.verification import days_in_range, verify_days
from callarchive.monitoring.verification.witnessed import read_ledger
from callarchive.planning.reopening import day_to_reopen
from callarchive.removal.erasing import Erasing, Order
from callarchive.runtime.worker_pool import NoProgress
from callarchive.simulator.clock import MovableClock
from callarchive.simulator.events import recording_uploaded, session_summary
from callarchive.simulator.generation import generate_world
from callarchive.simulator.world import AccountPlan, FileState, Recording, Session
from callarchive.storage.stores.local import LocalStore
from tests.traces import traces_of

Start = Callable[..., Any]
DAY = date(2026, 1, 5)
ACCOUNT = AccountPlan("acme.sg", "s3", "acme-recordings/calls", listed_share=0.3)


@dataclass
class Erased:
    """A trial with an erased session, and an erased recording of another session."""

    trial: Any
    session: Session
    single: Recording
    clock: MovableClock

    @property
    def ids(self) -> ErasedIds:
        recordings = {one.recording_id for one in self.session.recordings} | {self.single.recording_id}
        return ErasedIds("acme.sg", frozenset([self.session.session_id]), frozenset(recordings))

    def traces(self) -> list[str]:
        """Return where an id is, except for tombstones, and for recordings in the register and in the ledger's entry."""
        folder = self.trial.config.parent
        roots = [folder / "archive", folder / "catalog", *folder.glob("inbox.sqlite3*")]
        found = [trace for one in self.ids.session_ids for trace in traces_of(one, *roots)]
        roots[:1] = [path for path in roots[0].iterdir() if path.name not in ("_ledger", "_erased")]
        return found + [trace for one in self.ids.recording_ids for trace in traces_of(one, *roots)]

    def erase(self) -> None:
        """Erase as the command does."""
        with self.trial.connections() as connections:
            erasing, order = Erasing(connections), Order(reason="case 1", by="ann")
            singles = {self.single.recording_id: self.single.session_id}
            erasing.erase("acme.sg", DAY, order, sessions=[self.session.session_id], recordings=singles)
            erasing.finish()

    def verify(self) -> list[str]:
        """Return what verification finds, and the names of checks that do not pass."""
        with self.trial.connections() as connections:
            known = list(days_in_range(connections, None, None).known)
            verified = verify_days(connections, known, ledger=read_ledger(connections), progress=NoProgress())
            found = [str(defect) for day in verified for defect in (*day.defects, *day.not_checked)]
            checks = run_checks(connections.catalog, DAY, connections.settings)
            return found + [check.name for check in checks if not check.passed]

    def open_count(self) -> int:
        """Return how many sessions of the day are to be looked up again."""
        with self.trial.connections() as connections:
            found = day_to_reopen(connections.catalog, connections.settings, DAY, now=self.clock())
            return 0 if found is None else found.session_count

    def send_events(self) -> None:
        """8x8 delivers events of what was erased, and of the rest of that day."""
        bodies = [recording_uploaded(one) for one in (*self.session.recordings, self.single)]
        bodies.append(session_summary(self.session))
        file = self.trial.config.parent / "inbox.sqlite3"
        with closing(Inbox.open(f"sqlite:///{file}", clock=self.clock)) as inbox:
            read = [read_event(json.dumps(b).encode(), subaccount_id="acme.sg", mask=lambda _: None) for b in bodies]
            inbox.add([("acme.sg", event) for event in read])

    def archive(self, *, reread: bool = False) -> Any:
        with self.trial.connections() as connections:
            return archive_day(connections, DAY, reread=reread)


@pytest.fixture
def erased(start_trial: Start) -> Erased:
    clock = MovableClock(datetime(2026, 1, 7, 12, tzinfo=UTC))
    world = generate_world(seed=5, accounts=(ACCOUNT,), first_day=DAY, last_day=DAY, sessions_per_day=12)
    sound = [s for s in world.sessions if s.recordings and all(_is_whole(r) for r in s.recordings)]
    session = next(s for s in sound if s.listed)
    alone = next(s for s in sound if len(s.recordings) == 1 and s is not session)
    trial = start_trial(world=world, clock=clock)
    case = Erased(trial, session, alone.recordings[0], clock)
    case.send_events()
    trial.configure("[reopen]\nmax_age_days = 3\n")
    case.archive()
    return case


def _is_whole(recording: Recording) -> bool:
    return recording.file is FileState.WHOLE and recording.ready_at is None


def rows(erased: Erased, table: str) -> list[dict[str, Any]]:
    return [row for row in erased.trial.tables()[table] if erased.ids.in_text(repr(row))]


def test_nothing_erased_returns_on_any_rerun(erased: Erased, caplog: pytest.LogCaptureFixture) -> None:
    assert erased.traces()
    before = erased.verify()
    downloads = len(erased.trial.files())
    open_before = erased.open_count()
    erased.erase()
    assert erased.traces() == []
    assert erased.verify() == before
    first = erased.trial.tables()
    tombstones = [row["recording_id"] for row in rows(erased, "recordings")]
    assert sorted(tombstones) == sorted(erased.ids.recording_ids)
    assert sum(row["recording_count"] for row in first["status_stats"] if row["archive_status"] == "erased") == len(
        tombstones
    )
    [call] = [row for row in first["sessions"] if row["session_id"] == erased.single.session_id]
    assert (call["recording_count"], call["lookup_status"]) == (0, "no_recordings")
    erased.erase()
    assert erased.trial.tables() == first

    caplog.clear()
    caplog.set_level("DEBUG", logger="callarchive")
    assert erased.open_count() == open_before
    asked = len(erased.trial.simulator.api.requests)
    summary = erased.archive()
    assert summary.fetched_count == 0
    paths = str([request.path for request in erased.trial.simulator.api.requests[asked:]])
    assert not erased.ids.in_text(paths)
    assert erased.single.session_id not in paths
    assert erased.trial.tables() == first
    erased.send_events()
    erased.archive()
    assert erased.traces() == []
    assert erased.trial.tables() == first
    erased.archive(reread=True)
    assert erased.trial.tables() == first
    erased.trial.configure('[lookups]\nrecheck = "all"\n')
    erased.clock.advance(timedelta(days=2))
    erased.archive()
    assert erased.traces() == []
    assert rows(erased, "recordings") == [row for row in first["recordings"] if erased.ids.in_text(repr(row))]
    assert rows(erased, "reconciliation") == []
    assert len(erased.trial.files()) <= downloads
    assert erased.verify() == before
    assert not erased.ids.in_text(caplog.text)


@pytest.mark.parametrize("timezone", ["UTC", "Pacific/Auckland"])
def test_nothing_erased_returns_with_a_lost_catalog(
    erased: Erased, timezone: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = erased.verify()
    erased.erase()
    shutil.rmtree(erased.trial.config.parent / "catalog")
    text = erased.trial.config.read_text().replace('timezone   = "UTC"', f'timezone   = "{timezone}"')
    erased.trial.config.write_text(text.replace(f"start_date = {DAY}", "start_date = 2026-01-01"))
    caplog.set_level("DEBUG", logger="callarchive")
    erased.send_events()
    days = [DAY + timedelta(days=offset) for offset in (-1, 0, 1)]
    for day in (days[0], days[2]):
        (erased.trial.config.parent / "inbox" / f"sessions-{day}.csv").write_text("session_id\n")
    erased.trial.archive(*days)
    assert {row["call_date"] for row in erased.trial.tables()["sessions"]} == set(
        days[1:] if timezone != "UTC" else [DAY]
    )
    assert erased.traces() == []
    assert rows(erased, "reconciliation") == []
    if timezone == "UTC":
        assert erased.verify() == before
    assert not erased.ids.in_text(caplog.text)


def test_an_erased_id_is_known_as_erased(erased: Erased) -> None:
    erased.erase()
    run = erased.trial.run
    session, whole, single = (
        *(erased.session.session_id, erased.session.recordings[0].recording_id),
        erased.single.recording_id,
    )
    erasure = f"of acme.sg, {DAY}: erased on 2026-01-07 (erasure-"
    for one in (session, whole, single):
        found = run("find", one)
        assert found.returncode == 0
        assert f"{one} {erasure}" in found.stdout
        assert "): case 1" in found.stdout
        assert (f"Recording {single}: erased on 2026-01-07" in found.stdout) is (one == single)
    assert [row["reason"] for row in json.loads(run("find", single, "--json").stdout)["erased"]] == ["case 1"]
    for command in ("play", "evidence"):
        done = run(command, whole)
        assert done.returncode == 1
        assert f"recording {whole} is not archived (erased on 2026-01-07): it cannot be restored" in done.stderr
    shutil.rmtree(erased.trial.config.parent / "catalog")
    assert f"{session} {erasure}" in run("find", session).stdout
    assert f"callarchive find {whole}" in run("play", whole).stderr


@pytest.mark.live
def test_removal_from_the_catalog_that_is_cut_off_at_any_write_is_completed_by_repeating_it(
    erased: Erased, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, left = erased.trial.config.parent, [10_000]

    class CutOffError(BaseException):
        pass

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def cut(*given: Any, **more: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise CutOffError
            return method(*given, **more)

        return cut

    for name in ("replace", "replacing", "create", "delete", "erase_folder"):
        monkeypatch.setattr(LocalStore, name, counted(getattr(LocalStore, name)))

    def remove() -> None:
        with erased.trial.connections() as connections, connections.day_lock(DAY):
            erase_from_catalog(connections.catalog_day(DAY), erased.ids, responses=connections.responses)

    for place in ("archive", "catalog"):
        shutil.copytree(folder / place, folder / "before" / place)
    tables = None
    for writes in range(100):
        left[0] = writes
        with suppress(CutOffError):
            remove()
        is_whole, left[0] = left[0] >= 0, 10_000
        remove()
        assert not traces_of(erased.session.session_id, folder / "catalog")
        tables = tables or erased.trial.tables()
        assert erased.trial.tables() == tables, f"cut off at write {writes}"
        if is_whole:
            break
        for place in ("archive", "catalog"):
            shutil.rmtree(folder / place)
            shutil.copytree(folder / "before" / place, folder / place)
    assert is_whole
    assert writes > 20


def test_a_run_lists_the_folders_of_holds_and_erasures_once(
    start_trial: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, listed = start_trial(sessions_per_day=4), list[str]()

    def noting(real: Callable[..., Any]) -> Callable[..., Any]:
        def note(store: LocalStore, folder: str) -> Any:
            listed.append(folder)
            return real(store, folder)

        return note

    for name in ("folders", "list"):
        monkeypatch.setattr(LocalStore, name, noting(getattr(LocalStore, name)))
    trial.archive(DAY)
    assert sorted(folder for folder in listed if folder.startswith(("_erased", "_holds"))) == ["_erased", "_holds"]

"""What was erased from a day does not return, however the day is archived again."""

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from callarchive.archiving.steps.erasing import erase_from_catalog
from callarchive.cli.day_results import archive_day
from callarchive.custody.erasures import Erasure
from callarchive.domain.erased_ids import ErasedIds
from callarchive.events.inbox.events import read_event
from callarchive.events.inbox.inbox import Inbox
from callarchive.simulator.clock import MovableClock
from callarchive.simulator.events import recording_uploaded, session_summary
from callarchive.simulator.generation import generate_world
from callarchive.simulator.world import AccountPlan, FileState, Recording, Session
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
        """Where an id is, except for tombstones, the register and the ledger, whose entries are redacted elsewhere."""
        folder = self.trial.config.parent
        roots = [path for path in (folder / "archive").iterdir() if path.name not in ("_ledger", "_erased")]
        roots += [folder / "catalog", *folder.glob("inbox.sqlite3*")]
        return [found for one in sorted(self.ids.all) for found in traces_of(one, *roots)]

    def erase(self) -> None:
        """Erase as a command does: the register first, then audio, catalog and inbox."""
        erasure = Erasure(
            erasure_id="erasure-a",
            subaccount_id="acme.sg",
            call_date=DAY,
            reason="case 1",
            by="ann",
            session_ids=self.ids.session_ids,
            recording_ids=self.ids.recording_ids,
        )
        with self.trial.connections() as connections:
            connections.register.add(erasure)
            for item in connections.archive.store.list(""):
                if erasure.ids.in_text(item.path) and not item.path.startswith("_ledger"):
                    connections.archive.store.erase(item.path)
            connections.archive.store.erase_folder(f"acme.sg/call_date={DAY}/{self.session.session_id}")
            for day in (DAY - timedelta(days=1), DAY, DAY + timedelta(days=1)):
                with connections.day_lock(day):
                    day_of_catalog = connections.catalog_day(day)
                    erase_from_catalog(day_of_catalog, erasure.ids, responses=connections.responses)
            if (inbox := connections.inbox()) is not None:
                inbox.erase(erasure.ids)

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
    world = generate_world(seed=5, accounts=(ACCOUNT,), first_day=DAY, last_day=DAY, sessions_per_day=40)
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
    downloads = len(erased.trial.files())
    erased.erase()
    assert erased.traces() == []
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
    caplog.set_level("DEBUG")
    summary = erased.archive()
    assert summary.fetched_count == 0
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
    assert not erased.ids.in_text(caplog.text)


def test_nothing_erased_returns_with_a_lost_catalog(erased: Erased, caplog: pytest.LogCaptureFixture) -> None:
    erased.erase()
    kept = erased.trial.files()
    shutil.rmtree(erased.trial.config.parent / "catalog")
    caplog.set_level("DEBUG")
    erased.send_events()
    erased.archive()
    assert erased.traces() == []
    assert erased.trial.files() == kept
    assert rows(erased, "reconciliation") == []
    assert not erased.ids.in_text(caplog.text)

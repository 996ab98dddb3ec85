"""An erasure killed at its writes and deletions, then continued; holds that are added in between."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from callarchive.archiving.recording_archive import RecordingArchive
from callarchive.custody.holds import Scope
from callarchive.events.inbox.events import read_event
from callarchive.events.inbox.inbox import Inbox
from callarchive.monitoring.verification import verify_days
from callarchive.monitoring.verification.witnessed import read_ledger
from callarchive.removal.erasing import Erasing, Order
from callarchive.removal.obstacles import HeldError
from callarchive.runtime.worker_pool import NoProgress
from callarchive.simulator.running import DEMO_ACCOUNTS

Start = Callable[..., Any]
_CHANGES = ("link", "replace", "rmdir", "unlink")
ORDER = Order(reason="case 17", by="ada")


@dataclass
class Scene:
    """An archived day with a session to erase, and its state before."""

    trial: Any
    row: dict[str, Any]
    before: Path
    places_with: Callable[..., list[str]]

    @property
    def session(self) -> str:
        return str(self.row["session_id"])

    @property
    def data(self) -> list[Path]:
        return [self.trial.config.parent / name for name in ("archive", "catalog")]

    def restore(self) -> None:
        for folder in self.data:
            shutil.rmtree(folder)
            shutil.copytree(self.before / folder.name, folder)
        for file in self.trial.config.parent.glob("inbox.sqlite3*"):
            file.unlink()
        shutil.copy(self.before / "inbox.sqlite3", self.trial.config.parent)

    def erase(self) -> None:
        with self.trial.connections() as connections:
            erasing = Erasing(connections)
            if not erasing.continue_begun(ORDER):
                place = (self.row["subaccount_id"], self.trial.days[0])
                erasing.erase(*place, ORDER, sessions=[self.session])
            erasing.finish()

    def killed(self, at: int) -> bool:
        """Erase in a process that is killed before its `at`th change of a file system; return whether it was."""
        child = os.fork()
        if child == 0:
            count = 0

            def dying(change: Callable[..., Any]) -> Callable[..., Any]:
                def counted(*arguments: Any, **options: Any) -> Any:
                    nonlocal count
                    count += 1
                    if count == at:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return change(*arguments, **options)

                return counted

            for name in _CHANGES:
                setattr(os, name, dying(getattr(os, name)))
            try:
                self.erase()
            except BaseException:
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFSIGNALED(status)

    def is_whole(self) -> bool:
        """Return whether all files and all tables are those from before."""
        return all(
            (folder / path.relative_to(self.before / folder.name)).exists()
            and (folder / path.relative_to(self.before / folder.name)).read_bytes() == path.read_bytes()
            for folder in self.data
            for path in (self.before / folder.name).rglob("*")
            if path.is_file() and not {"_locks", "_ledger"} & set(path.parts)
        )

    def hold(self) -> None:
        with self.trial.connections() as connections:
            connections.holds.add(
                Scope(session_id=self.session), reason="case 18", by="ada", at=self.trial.simulator.clock()
            )

    def assert_erased(self) -> None:
        folder = self.trial.config.parent
        left = {"/".join(path.split("/")[:2]) for path in self.places_with(folder, [self.session])}
        assert left <= {"catalog/_steps", "catalog/recordings", "archive/_holds"}
        assert not [path for path in folder.rglob("*") if path.is_file() and self.audio in path.read_bytes()]
        rows = self.trial.tables()["recordings"]
        assert {row["archive_status"] for row in rows if row["session_id"] == self.session} == {"erased"}
        self.assert_verified()

    def assert_verified(self) -> None:
        with self.trial.connections() as connections:
            assert connections.register.begun() == []
            ledger = read_ledger(connections)
            assert ledger.problems == []
            days = list(verify_days(connections, self.trial.days, ledger=ledger, progress=NoProgress()))
        assert [(day.defects, day.not_checked) for day in days] == [((), ())]

    @property
    def audio(self) -> bytes:
        path = Path(self.row["archive_uri"].removeprefix("file://"))
        return (self.before / path.relative_to(self.trial.config.parent)).read_bytes()


@pytest.fixture(scope="module")
def scene(
    start_shared_trial: Start, tmp_path_factory: pytest.TempPathFactory, a_recording: Any, places_with: Any
) -> Scene:
    trial = start_shared_trial(sessions_per_day=4, accounts=DEMO_ACCOUNTS[:1])
    trial.archive()
    row = a_recording(trial)
    body = {
        "namespace": "CALL",
        "eventType": "CALL_RECORDING_STATUS",
        "subAccountId": row["subaccount_id"],
        "payload": {
            "sessionId": row["session_id"],
            "recordingId": row["recording_id"],
            "recordingStatus": "UPLOAD_COMPLETED",
        },
    }
    with trial.connections() as connections:
        inbox = Inbox.open(connections.settings.inbox.url)
    event = read_event(json.dumps(body).encode(), subaccount_id=row["subaccount_id"], mask=lambda _: None)
    inbox.add([(row["subaccount_id"], event)])
    inbox.close()
    before = tmp_path_factory.mktemp("before")
    for name in ("archive", "catalog"):
        shutil.copytree(trial.config.parent / name, before / name)
    shutil.copy(trial.config.parent / "inbox.sqlite3", before)
    return Scene(trial, row, before, places_with)


@pytest.fixture
def restored(scene: Scene) -> Iterator[Scene]:
    yield scene
    scene.restore()


def changes(scene: Scene) -> int:
    """Return the number of changes that an erasure makes."""
    count = 0
    with pytest.MonkeyPatch.context() as patch:
        for name in _CHANGES:
            real = getattr(os, name)

            def counted(*arguments: Any, real: Any = real, **options: Any) -> Any:
                nonlocal count
                count += 1
                return real(*arguments, **options)

            patch.setattr(os, name, counted)
        scene.erase()
    scene.assert_erased()
    return count


def kill_and_continue(scene: Scene, at: int, *, with_hold: bool) -> None:
    assert scene.killed(at)
    was_whole = scene.is_whole()
    if not with_hold:
        scene.erase()
        scene.assert_erased()
        return
    scene.hold()
    with suppress(HeldError):
        scene.erase()
    if was_whole:
        assert scene.is_whole(), f"killed at change {at}: the hold came before the first deletion"
        scene.assert_verified()
    else:
        scene.assert_erased()


@pytest.mark.parametrize("with_hold", [False, True], ids=["", "with a hold"])
def test_an_erasure_killed_at_some_changes_is_continued_and_a_hold_before_the_first_deletion_wins(
    restored: Scene, with_hold: bool
) -> None:
    last = changes(restored)
    for at in (6, last // 2):
        restored.restore()
        kill_and_continue(restored, at, with_hold=with_hold)


def test_between_a_kill_and_its_continuation_nothing_is_fetched_and_nothing_is_a_defect(
    restored: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    keep = RecordingArchive.keep

    def noted(self: RecordingArchive, *arguments: Any, **options: Any) -> Any:
        fetched.append(options["recording_id"])
        return keep(self, *arguments, **options)

    monkeypatch.setattr(RecordingArchive, "keep", noted)
    last = changes(restored)
    for at in (last // 2,):
        restored.restore()
        assert restored.killed(at)
        with restored.trial.connections() as connections:
            ledger = read_ledger(connections)
            days = list(verify_days(connections, restored.trial.days, ledger=ledger, progress=NoProgress()))
        assert [day.defects for day in days] == [()]
        assert "callarchive erase --continue" in str(days[0].not_checked)
        restored.trial.archive()
        assert restored.row["recording_id"] not in fetched
        restored.erase()
        restored.assert_erased()


@pytest.mark.live
@pytest.mark.parametrize("with_hold", [False, True], ids=["", "with a hold"])
def test_an_erasure_killed_at_any_change_is_continued_and_a_hold_before_the_first_deletion_wins(
    restored: Scene, with_hold: bool
) -> None:
    for at in range(1, changes(restored)):
        restored.restore()
        kill_and_continue(restored, at, with_hold=with_hold)

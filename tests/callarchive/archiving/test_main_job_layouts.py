"""Recordings that are not where 8x8 reports them are fetched from where the landing's listing shows them."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from callarchive.simulator.audio import make_recording
from callarchive.simulator.clock import MovableClock
from callarchive.simulator.generation import generate_world
from callarchive.simulator.world import AccountPlan, FileState, World
from callarchive.storage.landing.s3.landing import S3Landing
from callarchive.storage.landing.sftp.landing import SftpLanding

Start = Callable[..., Any]
DAY = date(2026, 1, 5)
S3 = (AccountPlan("acme_s3", "s3", "acme-recordings/calls"),)
SFTP = (AccountPlan("acme_sftp", "sftp", "upload"),)
Move = Callable[[str], str]


def by_day(path: str) -> str:
    *_, session, name = path.split("/")
    return f"2026/01/05/{session}/{name}"


def flat_by_day(path: str) -> str:
    return f"calls/2026/01/05/{path.rpartition('/')[2]}"


def moved(path: str) -> str:
    return f"old/calls of january/{path.rpartition('/')[2]}"


def renamed_in_its_session(path: str) -> str:
    *_, session, name = path.split("/")
    return f"moved/{session}/rec-{name[:36].upper()}.MP3"


def move_all(trial: Any, move: Move) -> int:
    """Move every object to where `move` returns. Return the number of objects."""
    (account,) = trial.simulator.world.accounts
    paths = trial.simulator.s3.paths(account) if account.landing == "s3" else trial.simulator.sftp.paths(account)
    for path in paths:
        if account.landing == "s3":
            bucket, client = account.bucket, trial.simulator.s3.client
            source = {"Bucket": bucket, "Key": f"{account.prefix}/{path}"}
            client.copy_object(Bucket=bucket, Key=f"{account.prefix}/{move(path)}", CopySource=source)
            client.delete_object(**source)
        else:
            old, new = trial.simulator.sftp._file(account, path), trial.simulator.sftp._file(account, move(path))
            new.parent.mkdir(parents=True, exist_ok=True)
            old.rename(new)
    return len(paths)


def states(trial: Any) -> dict[str, str]:
    return {row["recording_id"]: row["archive_status"] for row in trial.tables()["recordings"]}


def set_aside(trial: Any) -> None:
    for name in ("archive", "catalog"):
        (trial.config.parent / name).rename(trial.config.parent / f"{name}-undisturbed")


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The landings that were listed from their root."""
    made: list[str] = []
    for kind in (S3Landing, SftpLanding):

        def pages(self: Any, folder: str, real: Any = kind.pages, **more: Any) -> Any:
            if not folder:
                made.append(self.uri)
            return real(self, folder, **more)

        monkeypatch.setattr(kind, "pages", pages)
    return made


@pytest.mark.parametrize("accounts", [S3, SFTP], ids=["s3", "sftp"])
@pytest.mark.parametrize("move", [by_day, flat_by_day, moved, renamed_in_its_session])
def test_whatever_the_layout_every_recording_is_archived_in_the_same_run_and_a_rerun_fetches_nothing(
    start_trial: Start, accounts: tuple[AccountPlan], move: Move, listings: list[str]
) -> None:
    trial = start_trial(sessions_per_day=24, accounts=accounts)
    trial.archive()
    undisturbed, kept = states(trial), trial.files()
    assert len(listings) == 1
    set_aside(trial)
    move_all(trial, move)
    trial.archive()
    assert states(trial) == undisturbed
    assert trial.files() == kept
    assert len(listings) == 2, "the search and the reconciliation share a listing"
    orphans = [row for row in trial.tables()["reconciliation"] if row["kind"] == "orphan_object"]
    assert all(row["recording_id"] not in undisturbed for row in orphans)
    (summary,) = trial.archive()
    assert summary.fetched_count == 0
    assert (states(trial), trial.files()) == (undisturbed, kept)
    assert len(listings) == 3


def test_no_listing_is_made_where_it_is_switched_off_or_the_day_is_not_over(
    start_trial: Start, listings: list[str]
) -> None:
    clock = MovableClock(datetime(2026, 1, 5, 23, 30, tzinfo=UTC))
    trial = start_trial(sessions_per_day=8, accounts=S3, clock=clock)
    move_all(trial, by_day)
    trial.archive()
    assert listings == []
    assert "archived" not in states(trial).values()
    clock.advance(timedelta(days=2))
    trial.configure("[reconciliation]\nlist_landing = false\n")
    trial.archive()
    assert listings == []
    assert "missing" in states(trial).values()
    trial.config.write_text(trial.config.read_text().replace("list_landing = false", "list_landing = true"))
    trial.archive()
    assert "archived" in states(trial).values()
    assert "missing" not in states(trial).values()


def world_with(**changes: Any) -> tuple[World, Any]:
    """A day, and one of its recordings, which is altered so."""
    world = generate_world(seed=3, accounts=S3, first_day=DAY, last_day=DAY, sessions_per_day=8)
    one = next(r for r in world.recordings if r.file is FileState.WHOLE and r.ready_at is None)
    altered = world.altered(one, **changes)
    return altered, next(r for r in altered.recordings if r.recording_id == one.recording_id)


def sound(seed: int, duration_s: float = 3) -> bytes:
    return make_recording(shape="lame_cbr_8k_mono", duration_s=duration_s, seed=seed)


@pytest.mark.parametrize("status", ["UPLOAD_COMPLETED", "UPLOAD_FAILED", "never heard of"])
def test_of_two_objects_the_newest_is_the_recording_and_the_other_is_kept_as_a_version(
    start_trial: Start, status: str
) -> None:
    world, one = world_with(file=FileState.ABSENT, status=status)
    trial = start_trial(world=world)
    older, newer, name = sound(1, duration_s=2), sound(2), one.path.rpartition("/")[2]
    trial.simulator.s3.put(S3[0], f"b/{name}", older)
    trial.simulator.s3.put(S3[0], f"c/{one.recording_id}.mp3", older)
    # S3 reports times in whole seconds, and size breaks ties: `d` is at least as new, and larger.
    trial.simulator.s3.put(S3[0], f"d/{name}", newer)
    trial.archive()
    (row,) = [row for row in trial.tables()["recordings"] if row["recording_id"] == one.recording_id]
    assert (row["archive_status"], row["size_bytes"]) == ("archived", len(newer))
    assert row["source_uri"].endswith(f"/d/{name}")
    kept = {p.read_bytes() for p in (trial.config.parent / "archive").rglob(f"{one.recording_id}*.mp3")}
    assert kept == {older, newer}
    assert len(row["versions"]) == 2
    (summary,) = trial.archive()
    assert summary.fetched_count == 0


def test_an_object_at_the_place_that_8x8_named_is_taken_before_all_others(start_trial: Start) -> None:
    world, one = world_with()
    trial = start_trial(world=world)
    trial.simulator.s3.put(S3[0], f"zzz/{one.path.rpartition('/')[2]}", sound(1))
    trial.archive()
    (row,) = [row for row in trial.tables()["recordings"] if row["recording_id"] == one.recording_id]
    assert row["source_uri"].endswith(one.path)


def test_what_is_no_audio_at_8x8s_place_is_looked_for_elsewhere(start_trial: Start) -> None:
    world, one = world_with()
    trial = start_trial(world=world)
    trial.simulator.s3.put(S3[0], one.path, b"<html>not here</html>")
    trial.simulator.s3.put(S3[0], f"repaired/{one.path.rpartition('/')[2]}", sound(1))
    trial.archive()
    (row,) = [row for row in trial.tables()["recordings"] if row["recording_id"] == one.recording_id]
    assert (row["archive_status"], row["size_bytes"]) == ("archived", len(sound(1)))


def test_a_recording_that_8x8_is_still_processing_after_days_is_archived_if_its_object_is_listed(
    start_trial: Start,
) -> None:
    world, one = world_with(status="PROCESSING")
    clock = MovableClock(datetime(2026, 1, 30, tzinfo=UTC))
    trial = start_trial(world=world, clock=clock)
    trial.archive()
    assert states(trial)[one.recording_id] == "archived"


def test_an_object_whose_name_dates_it_to_the_next_day_is_found(start_trial: Start) -> None:
    world, one = world_with(file=FileState.ABSENT)
    trial = start_trial(world=world)
    trial.simulator.s3.put(S3[0], f"x/{one.recording_id}_2026-01-06T00:10:00.000Z.mp3", sound(1))
    trial.archive()
    assert states(trial)[one.recording_id] == "archived"


def test_recordings_that_may_be_in_a_refused_folder_are_failed(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=8, accounts=SFTP)
    trial.archive()
    undisturbed = states(trial)
    set_aside(trial)
    move_all(trial, by_day)
    trial.simulator.sftp.deny_folder(SFTP[0], "2026/01")
    trial.archive()
    now = states(trial)
    archived = {id_ for id_, state in undisturbed.items() if state == "archived"}
    assert archived
    assert {now[id_] for id_ in archived} == {"failed"}
    row = next(row for row in trial.tables()["recordings"] if row["recording_id"] in archived)
    assert "/upload/2026/01 could not be looked into" in row["error"]
    assert not list(Path(trial.config.parent / "archive").rglob("*.mp3"))

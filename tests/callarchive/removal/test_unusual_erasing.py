"""Erasure of single recordings, and of ids that no table has, or that other commands are at work on."""

import json
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from callarchive.archiving.transfer_journal import TransferJournal
from callarchive.catalog import schemas
from callarchive.catalog.rows import file_from
from callarchive.custody.holds import Scope
from callarchive.events.inbox.events import read_event
from callarchive.events.inbox.inbox import Inbox
from callarchive.removal.erasing import Erasing, Order
from callarchive.removal.obstacles import HeldError
from callarchive.removal.search import places_of
from callarchive.simulator.generation import generate_world
from callarchive.simulator.running import DEMO_ACCOUNTS

Start = Callable[..., Any]
ORDER = Order(reason="case 17", by="ada")


@pytest.fixture
def trial(start_trial: Start) -> Any:
    trial = start_trial(sessions_per_day=6, accounts=DEMO_ACCOUNTS[1:2])
    trial.archive()
    return trial


def erase(trial: Any, **wanted: Any) -> Any:
    with trial.connections() as connections:
        erasing = Erasing(connections)
        done = erasing.erase("demo_sftp", trial.days[0], ORDER, **wanted)
        erasing.finish()
    return done


def put_event(trial: Any, session: str, recording: str) -> None:
    inbox = Inbox.open(f"sqlite:///{trial.config.parent}/inbox.sqlite3")
    payload = {"sessionId": session, "recordingId": recording, "status": "UPLOAD_COMPLETED"}
    body = json.dumps({"eventType": "CALL_RECORDING_STATUS", "payload": payload}).encode()
    inbox.add([("demo_sftp", read_event(body, subaccount_id="demo_sftp", mask=lambda _: None))])
    inbox.close()


def test_a_single_recording_goes_and_its_session_stays(
    trial: Any, a_recording: Any, places_with: Any, document: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = trial.config.parent / "dagster"
    (home / "storage" / "run" / "compute_logs").mkdir(parents=True)
    row = a_recording(trial)
    (home / "storage" / "run" / "compute_logs" / "step.err").write_text(f"kept {row['recording_id']}.mp3\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    trial.simulator.environment["DAGSTER_HOME"] = str(home)
    before = trial.tables()["sessions"]
    count = next(one["recording_count"] for one in before if one["session_id"] == row["session_id"])
    words = ("erase", "--recording", row["recording_id"], "--reason", "case 17", "--delete-at-landing", "--json")
    [erased] = document(trial.run(*words))["erased"]
    assert (erased["session_ids"], erased["recording_ids"]) == ([], [row["recording_id"]])
    assert trial.run("archive", "--day", str(trial.days[0]), "--ignore-checks").returncode == 0
    after = {one["session_id"]: one for one in trial.tables()["sessions"]}
    assert after.keys() == {one["session_id"] for one in before}
    assert after[row["session_id"]]["recording_count"] == count - 1
    assert trial.state_of(row["recording_id"]) == "erased"
    left = places_with(trial.config.parent, [row["recording_id"]])
    assert {path.split("/")[1] for path in left} == {"_steps", "recordings", "_erased", "_ledger"}
    assert not [path for path in left if path.endswith(".mp3")]
    ledger = b"".join(path.read_bytes() for path in (trial.config.parent / "archive" / "_ledger").rglob("*.jsonl"))
    assert [json.loads(line)["event"] for line in ledger.splitlines() if row["recording_id"].encode() in line] == [
        "erased"
    ]
    verified = trial.run("verify")
    assert verified.returncode == 0, verified.stdout


def test_an_id_of_the_other_kind_is_named_with_its_option(trial: Any, a_recording: Any) -> None:
    row = a_recording(trial)
    for option, other, wanted in (
        ("--session", "--recording", row["recording_id"]),
        ("--recording", "--session", row["session_id"]),
    ):
        done = trial.run("erase", option, wanted, "--reason", "case 17")
        assert done.returncode == 1
        assert f"use {other} {wanted}" in done.stderr


def test_a_session_that_only_an_event_knows_is_erased(trial: Any, places_with: Any, document: Any) -> None:
    session, recording = "b6c3f3b3-e1ed-11f0-b20e-fd5bc17a64f7", str(uuid.uuid4())
    put_event(trial, session, recording)
    assert places_with(trial.config.parent, [session])
    done = document(trial.run("erase", "--session", session, "--reason", "case 17", "--json"))
    assert [one["recording_ids"] for one in done["erased"]] == [[recording]]
    assert not places_with(trial.config.parent, [session])
    assert "already erased" in trial.run("erase", "--session", session, "--reason", "case 17").stdout


@pytest.mark.parametrize("folder", ["demo_sftp/call_date=2025-03-04", "_quarantine/demo_sftp/call_date=2025-03-04"])
def test_files_without_a_row_are_erased(trial: Any, folder: str, places_with: Any) -> None:
    session, recording = str(uuid.uuid4()), str(uuid.uuid4())
    file = trial.config.parent / "archive" / folder / session / f"{recording}.mp3"
    for wanted, kind in ((session, "session_id"), (recording, "recording_id")):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"audio")
        with trial.connections() as connections:
            [place] = places_of(connections, wanted, kind=kind)
            assert (str(place.call_date), place.session_id) == ("2025-03-04", session)
            erasing = Erasing(connections)
            one = {"sessions": [session]} if kind == "session_id" else {"recordings": {recording: session}}
            assert erasing.erase(place.subaccount_id, place.call_date, ORDER, **one)
            erasing.finish()
        assert not file.parent.exists()
    assert not places_with(trial.config.parent, [session])


def test_what_a_killed_run_left_on_the_next_day_is_erased(trial: Any, a_recording: Any, places_with: Any) -> None:
    session = a_recording(trial)["session_id"]
    left = trial.config.parent / "archive" / "demo_sftp" / "call_date=2026-01-06" / session / ".0123456789abcdef.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"audio")
    erase(trial, sessions=[session])
    assert not places_with(trial.config.parent / "archive", [session])
    assert not left.parent.exists()


def test_a_session_that_only_stored_responses_have_is_erased(trial: Any, a_recording: Any, places_with: Any) -> None:
    row = a_recording(trial)
    for name in ("catalog/_steps", "catalog/sessions", "catalog/recordings", "catalog/reconciliation"):
        for path in (trial.config.parent / name).rglob("*.parquet"):
            path.unlink()
    file = Path(row["archive_uri"].removeprefix("file://"))
    for path in (*file.parent.iterdir(), file.parent):
        path.unlink() if path.is_file() else path.rmdir()
    done = trial.run("erase", "--session", row["session_id"], "--reason", "case 17")
    assert done.returncode == 0, done.stderr
    assert not places_with(trial.config.parent / "catalog", [row["session_id"]])
    assert not places_with(trial.config.parent / "archive", [row["session_id"]])


def test_what_an_interrupted_run_left_of_the_session_is_erased_and_of_other_days_stays(
    trial: Any, a_recording: Any, places_with: Any
) -> None:
    row = a_recording(trial)
    with trial.connections() as connections:
        kept = connections.catalog.partition(schemas.RECORDING_FILES, trial.days[0]).to_pylist()
        for day, session in ((date(2026, 1, 9), row["session_id"]), (date(2026, 1, 10), str(uuid.uuid4()))):
            journal = TransferJournal(connections.catalog, day)
            file = file_from(next(one for one in kept if one["recording_id"] == row["recording_id"]))
            other = replace(
                file, session_id=session, recording_id=str(uuid.uuid4()), kept=None, source=None, versions=()
            )
            journal.add(other)
            journal.flush()
    done = trial.run("erase", "--session", row["session_id"], "--reason", "case 17")
    assert done.returncode == 0, done.stderr
    left = places_with(trial.config.parent / "catalog", [row["session_id"]])
    assert {path.rpartition("/")[0] for path in left} <= {
        *(f"_steps/recording_files/call_date=2026-01-0{day}" for day in (5, 9)),
        *(f"recordings/call_date=2026-01-0{day}" for day in (5, 9)),
    }
    assert list(
        (trial.config.parent / "catalog" / "_steps" / "recording_files_journal" / "call_date=2026-01-10").iterdir()
    )


def test_two_erasures_of_a_session_at_once_make_one(trial: Any, a_recording: Any) -> None:
    row = a_recording(trial)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: erase(trial, sessions=[row["session_id"]]), range(2)))
    with trial.connections() as connections:
        assert connections.register.begun() == []
        assert len({item.path for item in connections.archive.store.list("_erased")}) == len(
            [one for one in results if one is not None]
        )
    verified = trial.run("verify")
    assert verified.returncode == 0, verified.stdout


def test_an_erasure_waits_for_a_run_of_its_day_and_a_hold_that_is_added_meanwhile_wins(
    trial: Any, a_recording: Any
) -> None:
    row, files = a_recording(trial), trial.files()
    refused: list[HeldError] = []

    def run() -> None:
        with pytest.raises(HeldError) as error:
            erase(trial, sessions=[row["session_id"]])
        refused.append(error.value)

    waiting = threading.Thread(target=run)
    with trial.connections() as connections:
        with connections.day_lock(trial.days[0]):  # as a run does
            waiting.start()
            waiting.join(0.3)
            assert waiting.is_alive()
            scope = Scope(session_id=row["session_id"])
            connections.holds.add(scope, reason="case 18", by="ada", at=trial.simulator.clock())
        waiting.join()
    assert [len(error.holds) for error in refused] == [1]
    assert {path: data for path, data in trial.files().items() if "_holds" not in path} == files


def test_another_account_with_the_same_ids_keeps_everything(start_trial: Start) -> None:
    one, other = DEMO_ACCOUNTS[0], replace(DEMO_ACCOUNTS[0], subaccount_id="demo_other")
    day = date(2026, 1, 5)
    world = generate_world(seed=3, accounts=[one], first_day=day, last_day=day, sessions_per_day=6)
    copies = tuple(
        replace(
            session,
            subaccount_id="demo_other",
            recordings=tuple(replace(one, subaccount_id="demo_other") for one in session.recordings),
        )
        for session in world.sessions
    )
    world = replace(world, accounts=(one, other), sessions=world.sessions + copies)
    trial = start_trial(accounts=(one, other), world=world)
    trial.archive()

    def others() -> list[Any]:
        rows = [row for table in trial.tables().values() for row in table if row.get("subaccount_id") == "demo_other"]
        files = {path: sha256 for path, sha256 in trial.files().items() if path.startswith("demo_other/")}
        return [sorted(map(repr, rows)), files]

    before = others()
    session = next(row["session_id"] for row in trial.tables()["recordings"] if row["archive_status"] == "archived")
    done = trial.run("erase", "--session", session, "--account", one.subaccount_id, "--reason", "case 17")
    assert done.returncode == 0, done.stderr
    assert others() == before
    assert not [path for path in trial.files() if path.startswith(f"{one.subaccount_id}/") and session in path]
    assert trial.run("archive", "--day", str(day), "--reread").returncode in (0, 4)
    assert others() == before
    verified = trial.run("verify")
    assert verified.returncode == 0, verified.stdout

"""Erasure on archived days: what is gone, what stays, and that no run brings it back."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from callarchive.custody.holds import Scope
from callarchive.simulator.running import DEMO_ACCOUNTS

Start = Callable[..., Any]


@pytest.fixture
def trial(start_trial: Start) -> Any:
    trial = start_trial(sessions_per_day=8, accounts=DEMO_ACCOUNTS[:2])
    trial.archive()
    return trial


@pytest.fixture(scope="module")
def shared(start_shared_trial: Start) -> Any:
    """An archived day that no test changes."""
    trial = start_shared_trial(sessions_per_day=4, accounts=DEMO_ACCOUNTS[:1])
    trial.archive()
    return trial


def test_an_erased_session_leaves_only_its_tombstones(
    trial: Any, places_with: Any, document: Any, a_recording: Any
) -> None:
    row = a_recording(trial)
    session, folder = row["session_id"], trial.config.parent
    audio = Path(row["archive_uri"].removeprefix("file://")).read_bytes()
    recordings = {one["recording_id"] for one in trial.tables()["recordings"] if one["session_id"] == session}
    sessions = {one["session_id"] for one in trial.tables()["sessions"]} - {session}
    document(trial.run("ledger", "verify", "--json"))
    (folder / "checkpoint").write_text(trial.run("ledger", "head").stdout)
    done = document(trial.run("erase", "--json", "--session", f"{{{session.upper()}}}", "--reason", "case 17"))
    assert [set(one["recording_ids"]) for one in done["erased"]] == [recordings]
    left = places_with(folder, [session])
    assert {path.split("/")[1] for path in left} == {"_steps", "recordings"}, left
    assert not [path for path in folder.rglob("*") if path.is_file() and audio in path.read_bytes()]
    tables = trial.tables()
    assert {one["session_id"] for one in tables["sessions"]} == sessions
    erased = {one["recording_id"] for one in tables["recordings"] if one["archive_status"] == "erased"}
    assert erased == recordings
    document(trial.run("ledger", "verify", "--json", "--since", str(folder / "checkpoint")))
    assert [one for one in done["out_of_reach"] if one.startswith("Dagster's storage is not known: if you use Dagster")]
    log = folder / ".dagster" / "storage" / "run" / "compute_logs" / "step.err"
    log.parent.mkdir(parents=True)
    log.write_text(" ".join((session, *recordings)))
    (folder / ".dagster" / "catalog-url").write_text((folder / "catalog").as_uri())
    other = a_recording(trial)["recording_id"]
    proven = document(trial.run("evidence", other, "--output", str(folder / "evidence.zip"), "--json"))
    assert proven["recording_id"] == other
    again = document(trial.run("erase", "--json", "--session", session, "--reason", "case 17"))
    assert set(log.read_text().split()) == {"erased".ljust(36, "-")}, "a repetition, with Dagster's folder"
    assert again["erased"] == []
    assert "already erased on 20" in again["already_erased"][0]


def test_a_dry_run_shows_what_would_go_and_changes_nothing(trial: Any, document: Any, a_recording: Any) -> None:
    row, folder = a_recording(trial), trial.config.parent
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    words = ("erase", "--session", row["session_id"], "--reason", "case 17", "--dry-run")
    plan = document(trial.run(*words, "--json"))
    (would,) = plan["would_erase"]
    assert row["recording_id"] in would["recording_ids"]
    assert would["size_bytes"] >= row["size_bytes"]
    assert would["rows"]["sessions"] == 1
    assert would["landing_uris"]
    shown = trial.run(*words)
    assert shown.returncode == 0
    assert "Nothing was changed." in shown.stdout
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {path: data for path, data in after.items() if "_locks" not in path.parts} == {
        path: data for path, data in before.items() if "_locks" not in path.parts
    }


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--session", "abc", "--reason", "x"), 2, "is not a session or recording id"),
        (("--reason", "x"), 2, "--session, --recording, --number or --continue"),
        (
            ("--session", "e35e3d0e-065a-41ec-b119-676cb2bc33ef", "--number", "+6561234567", "--reason", "x"),
            2,
            "give one",
        ),
        (("--session", "e35e3d0e-065a-41ec-b119-676cb2bc33ef"), 2, "--reason"),
        (("--session", "e35e3d0e-065a-41ec-b119-676cb2bc33ef", "--reason", " "), 2, "--reason"),
        (("--session", "e35e3d0e-065a-41ec-b119-676cb2bc33ef", "--reason", "x"), 1, "nothing knows"),
        (("--number", "+6561234567", "--reason", "x"), 3, "phone numbers are dropped"),
        (("--number", "carol", "--reason", "x"), 2, "is not a phone number"),
    ],
)
def test_what_cannot_be_done_says_why(shared: Any, words: tuple[str, ...], code: int, said: str) -> None:
    done = shared.run("erase", *words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "6561234567" not in done.stdout + done.stderr


def test_a_held_session_is_refused_and_nothing_changes(shared: Any, a_recording: Any) -> None:
    row, files = a_recording(shared), shared.files()
    with shared.connections() as connections:
        scope = Scope(recording_id=row["recording_id"])
        hold = connections.holds.add(scope, reason="case 18", by="ada", at=shared.simulator.clock())
    held = shared.files()
    free = next(one for one in shared.tables()["sessions"] if one["session_id"] != row["session_id"])["session_id"]
    held_one = ("--session", row["session_id"])
    for words in ((*held_one, "--session", free), ("--recording", row["recording_id"], "--dry-run")):
        done = shared.run("erase", *words, "--reason", "case 17")
        assert done.returncode == 3
        assert f"{hold.hold_id} (recording {row['recording_id']}: case 18)" in done.stderr
    assert shared.files() == held != files
    with shared.connections() as connections:
        connections.holds.release(hold, by="ada", at=shared.simulator.clock())


def test_a_hold_that_only_the_ledger_knows_still_holds(shared: Any, a_recording: Any) -> None:
    row = a_recording(shared)
    facts = Scope(session_id=row["session_id"]).facts()
    with shared.connections() as connections:
        connections.recorder.record(
            {"event": "hold_added", "hold": "hold-removed", **facts, "reason": "case 18", "by": "a"}
        )
        refused = shared.run("erase", "--session", row["session_id"], "--reason", "case 17")
        assert refused.returncode == 3
        assert "hold-removed (the session whose hash is" in refused.stderr
        connections.recorder.record({"event": "hold_released", "hold": "hold-removed", "by": "a"})
    planned = shared.run("erase", "--session", row["session_id"], "--reason", "case 17", "--dry-run")
    assert planned.returncode == 0, planned.stderr


def test_a_number_is_read_from_standard_input(shared: Any) -> None:
    command = [
        sys.executable,
        "-c",
        "from callarchive.cli import main; main()",
        "erase",
        "--number",
        "-",
        "--reason",
        "x",
    ]
    environment = shared.process_environment()
    done = subprocess.run(command, check=False, input="+6561234567\n", env=environment, capture_output=True, text=True)
    assert (done.returncode, "phone numbers are dropped" in done.stderr) == (3, True), done.stderr


def test_nothing_is_begun_where_the_ledger_cannot_be_signed(trial: Any, a_recording: Any) -> None:
    head, marker, accounts = trial.config.read_text().partition("[[accounts]]")
    assert trial.run("ledger", "keygen", "--output", str(trial.config.parent / "key.pem")).returncode == 0
    trial.config.write_text(f'{head}[ledger]\nsigning_key = {{ file = "key.pem" }}\n{marker}{accounts}')
    trial.archive()
    trial.config.write_text(head + marker + accounts)
    done = trial.run("erase", "--session", a_recording(trial)["session_id"], "--reason", "case 17")
    assert (done.returncode, "ledger.signing_key is not set" in done.stderr) == (2, True), done.stderr
    assert not (trial.config.parent / "archive" / "_erased").exists()

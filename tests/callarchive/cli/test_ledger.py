"""`callarchive ledger` and `verify --since`, as processes, on an archive that a run made."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from callarchive.ledger.notes import Checkpoint, PublicKey, signers


@pytest.fixture(scope="module")
def trial(start_shared_trial: Callable[..., Any]) -> Any:
    """Two archived days, whose checkpoints are signed and anchored."""
    trial = start_shared_trial(sessions_per_day=3, days=2)
    made = trial.run("ledger", "keygen", "--output", str(trial.config.parent / "ledger.key"))
    assert made.returncode == 0, made.stderr
    trial.public_key = PublicKey.parse(made.stdout)
    trial.configure('[ledger]\nsigning_key = { file = "ledger.key" }\n[ledger.anchor]\nurl = "anchor"')
    trial.archive()
    return trial


def anchored(trial: Any) -> list[Path]:
    return sorted((trial.config.parent / "anchor" / "checkpoints").iterdir())


def test_the_head_is_a_signed_checkpoint(trial: Any) -> None:
    done = trial.run("ledger", "head")
    checkpoint = Checkpoint.parse(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert signers(done.stdout, [trial.public_key]) == [trial.public_key]
    document = json.loads(trial.run("--json", "ledger", "head").stdout)
    assert document == {
        "origin": "callarchive",
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "signed_by": ["callarchive"],
        "checkpoint": done.stdout,
    }


def test_each_day_ends_in_the_anchor_and_its_run_shows_it(trial: Any) -> None:
    assert anchored(trial)[-1].read_text() == trial.run("ledger", "head").stdout
    day = str(trial.days[1])
    shown = trial.run("archive", "--day", day, "--ignore-checks").stdout
    head = trial.run("ledger", "head").stdout
    assert anchored(trial)[-1].read_text() == head
    checkpoint = Checkpoint.parse(head)
    assert f"Ledger: {checkpoint.size} entries, tree hash {checkpoint.root.hex()}" in shown
    document = json.loads(trial.run("--json", "archive", "--day", day, "--ignore-checks").stdout)
    checkpoint = Checkpoint.parse(anchored(trial)[-1].read_text())
    assert document["ledger"] == {"size": checkpoint.size, "root": checkpoint.root.hex()}


def test_an_intact_ledger_passes_and_says_what_it_was_compared_with(trial: Any) -> None:
    done = trial.run("ledger", "verify")
    assert done.returncode == 0, done.stdout
    assert "signed by callarchive, compared with file://" in done.stdout
    document = json.loads(trial.run("--json", "ledger", "verify").stdout)
    assert (document["problems"], document["signed_by"], len(document["compared_with"])) == ([], "callarchive", 1)
    assert trial.run("-q", "ledger", "verify").stdout == ""


def test_since_verifies_only_days_that_changed(trial: Any) -> None:
    first, *_, last = anchored(trial)
    whole = json.loads(trial.run("--json", "verify").stdout)
    some = json.loads(trial.run("--json", "verify", "--since", str(first)).stdout)
    assert whole["checked"]["days"] == 2
    assert [day["day"] for day in some["days"]] == [str(trial.days[1])]
    none = trial.run("verify", "--since", str(last))
    assert (none.returncode, none.stdout.startswith("0 days")) == (0, True), none.stdout + none.stderr
    assert whole["ledger"]["problems"] == []


def test_a_ledger_without_its_end_is_a_problem_and_exit_code_1(trial: Any) -> None:
    entries = trial.config.parent / "archive" / "_ledger" / "entries"
    last = max(entries.iterdir())
    data = last.read_bytes()
    last.unlink()
    try:
        for words in (("ledger", "verify"), ("verify",)):
            done = trial.run(*words)
            assert done.returncode == 1
            assert "its end was cut off" in done.stdout
        quiet = trial.run("-q", "ledger", "verify")
        assert (quiet.stdout, "1 problem" in quiet.stderr) == ("", True)
    finally:
        last.write_bytes(data)


def test_a_run_refuses_to_continue_a_ledger_that_the_anchor_shows_to_be_shorter(trial: Any) -> None:
    entries = trial.config.parent / "archive" / "_ledger"
    aside = trial.config.parent / "aside"
    entries.rename(aside)
    try:
        done = trial.run("archive", "--day", str(trial.days[1]))
        assert done.returncode == 1
        assert "the ledger has 0 entries, but had " in done.stderr
        assert "restore it from a backup, or set another ledger.anchor" in done.stderr
        assert not list(entries.rglob("*.jsonl"))
    finally:
        shutil.rmtree(entries, ignore_errors=True)
        aside.rename(entries)
    assert trial.run("archive", "--day", str(trial.days[1]), "--ignore-checks").returncode == 0


def test_a_checkpoint_that_the_anchor_lacks_is_stored_by_the_next_run(trial: Any) -> None:
    head = trial.run("ledger", "head").stdout
    anchored(trial)[-1].unlink()
    trial.run("archive", "--day", str(trial.days[1]), "--ignore-checks")
    assert head in [path.read_text() for path in anchored(trial)]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("ledger", "keygen"), 2, "Missing option '--output'"),
        (("ledger", "keygen", "--output", "ledger.key"), 2, "ledger.key exists: a key is never overwritten"),
        (("ledger", "keygen", "--output", "nowhere/key"), 2, "nowhere/key cannot be written: No such file"),
        (("ledger", "keygen", "--output", "key2", "--origin", "two words"), 2, "neither spaces nor plus signs"),
        (("verify", "--since", "nowhere.txt"), 2, "--since nowhere.txt: No such file or directory: give a file"),
        (("ledger", "verify", "--since", "callarchive.toml"), 1, "not a checkpoint"),
        (("ledger", "verify", "--since", "ledger.key"), 1, "not a checkpoint"),
    ],
)
def test_mistakes_are_one_clear_message(
    trial: Any, words: tuple[str, ...], code: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trial.config.parent)
    done = trial.run(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in " ".join(done.stderr.split()), done.stderr
    assert "PRIVATE" not in done.stderr


def test_a_malformed_signing_key_is_named_and_not_shown(trial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGER_KEY", "hunter2")
    monkeypatch.setenv("CALLARCHIVE_LEDGER__SIGNING_KEY__FILE", "")
    configuration = trial.config.read_text()
    trial.config.write_text(configuration.replace('{ file = "ledger.key" }', '{ env = "LEDGER_KEY" }'))
    try:
        done = trial.run("ledger", "head")
    finally:
        trial.config.write_text(configuration)
    assert done.returncode == 2
    assert "ledger.signing_key: is not a signing key of the ledger" in " ".join(done.stderr.split())
    assert "hunter2" not in done.stderr

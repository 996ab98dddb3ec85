"""`callarchive audit`, and the entries that changes at 8x8 leave."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from callarchive.archiving.connections import Connections
from callarchive.runtime.users import current_user
from callarchive.settings import load_settings

Run = Callable[..., tuple[int, str, str]]
SESSION = "e35e3d0e-065a-41ec-b119-676cb2bc33e0"
RECORDING = "a35e3d0e-065a-41ec-b119-676cb2bc33e0"


@pytest.fixture
def audited(recorded: Any, run_here: Run) -> Any:
    """An archive with an entry of each kind, each at noon UTC of a day of November."""
    who = {"subaccount_id": "acme_one", "call_date": "2026-11-03"}
    events: list[dict[str, Any]] = [
        {
            "event": "hold_added",
            "hold": "hold-abcdefgh",
            "kind": "session",
            "session_hash": "0" * 64,
            "reason": "case 17",
        },
        {"event": "hold_release_requested", "hold": "hold-abcdefgh", "user": "root"},
        {"event": "hold_released", "hold": "hold-abcdefgh"},
        {"event": "erased", "erasure": "erasure-abcdefgh", "kind": "erase", **who, "recording_ids": [RECORDING]},
        {"event": "erasure_withdrawn", "erasure": "erasure-bcdefghi", **who},
        {"event": "evidence", **who, "recording_id": RECORDING},
        {
            "event": "configured",
            "what": "push_config",
            "action": "set",
            "subaccount_id": "acme_one",
            "to": "sftp://host/x",
        },
        {"event": "archived", **who, "recording_id": RECORDING, "archive_path": "a.mp3", "sha256": None},
    ]
    recorded.call(SESSION, datetime(2026, 11, 3, 9, tzinfo=UTC))
    for number, facts in enumerate(events, 1):
        at = datetime(2026, 11, number, 12, tzinfo=UTC)
        with Connections(load_settings(recorded.config), clock=partial(at.astimezone, UTC)) as connections:
            connections.recorder.record({**facts, "by": f"person {number}"})
    return recorded


def events(run: Run, *options: str) -> list[str]:
    code, out, err = run("audit", "--json", *options)
    assert (code, err) == (0, "")
    return [entry["event"] for entry in json.loads(out)]


def test_the_audit_lists_who_did_what_in_order(audited: Any, run_here: Run) -> None:
    code, out, _ = run_here("audit", "--json")
    found = json.loads(out)
    assert code == 0
    assert [entry["event"] for entry in found] == [
        "started",
        "hold_added",
        "hold_release_requested",
        "hold_released",
        "erased",
        "erasure_withdrawn",
        "evidence",
        "configured",
    ]
    assert found[1] | {"entry": 0} == {
        "entry": 0,
        "at": "2026-11-01T12:00:00+00:00",
        "event": "hold_added",
        "by": "person 1",
        "user": None,
        "subaccount_id": None,
        "reason": "case 17",
        "hold": "hold-abcdefgh",
        "kind": "session",
        "session_hash": "0" * 64,
    }
    assert [entry["entry"] for entry in found] == sorted(entry["entry"] for entry in found)


def test_the_table_fits_a_hundred_columns(audited: Any, run_here: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    code, out, _ = run_here("audit")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 100
    words = " ".join(out.replace("│", " ").split())
    for shown in ("case 17", "person 2", "(root)", "hold released", "push_config set", "2026-11-01 20:00"):
        assert shown in words


def test_the_audit_is_limited_to_days_and_events(audited: Any, run_here: Run) -> None:
    assert events(run_here, "--kind", "erased", "--kind", "evidence") == ["erased", "evidence"]
    assert events(run_here, "--from", "2026-11-03", "--to", "2026-11-04") == ["hold_released", "erased"]
    assert events(run_here, "--from", "2027-01-01") == []
    code, out, err = run_here("audit", "--kind", "erase")
    assert (code, out) == (2, "")
    assert "did you mean erased?" in err


def test_a_ledger_that_is_not_intact_is_shown_and_reported(audited: Any, run_here: Run) -> None:
    entries = sorted((audited.config.parent / "archive" / "_ledger" / "entries").iterdir())
    [edited] = [path for path in entries if b"person 2" in path.read_bytes()]
    edited.write_bytes(edited.read_bytes().replace(b"person 2", b"person 9"))
    code, out, err = run_here("audit", "--json")
    assert code == 1
    assert len(json.loads(out)) == 8
    assert "error: the ledger is not intact: " in err


def test_without_a_ledger_the_audit_says_so(recorded: Any, run_here: Run) -> None:
    code, out, err = run_here("audit")
    assert (code, out) == (1, "")
    assert "there is no ledger" in err


@pytest.fixture
def with_ledger(set_up: Any, run_here: Run, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The accounts at the simulated API with an archive whose ledger has begun."""
    for name, value in (*set_up.environment.items(), ("CALLARCHIVE_CONFIG", str(set_up.config))):
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(set_up.config.parent)
    with Connections(load_settings(set_up.config)) as connections:
        connections.recorder.record({"event": "evidence", "by": "ann"})
    set_up.has_ledger = True
    return set_up


def test_changes_at_8x8_are_recorded_before_they_are_made(with_ledger: Any, run_here: Run) -> None:
    for words in (
        ("push-config", "apply"),
        ("webhooks", "register"),
        ("webhooks", "unregister"),
        ("push-config", "delete"),
    ):
        assert run_here(*words, "--account", "acme_one", "--yes")[0] == 0
    found = json.loads(run_here("audit", "--json", "--kind", "configured")[1])
    assert [(entry["what"], entry["action"], entry.get("to")) for entry in found] == [
        ("push_config", "set", "sftp://203.0.113.7/upload/recordings/"),
        ("webhook", "register", with_ledger.url),
        ("webhook", "unregister", None),
        ("push_config", "delete", None),
    ]
    assert {(entry["by"], entry["subaccount_id"]) for entry in found} == {(current_user(), "acme_one")}
    ledger = Path(with_ledger.config.parent) / "archive" / "_ledger"
    for path in (path for path in ledger.rglob("*") if path.is_file()):
        with_ledger.no_secret_in(path.read_text())


@pytest.mark.parametrize(
    "words", [("push-config", "apply"), ("push-config", "delete"), ("webhooks", "register")], ids=" ".join
)
def test_nothing_is_changed_at_8x8_if_the_ledger_cannot_record_it(with_ledger: Any, run_here: Run, words: Any) -> None:
    entries = sorted((with_ledger.config.parent / "archive" / "_ledger" / "entries").iterdir())
    entries[-1].write_bytes(entries[-1].read_bytes()[:-20])
    code, _, err = run_here(*words, "--account", "acme_one", "--yes")
    assert code == 1
    assert "acme_one: nothing was changed at 8x8, because the ledger cannot record it: " in err
    assert set(with_ledger.methods()) <= {"GET"}

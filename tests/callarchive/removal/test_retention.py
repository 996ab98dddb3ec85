"""Retention: what is past its time, what holds keep of it, and what is left afterwards."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from callarchive.archiving.connections import Connections
from callarchive.custody.holds import Scope
from callarchive.removal.holds import Person, add_hold, release_hold
from callarchive.removal.retention import OverdueDay, overdue
from callarchive.settings import load_settings
from callarchive.simulator.running import DEMO_ACCOUNTS

NOW = datetime(2026, 3, 1, 17, tzinfo=UTC)  # the second of March in Singapore
ONE, TWO = "e35e3d0e-065a-41ec-b119-676cb2bc33e0", "e35e3d0e-065a-41ec-b119-676cb2bc33e1"
RECORDING = "f35e3d0e-065a-41ec-b119-676cb2bc33e0"


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Connections]]:
    """Open an archive with two accounts: `opened(30, sg='keep_days = "forever"')`."""
    monkeypatch.setenv("ACME_KEY", "key")
    found: list[Connections] = []

    def start(keep_days: int | None = None, *, sg: str = "", my: str = "") -> Connections:
        text = (
            'timezone = "Asia/Singapore"\nstart_date = 2026-01-01\narchive.url = "archive"\ncatalog.url = "catalog"\n'
        )
        if keep_days is not None:
            text += f"retention.keep_days = {keep_days}\n"
        for account, more in (("acme_sg", sg), (".acme&my", my)):
            text += f"""
[[accounts]]
subaccount_id = "{account}"
api_url = "http://127.0.0.1:9"
api_key = {{ env = "ACME_KEY" }}
landing = "s3://acme-recordings/{account.strip(".")}"
session_sources = [{{ kind = "log_export" }}]
{more}
"""
        config = tmp_path / "callarchive.toml"
        config.write_text(text)
        found.append(Connections(load_settings(config), clock=lambda: NOW))
        return found[-1]

    yield start
    for connections in found:
        connections.close()


def store(connections: Connections, account: str, day: date, session: str = ONE, *, recording: str = RECORDING) -> None:
    folder = connections.archive.day_folder(account, day)
    connections.archive.store.create(f"{folder}/{session}/{recording}.mp3", b"audio")


def test_a_day_is_past_its_time_when_more_days_have_passed_than_are_kept(opened: Callable[..., Connections]) -> None:
    connections = opened(30)
    for day in (date(2026, 1, 30), date(2026, 1, 31), date(2026, 2, 1)):
        store(connections, "acme_sg", day)
    assert overdue(connections) == [OverdueDay("acme_sg", date(2026, 1, 30), 30)]


def test_accounts_have_their_own_limits_and_the_oldest_day_comes_first(opened: Callable[..., Connections]) -> None:
    connections = opened(1, my="keep_days = 20")
    for account in ("acme_sg", ".acme&my"):
        for day in (date(2026, 2, 1), date(2026, 2, 20)):
            store(connections, account, day)
    assert overdue(connections) == [
        OverdueDay(".acme&my", date(2026, 2, 1), 20),
        OverdueDay("acme_sg", date(2026, 2, 1), 1),
        OverdueDay("acme_sg", date(2026, 2, 20), 1),
    ]


@pytest.mark.parametrize("limit", [None, 1])
def test_without_a_limit_or_with_forever_nothing_is_past_its_time(
    opened: Callable[..., Connections], limit: int | None
) -> None:
    connections = opened(limit, sg='keep_days = "forever"' if limit else "")
    store(connections, "acme_sg", date(2020, 1, 1))
    store(connections, "removed_account", date(2020, 1, 1))
    assert overdue(connections) == []


def test_quarantined_bytes_are_past_their_time_too(opened: Callable[..., Connections]) -> None:
    connections = opened(1)
    connections.archive.store.create(f"_quarantine/acme_sg/call_date=2026-01-05/{ONE}/{RECORDING}.0123.bin", b"<html>")
    assert overdue(connections) == [OverdueDay("acme_sg", date(2026, 1, 5), 1)]


@pytest.mark.parametrize(
    ("scope", "is_overdue"),
    [
        (Scope(session_id=ONE), False),
        (Scope(session_id=TWO), True),
        (Scope(recording_id=RECORDING), False),
        (Scope(recording_id=TWO), True),
        (Scope(subaccount_id="acme_sg", first=date(2026, 1, 5)), False),
        (Scope(subaccount_id="acme_sg", first=date(2026, 1, 6)), True),
        (Scope(subaccount_id=".acme&my"), True),
    ],
)
def test_what_is_held_may_stay(opened: Callable[..., Connections], scope: Scope, is_overdue: bool) -> None:
    connections = opened(1)
    store(connections, "acme_sg", date(2026, 1, 5))
    hold = connections.holds.add(scope, reason="case 17", by="ada", at=NOW)
    assert bool(overdue(connections)) is is_overdue
    connections.holds.release(hold, by="ada", at=NOW)
    assert overdue(connections)


def test_a_day_with_one_session_that_nothing_holds_is_past_its_time(opened: Callable[..., Connections]) -> None:
    connections = opened(1)
    for session in (ONE, TWO):
        store(connections, "acme_sg", date(2026, 1, 5), session, recording=session)
    connections.holds.add(Scope(session_id=ONE), reason="case 17", by="ada", at=NOW)
    assert overdue(connections) == [OverdueDay("acme_sg", date(2026, 1, 5), 1)]


def test_retention_removes_all_that_is_not_held_and_can_be_repeated(
    start_trial: Callable[..., Any], places_with: Any, document: Any
) -> None:
    trial = start_trial(sessions_per_day=4, days=2, accounts=DEMO_ACCOUNTS[:2])
    trial.archive()
    text = trial.config.read_text().replace(
        'subaccount_id = "demo_sftp"', 'subaccount_id = "demo_sftp"\nkeep_days = "forever"'
    )
    trial.config.write_text(text)
    trial.configure("[retention]\nkeep_days = 30")
    tables = trial.tables()
    own = [row for row in tables["recordings"] if row["subaccount_id"] == "demo_s3"]
    held = next(row for row in own if row["archive_status"] == "archived" and row["call_date"] == trial.days[1])
    with trial.connections() as connections:
        scope = Scope(recording_id=held["recording_id"])
        hold = add_hold(connections, scope, reason="case 18", by=Person("ada"))
    planned = document(trial.run("retention", "plan", "--json"))
    assert planned["keep_days"] == {"demo_s3": 30}
    assert [(one["call_date"], one["hold_ids"]) for one in planned["days"]] == [
        (str(trial.days[0]), []),
        (str(trial.days[1]), [hold.hold_id]),
    ]
    gone = [row for row in own if row["session_id"] != held["session_id"]]
    assert sum(one["recording_count"] for one in planned["days"]) == len(gone)
    done = document(trial.run("retention", "apply", "--json", "--by", "ada"))
    assert [one["holds"] for one in done["days"]] == [[], [hold.hold_id]]
    assert ["Dagster's storage is not known" in one for one in done["out_of_reach"]] == [True]
    after = trial.tables()
    assert {row["session_id"] for row in after["sessions"] if row["subaccount_id"] == "demo_s3"} == {held["session_id"]}
    assert [row for row in after["sessions"] if row["subaccount_id"] == "demo_sftp"] == [
        row for row in tables["sessions"] if row["subaccount_id"] == "demo_sftp"
    ]
    states = {row["recording_id"]: row["archive_status"] for row in after["recordings"]}
    assert {states[row["recording_id"]] for row in gone} == {"erased"}
    assert states[held["recording_id"]] == "archived"
    archive = trial.config.parent / "archive"
    assert [path.name for path in (archive / "demo_s3").rglob("*") if path.is_file()] == [f"{held['recording_id']}.mp3"]
    assert not places_with(archive / "_ledger", {row["session_id"] for row in gone})
    assert trial.run("verify").returncode == 0
    with trial.connections() as connections:
        release_hold(connections, hold.hold_id, reason=None, by=Person("ada"))
    assert [one["sessions"] for one in document(trial.run("retention", "apply", "--json"))["days"]] == [1]
    assert not (archive / "demo_s3").exists()
    assert document(trial.run("retention", "plan", "--json"))["days"] == []
    assert trial.run("verify").returncode == 0


def test_without_a_limit_the_plan_says_so(start_trial: Callable[..., Any]) -> None:
    trial = start_trial(sessions_per_day=1, accounts=DEMO_ACCOUNTS[:1])
    done = trial.run("retention", "plan")
    assert done.returncode == 0
    assert "no account has a limit" in done.stdout

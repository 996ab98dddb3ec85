"""What is kept past its time: the check, `status`, the alert, and the exit code that does not change."""

import http.server
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from callarchive.archiving.connections import Connections
from callarchive.custody.holds import Scope
from callarchive.monitoring.alert_rules import alert_on_past_time
from callarchive.monitoring.past_time import KeptPastTime, kept_past_time
from callarchive.removal.day_contents import contents_of
from callarchive.removal.holds import Person, add_hold, release_hold
from callarchive.settings import load_settings

DAY = date(2026, 1, 5)
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
ACCOUNTS = ("demo_s3", "demo_sftp")


@pytest.fixture(scope="module")
def trial(start_shared_trial: Callable[..., Any]) -> Any:
    """A day of two accounts that are kept for 30 days."""
    started = start_shared_trial(sessions_per_day=8)
    started.archive()
    started.configure("[retention]\nkeep_days = 30")
    return started


def found_on(trial: Any, at: datetime) -> KeptPastTime:
    with Connections(load_settings(trial.config), clock=lambda: at) as connections:
        return kept_past_time(connections)


@pytest.mark.parametrize(
    ("days_after", "passed", "is_late"),
    [(30, True, False), (31, False, False), (32, False, False), (33, False, True), (400, False, True)],
)
def test_a_day_may_be_kept_for_its_days_and_is_late_when_two_nights_were_missed(
    trial: Any, days_after: int, passed: bool, is_late: bool
) -> None:
    found = found_on(trial, NOON + timedelta(days=days_after))
    assert (found.passed, found.is_late) == (passed, is_late)
    assert [(one.subaccount_id, one.call_date) for one in found.days] == (
        [] if passed else [(account, DAY) for account in ACCOUNTS]
    )


def test_without_a_retention_nothing_is_past_its_time_and_nothing_is_contacted(
    trial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(trial.config)
    unlimited = settings.model_copy(update={"retention": settings.retention.model_copy(update={"keep_days": None})})
    with Connections(unlimited, clock=lambda: NOON + timedelta(days=4000)) as connections:
        monkeypatch.setattr(connections.archive.store, "folders", None)
        found = kept_past_time(connections)
    assert found.passed
    assert found.summary == "no retention is set: keep_days"


def test_what_is_held_may_be_kept(trial: Any) -> None:
    at = NOON + timedelta(days=40)
    with Connections(load_settings(trial.config), clock=lambda: at) as connections:
        hold = connections.holds.add(Scope(subaccount_id="demo_s3"), reason="case 7", by="anna", at=at)
        assert [one.subaccount_id for one in kept_past_time(connections).days] == ["demo_sftp"]
        connections.holds.release(hold, by="anna", at=at)
        assert len(kept_past_time(connections).days) == 2


def test_what_the_ledger_holds_may_be_kept_after_the_hold_was_removed_from_the_archive(trial: Any) -> None:
    at = NOON + timedelta(days=40)
    by = Person("anna")
    with Connections(load_settings(trial.config), clock=lambda: at) as connections:
        scopes = [
            Scope(subaccount_id="demo_s3"),
            *(Scope(session_id=one) for one in contents_of(connections, "demo_sftp", DAY).sessions),
        ]
        holds = [add_hold(connections, scope, reason="case 7", by=by).hold_id for scope in scopes]
        shutil.rmtree(trial.config.parent / "archive" / "_holds")
        assert kept_past_time(connections).days == ()
        for hold_id in holds:
            release_hold(connections, hold_id, reason=None, by=by)
        assert len(kept_past_time(connections).days) == 2


def test_a_hold_that_cannot_be_read_is_reported_because_it_may_cover_the_day(trial: Any) -> None:
    damaged = trial.config.parent / "archive" / "_holds" / "hold-abcdefgh" / "hold.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    found = found_on(trial, NOON + timedelta(days=40))
    damaged.unlink()
    damaged.parent.rmdir()
    assert not found.passed
    assert found.summary.startswith(f"not checked: {damaged.as_uri()} is damaged")


def test_status_shows_it_and_archive_does_not_fail_because_of_it(trial: Any) -> None:
    shown = trial.run("status", "--from", str(DAY), "--to", str(DAY))
    assert (
        "Retention: 2 days are kept past their time, the oldest 2026-01-05 of demo_s3 (keep_days = 30): callarchive"
        " retention plan lists what is past its time, callarchive retention apply removes it"
    ) in " ".join(shown.stdout.split())
    assert shown.returncode == 1
    document = json.loads(trial.run("status", "--from", str(DAY), "--to", str(DAY), "--json").stdout)
    assert not document["is_well"]
    assert [one["call_date"] for one in document["status"]["past_time"]["days"]] == ["2026-01-05"] * 2
    assert trial.run("archive", "--day", str(DAY), "--ignore-checks").returncode == 0


@pytest.fixture
def posted(trial: Any) -> Iterator[list[Any]]:
    alerts: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            alerts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        trial.configure(f'[alerts.webhook]\nurl = "http://127.0.0.1:{server.server_port}/"')
        yield alerts
        server.shutdown()


def test_an_alert_is_sent_once_a_day_while_retention_is_not_applied(trial: Any, posted: list[Any]) -> None:
    for days, hours, count in ((32, 0, 0), (33, 0, 1), (33, 5, 1), (34, 1, 2)):
        at = NOON + timedelta(days=days, hours=hours)
        with Connections(load_settings(trial.config), clock=lambda at=at: at) as connections:  # type: ignore[misc]
            alert_on_past_time(connections)
        assert len(posted) == count, at
    assert posted[0]["kind"] == "past_time"
    assert posted[0]["lines"] == [f"2026-01-05: {account}, keep_days = 30" for account in ACCOUNTS]

"""The time left by account, and the output of `callarchive status`."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from callarchive.monitoring.at_risk import TRANSFER_FAILED, AtRisk, at_risk, support_text
from callarchive.simulator.clock import MovableClock

Start = Callable[..., Any]
NOW = datetime(2026, 1, 6, 10, tzinfo=UTC)


def item(account: str, state: str, *, recording: str | None = "r-1") -> AtRisk:
    return AtRisk(account, NOW.date(), f"s-{state}", recording, "missing", state, NOW, NOW, 0.0, "secret path", "do")


def test_the_support_text_lists_accounts_and_not_our_own_failures() -> None:
    items = [item("b", "UPLOAD_FAILED"), item("a", "lookup failed", recording=None), item("a", TRANSFER_FAILED)]
    text = support_text(items)
    assert text.index("Subaccount a:") < text.index("Subaccount b:")
    assert "- session s-UPLOAD_FAILED, recording r-1, call ended 2026-01-06 10:00:00 UTC, UPLOAD_FAILED" in text
    assert "recording not known" in text
    assert TRANSFER_FAILED not in text
    assert "secret path" not in text
    assert support_text([item("a", TRANSFER_FAILED)]) == ""


def test_each_account_has_its_own_time_and_what_is_young_is_not_at_risk(start_trial: Start) -> None:
    clock = MovableClock(NOW)
    trial = start_trial(sessions_per_day=40, clock=clock)
    text = trial.config.read_text()
    first, marker, second = text.rpartition("[[accounts]]")
    trial.config.write_text(first + marker + "\npush_retention_hours = 72" + second)
    trial.archive()
    with trial.connections() as connections:
        items = at_risk(connections.catalog, connections.settings, now=NOW, days=trial.days)
        hours = {(i.subaccount_id, (i.deadline_at - i.call_ended_at) / timedelta(hours=1)) for i in items}
        assert hours == {("demo_s3", 24.0), ("demo_sftp", 72.0)}
        pending = [i for i in items if i.archive_status == "pending"]
        assert pending
        youngest = max(pending, key=lambda i: i.call_ended_at)
        for minutes, shown in ((59, False), (60, True)):
            at = youngest.call_ended_at + timedelta(minutes=minutes)
            found = at_risk(connections.catalog, connections.settings, now=at, days=trial.days)
            assert (youngest.recording_id in {i.recording_id for i in found}) is shown
        # By default only days are looked at on which something may still be there.
        assert at_risk(connections.catalog, connections.settings, now=NOW + timedelta(days=6)) == []
        assert len(at_risk(connections.catalog, connections.settings, now=NOW)) == len(items)
    words = ("status", "--from", "2026-01-05", "--to", "2026-01-05", "--support-text")
    done = trial.run(*words, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["support_text"].strip() == trial.run(*words).stdout.strip()

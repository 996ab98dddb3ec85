from datetime import UTC, datetime, timedelta

import dagster as dg

from assets.newest_day import NAME, evaluate
from callarchive.archiving.connections import Connections
from callarchive.domain.days import day_bounds
from callarchive.planning.latest_due_day import latest_due_day


def archive(instance: dg.DagsterInstance, partition: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization("reconciliation", partition=partition))


def test_a_backfill_of_older_days_does_not_replace_the_latest_due_day(
    connections: Connections, instance: dg.DagsterInstance
) -> None:
    now = datetime.now(UTC)
    day = latest_due_day(connections.settings, now=now)
    assert day is not None
    archive(instance, str(day - timedelta(days=1)))
    found = evaluate(instance, connections.settings, now=now)
    assert not found.passed
    assert found.description == (
        f"{day} is due but was never archived: materialize it, and check that the schedule nightly is on"
    )
    archive(instance, str(day))
    assert evaluate(instance, connections.settings, now=now).passed


def test_a_day_that_was_archived_before_it_was_over_fails_the_check(
    connections: Connections, instance: dg.DagsterInstance
) -> None:
    today = datetime.now(UTC).date()
    archive(instance, str(today))
    due_at = day_bounds(today, connections.settings.zone)[1] + timedelta(hours=4 + 12)
    found = evaluate(instance, connections.settings, now=due_at)
    assert not found.passed
    assert "before the day was over" in (found.description or "")


def test_the_check_passes_before_the_first_day_is_due(connections: Connections, instance: dg.DagsterInstance) -> None:
    found = evaluate(instance, connections.settings, now=datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert found.passed
    assert found.check_name == NAME
    assert found.asset_key == dg.AssetKey("reconciliation")

"""The job `retention` and its schedule: what it removes and keeps, what its run shows, and that nothing else removes."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.past_time import NAME as CHECK
from callarchive.archiving.connections import Connections
from callarchive.custody.holds import Scope
from callarchive.settings import Settings, load_settings
from pipelines.code_location import code_location

CONFIG = """
timezone = "Europe/Berlin"
start_date = 2026-01-01
archive.url = "archive"
catalog.url = "catalog"
{retention}
[dagster]
schedule_hour = {hour}

[[accounts]]
subaccount_id = "acme"
api_key = {{ env = "A_KEY_THAT_IS_NOT_SET" }}
landing = "s3://acme-recordings"
session_sources = [{{ kind = "log_export" }}]
{own}
"""


def written(folder: Path, *, retention: str = "", own: str = "", hour: int = 4) -> Settings:
    file = folder / "callarchive.toml"
    file.write_text(CONFIG.format(retention=retention, own=own, hour=hour))
    return load_settings(file)


@pytest.mark.parametrize(("hour", "cron"), [(4, "0 5 * * *"), (23, "0 0 * * *")])
def test_the_schedule_is_off_and_an_hour_after_the_nightly_run(tmp_path: Path, hour: int, cron: str) -> None:
    schedule = code_location(written(tmp_path, hour=hour)).resolve_schedule_def("nightly_retention")
    assert schedule.cron_schedule == cron
    assert schedule.execution_timezone == "Europe/Berlin"
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED


@pytest.mark.parametrize(
    ("retention", "own", "runs"),
    [
        ("", "", False),
        ("[retention]\nkeep_days = 30\n", "", True),
        ("", "keep_days = 30", True),
        ("[retention]\nkeep_days = 30\n", 'keep_days = "forever"', False),
    ],
)
def test_a_night_is_skipped_with_a_reason_where_no_retention_is_set(
    tmp_path: Path, retention: str, own: str, runs: bool
) -> None:
    schedule = code_location(written(tmp_path, retention=retention, own=own)).resolve_schedule_def("nightly_retention")
    night = schedule.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=datetime.now(UTC)))
    assert len(night.run_requests or ()) == runs
    assert night.skip_message == (
        None if runs else "no retention is set: set retention.keep_days, or keep_days of an account"
    )


def test_materializing_everything_does_not_remove_anything(tmp_path: Path) -> None:
    definitions = code_location(written(tmp_path, retention="[retention]\nkeep_days = 1\n"))
    removes = set(definitions.resolve_job_def("retention").graph.node_dict)
    for job in ("archive_day", definitions.resolve_implicit_global_asset_job_def().name):
        assert removes.isdisjoint(definitions.resolve_job_def(job).graph.node_dict)
    assert not definitions.resolve_job_def("retention").asset_layer.executable_asset_keys


def metadata_of(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (output,) = [event for event in result.all_node_events if event.is_successful_output]
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


def audio(trial: Any, account: str) -> list[Path]:
    return sorted((trial.config.parent / "archive" / account).rglob("*.mp3"))


def test_a_run_removes_what_is_past_its_time_keeps_what_is_held_and_shows_both(
    start_trial: Callable[..., Any], instance: dg.DagsterInstance
) -> None:
    trial = start_trial(sessions_per_day=8)
    trial.archive()
    counts = {account: len(audio(trial, account)) for account in ("demo_s3", "demo_sftp")}
    assert all(counts.values())
    trial.configure("[retention]\nkeep_days = 30")
    settings = load_settings(trial.config)
    with Connections(settings) as connections:
        hold = connections.holds.add(
            Scope(subaccount_id="demo_sftp"), reason="case 7", by="anna", at=connections.clock()
        )
    job = code_location(settings).resolve_job_def("retention")
    result = job.execute_in_process(instance=instance)
    assert result.success
    assert audio(trial, "demo_s3") == []
    assert len(audio(trial, "demo_sftp")) == counts["demo_sftp"]
    shown = metadata_of(result)
    assert (shown["days"], shown["files"]) == (2, counts["demo_s3"])
    rows = [record.data for record in shown["removed"].records]
    assert [(row["day"], row["account"]) for row in rows] == [("2026-01-05", name) for name in counts]
    assert rows[0]["recordings"] == shown["recordings"] > 0
    assert rows[1]["recordings"] == 0
    assert [row["held"] for row in rows] == ["nothing", f"all of it, by {hold.hold_id}"]
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.description) == (CHECK, True, "nothing is kept past its time")

    damaged = trial.config.parent / "archive" / "_holds" / hold.hold_id / "hold.json"
    damaged.write_text("{")
    failed = job.execute_in_process(instance=instance, raise_on_error=False)
    (step,) = failed.get_step_failure_events()
    reason = step.step_failure_data.user_failure_data
    assert reason is not None
    assert str(reason.description).startswith(f"{damaged.as_uri()} is damaged")
    assert "run the job again" in str(reason.description)
    assert len(audio(trial, "demo_sftp")) == counts["demo_sftp"]

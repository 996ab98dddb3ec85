"""A run that fails in Dagster is sent to the channels of [alerts], with its steps' messages and without a stack."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from callarchive.settings import load_settings
from pipelines.code_location import code_location

CONFIG = """
start_date = 2026-01-01
archive.url = "archive"
catalog.url = "catalog"

[alerts.webhook]
url = "http://127.0.0.1:{port}/token-of-the-url"

[[accounts]]
subaccount_id = "acme"
api_key = {{ env = "NOT_SET" }}
landing = "s3://acme-recordings"
session_sources = [{{ kind = "log_export" }}]
"""


@pytest.fixture
def posted(tmp_path: Path) -> Iterator[list[Any]]:
    """What was posted to the webhook of the configuration in the folder."""
    alerts: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            alerts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        (tmp_path / "callarchive.toml").write_text(CONFIG.format(port=server.server_port))
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield alerts
        server.shutdown()
        thread.join()


@dg.op
def refused() -> None:
    raise dg.Failure("account acme: 8x8 refuses the API key; asked for by +65 6123 4567", allow_retries=False)


@dg.op
def broken() -> None:
    raise KeyError("+6591234567")


@dg.job
def archive_day() -> None:
    refused()
    broken()


@dg.job
def retention() -> None:
    refused()


RANGE = {"dagster/asset_partition_range_start": "2026-01-05", "dagster/asset_partition_range_end": "2026-01-09"}


def report_failure(
    job: dg.JobDefinition, folder: Path, instance: dg.DagsterInstance, tags: dict[str, str], *, times: int = 1
) -> None:
    """Run the job, and the sensor that many times."""
    sensor = code_location(load_settings(folder / "callarchive.toml")).resolve_sensor_def("alert_on_failure")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    done = job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
    context = dg.build_run_status_sensor_context(
        sensor_name="alert_on_failure",
        dagster_event=done.get_run_failure_event(),
        dagster_instance=instance,
        dagster_run=done.dagster_run,
    ).for_run_failure()
    for _ in range(times):
        sensor(context)


@pytest.mark.parametrize(
    ("tags", "days"),
    [({"dagster/partition": "2026-01-05"}, "2026-01-05"), (RANGE, "2026-01-05 to 2026-01-09"), ({}, "run ")],
)
def test_a_failed_run_is_reported_once_with_its_days_and_reasons(
    tmp_path: Path, posted: list[Any], instance: dg.DagsterInstance, tags: dict[str, str], days: str
) -> None:
    report_failure(archive_day, tmp_path, instance, tags, times=2)
    [alert] = posted
    assert alert["kind"] == "run_failed"
    assert alert["key"].startswith(days)
    assert sorted(alert["lines"]) == [
        "broken: an unexpected error: see the run",
        "refused: account acme: 8x8 refuses the API key; asked for by ***",
    ]
    assert "Traceback" not in alert["text"]
    assert "9123" not in alert["text"]


def test_a_retention_that_failed_is_reported_as_that(
    tmp_path: Path, posted: list[Any], instance: dg.DagsterInstance
) -> None:
    report_failure(retention, tmp_path, instance, {})
    [alert] = posted
    assert (alert["kind"], alert["key"]) == ("run_failed", "retention")
    assert alert["title"] == "retention could not be applied: not all that is due is gone"
    assert alert["lines"] == ["refused: account acme: 8x8 refuses the API key; asked for by ***"]

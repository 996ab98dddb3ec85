import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from callarchive.settings import Settings, load_settings
from pipelines.code_location import code_location, partitioned_assets

CONFIGURATION = """
timezone = "{timezone}"
start_date = 2026-01-01
archive.url = "archive"
catalog.url = "catalog"
dagster.days_per_run = 7
[[accounts]]
subaccount_id = "acme_sg"
api_key = {{ env = "A_KEY_THAT_IS_NOT_SET" }}
landing = "s3://acme-recordings/pushed"
session_sources = [{{ kind = "log_export" }}]
"""


def written_settings(folder: Path, *, timezone: str = "Europe/Berlin") -> Settings:
    file = folder / "callarchive.toml"
    file.write_text(CONFIGURATION.format(timezone=timezone), encoding="utf-8")
    return load_settings(file)


def test_everything_loads_without_a_secret_or_a_server(tmp_path: Path) -> None:
    definitions = code_location(written_settings(tmp_path))
    dg.Definitions.validate_loadable(definitions)
    graph = definitions.resolve_asset_graph()
    assert len(graph.get_all_asset_keys()) == 8
    assert len(graph.asset_check_keys) == 24


def test_the_whole_chain_shares_partitions_and_batches(tmp_path: Path) -> None:
    assets = partitioned_assets(written_settings(tmp_path))
    assert {asset.backfill_policy for asset in assets} == {dg.BackfillPolicy.multi_run(7)}
    assert len({asset.partitions_def for asset in assets}) == 1


def test_each_table_shows_where_the_catalog_and_the_archive_keep_it(tmp_path: Path) -> None:
    settings = written_settings(tmp_path)
    metadata = {spec.key.to_user_string(): spec.metadata for a in partitioned_assets(settings) for spec in a.specs}
    assert metadata["session_ids"]["dagster/uri"] == f"file://{tmp_path}/catalog/_steps/session_ids"
    assert metadata["recordings"]["dagster/uri"] == f"file://{tmp_path}/catalog/recordings"
    assert {places["archive"] for places in metadata.values()} == {f"file://{tmp_path}/archive"}
    assert all("dagster/column_schema" in places for places in metadata.values())


def test_the_job_runs_all_eight_assets_in_an_order_that_works(tmp_path: Path) -> None:
    job = code_location(written_settings(tmp_path)).resolve_job_def("archive_day")
    order = [node.name for node in job.nodes_in_topological_order]
    assert order[:3] == ["session_ids", "recording_metadata", "recording_files"] or order[2] == "sessions"
    assert (
        order.index("sessions")
        < order.index("recordings")
        < min(order.index("status_stats"), order.index("duration_stats"), order.index("reconciliation"))
    )
    assert job.executor_def is dg.in_process_executor


@pytest.mark.parametrize(
    ("timezone", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("Asia/Singapore", date(2026, 3, 29), 24),
        ("UTC", date(2026, 10, 25), 24),
    ],
)
def test_a_partition_is_a_day_of_the_configured_zone(tmp_path: Path, timezone: str, day: date, hours: int) -> None:
    days = partitioned_assets(written_settings(tmp_path, timezone=timezone))[0].partitions_def
    assert isinstance(days, dg.DailyPartitionsDefinition)
    window = days.time_window_for_partition_key(day.isoformat())
    assert window.start == datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(timezone))
    assert window.end.astimezone(UTC) - window.start.astimezone(UTC) == timedelta(hours=hours)


def test_partitions_begin_with_the_first_day_and_end_with_today(tmp_path: Path) -> None:
    days = partitioned_assets(written_settings(tmp_path, timezone="Asia/Singapore"))[0].partitions_def
    assert isinstance(days, dg.DailyPartitionsDefinition)
    # 16:30 UTC on the 4th is half past midnight on the 5th in Singapore: the 4th has just ended there.
    keys = days.get_partition_keys(current_time=datetime(2026, 1, 4, 16, 30, tzinfo=UTC))
    assert keys == ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04", "2026-01-05"]


def imported(
    code: str, folder: Path, *, arguments: Sequence[str] = (), **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_loading_the_definitions_imports_nothing_that_only_runs_need(tmp_path: Path) -> None:
    path = written_settings(tmp_path).path
    code = (
        "import sys, pipelines.definitions\n"
        "heavy = ['numpy', 'pyarrow', 'pandas', 'requests', 'boto3', 'paramiko', 'duckdb', 'obstore']\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    result = imported(code, tmp_path, CALLARCHIVE_CONFIG=str(path))
    assert result.stdout == "[]\n", result.stderr


def test_runs_collect_garbage_rarely_and_import_no_pandas(tmp_path: Path) -> None:
    path = written_settings(tmp_path).path
    code = (
        "import gc, sys, dagster as dg\nfrom callarchive.settings import load_settings\n"
        "from pipelines.resources import connections_resource\n"
        "with dg.build_resources({'connections': connections_resource(load_settings())}):\n"
        "    import pyarrow as pa\n    pa.array([1])\n"
        "    print('pandas' in sys.modules, gc.get_threshold()[0] >= 10_000)"
    )
    result = imported(code, tmp_path, CALLARCHIVE_CONFIG=str(path), A_KEY_THAT_IS_NOT_SET="set")
    assert result.stdout == "False True\n", result.stderr


def test_runs_take_arrows_memory_from_the_c_library(tmp_path: Path) -> None:
    path = written_settings(tmp_path).path
    code = "import pipelines.definitions, pyarrow as pa; print(pa.default_memory_pool().backend_name)"
    result = imported(code, tmp_path, CALLARCHIVE_CONFIG=str(path))
    assert result.stdout == "system\n", result.stderr


def test_without_a_configuration_dagster_says_what_to_do_in_one_line_and_shows_no_traceback(tmp_path: Path) -> None:
    code = "from dagster._cli import main; main()"
    result = imported(code, tmp_path, arguments=("asset", "list", "-m", "pipelines.definitions"))
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.strip().splitlines()[-1] == (
        f"Error: no configuration at {tmp_path}/callarchive.toml: "
        "write one with callarchive init, or set CALLARCHIVE_CONFIG"
    )

"""The job that fetches a shard of a day: there when asked for, and the day's own run finds what it kept."""

from pathlib import Path

import dagster as dg
import pytest

from callarchive.domain.errors import ConfigurationError
from callarchive.settings import Settings, load_settings
from callarchive.simulator.running import Simulator
from pipelines.code_location import code_location

DAY = "2026-10-24"


def with_shards(config: Path, count: int) -> Settings:
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("[[accounts]]", f"[dagster]\nshards = {count}\n\n[[accounts]]", 1), encoding="utf-8")
    return load_settings(config)


def look_ups(simulator: Simulator) -> int:
    return sum(r.method == "GET" and "/recordings/" in r.path for r in simulator.api.requests)


def test_every_shard_of_a_day_is_a_run_and_the_day_then_asks_for_nothing(
    config: Path, simulator: Simulator, instance: dg.DagsterInstance
) -> None:
    location = code_location(with_shards(config, 4))
    job = location.resolve_job_def("fetch_shard")
    assert job.partitions_def is not None
    shards = [key for key in job.partitions_def.get_partition_keys() if key.startswith(f"{DAY}|")]
    assert [key.partition("|")[2] for key in shards] == ["01-of-04", "02-of-04", "03-of-04", "04-of-04"]
    before = look_ups(simulator)
    for key in shards:
        multi = dg.MultiPartitionKey({"day": DAY, "shard": key.partition("|")[2]})
        assert job.execute_in_process(partition_key=multi, instance=instance).success
    asked = look_ups(simulator) - before
    assert asked > 0
    done = location.resolve_job_def("archive_day").execute_in_process(partition_key=DAY, instance=instance)
    assert done.success
    assert look_ups(simulator) - before == asked


def test_there_is_no_such_job_unless_the_configuration_asks_for_it(definitions: dg.Definitions) -> None:
    assert "fetch_shard" not in {job.name for job in definitions.jobs or ()}


@pytest.mark.parametrize("count", [1, 3, 17, -4])
def test_a_day_is_split_into_four_to_sixteen_or_not_at_all(config: Path, count: int) -> None:
    with pytest.raises(ConfigurationError, match=r"dagster\.shards.*must be 0, for none, or 4 to 16"):
        with_shards(config, count)

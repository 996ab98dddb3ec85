"""A day in shards ends in the same tables and files as the day in one, whatever becomes of the shards."""

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from callarchive.archiving.steps import Shard, fetch_shard, share_of_rate
from callarchive.catalog import schemas
from callarchive.domain.errors import ArchiveError
from callarchive.settings import load_settings
from callarchive.simulator.faults import Fault

Start = Callable[..., Any]
SHARDS = [Shard(number, 4) for number in (1, 2, 3, 4)]
ONE_SHARD = """
import sys
from datetime import date
from callarchive.archiving.connections import Connections
from callarchive.settings import load_settings
from callarchive.archiving.steps import Shard, fetch_shard
with Connections(load_settings()) as connections:
    fetch_shard(connections, date.fromisoformat(sys.argv[1]), Shard.parse(sys.argv[2]))
"""


def in_one(trial: Any) -> tuple[Any, Any]:
    """Tables and files of the day in one, which are gone again."""
    trial.archive()
    expected = trial.tables(), trial.files()
    for name in ("archive", "catalog"):
        shutil.rmtree(trial.config.parent / name)
    return expected


def shard_process(trial: Any, shard: Shard) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", ONE_SHARD, str(trial.days[0]), str(shard)], env=trial.process_environment()
    )


def test_shards_at_once_and_then_the_day_give_the_tables_of_the_day_in_one(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=40)
    expected = in_one(trial)
    asked = trial.look_up_count()
    [day] = trial.days

    def one(shard: Shard) -> dict[str, int]:
        with trial.connections() as connections:
            return fetch_shard(connections, day, shard)

    with ThreadPoolExecutor(len(SHARDS)) as pool:
        counts = list(pool.map(one, SHARDS))
    assert all(each["sessions"] for each in counts)
    assert sum(each["sessions"] for each in counts) == len(expected[0]["sessions"])
    with trial.connections() as connections:
        assert not connections.catalog.has(schemas.RECORDINGS, day)
        assert not connections.catalog.has(schemas.RECORDING_FILES, day)

    [summary] = trial.archive()
    assert (trial.tables(), trial.files()) == expected
    assert trial.look_up_count() - asked == len(expected[0]["sessions"])  # each once
    assert summary.fetched_count == 0
    archived = [row for row in expected[0]["recordings"] if row["archive_status"] == "archived"]
    assert sum(each["fetched"] for each in counts) >= len(archived)


def test_a_shard_that_is_killed_leaves_what_it_had_and_the_day_ends_the_same(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=40)
    expected = in_one(trial)
    whole = [shard_process(trial, shard) for shard in SHARDS[1:]]
    assert [process.wait(60) for process in whole] == [0, 0, 0]
    asked = trial.look_up_count()
    trial.simulator.api.faults.add(Fault.delay(0.2), times=None)
    killed = shard_process(trial, SHARDS[0])
    ends_at = time.monotonic() + 60
    while trial.look_up_count() < asked + 3:
        assert time.monotonic() < ends_at
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    asked_by_killed = trial.look_up_count() - asked
    trial.simulator.api.faults.clear()

    trial.archive()
    assert (trial.tables(), trial.files()) == expected
    times = Counter(Counter(session_ids(trial)).values())
    assert set(times) <= {2, 3}, "by the day in one, by a shard, and by the day's run what the killed one had asked for"
    assert times[3] <= asked_by_killed
    assert not list((trial.config.parent / "catalog" / "_steps" / "shards").rglob("*-of-*"))


def session_ids(trial: Any) -> list[str]:
    """Of look-ups, one for each request."""
    return [r.path.partition("/recordings/")[2] for r in trial.simulator.api.requests if "/recordings/" in r.path]


def test_a_day_waits_for_its_shards_and_they_for_it_but_not_for_each_other(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=4)
    [day] = trial.days
    held, order = threading.Event(), []

    def whole() -> None:
        with trial.connections() as connections, connections.day_lock(day):
            order.append("day")
            held.set()
            time.sleep(0.3)
            order.append("day ends")

    def third_shard() -> None:
        held.wait()
        with trial.connections() as connections, connections.shard_lock(day, "03-of-04", before=lambda: None):
            order.append("shard after it")

    with trial.connections() as connections, ThreadPoolExecutor(2) as pool:
        with (
            connections.shard_lock(day, "01-of-04", before=lambda: None),
            connections.shard_lock(day, "02-of-04", before=lambda: None),
        ):
            waiting = [pool.submit(whole), pool.submit(third_shard)]
            time.sleep(0.3)
            order.append("shards end")
        for each in waiting:
            each.result(30)
    assert order == ["shards end", "day", "day ends", "shard after it"]


def test_a_shard_that_is_under_way_is_not_begun_a_second_time(
    start_trial: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callarchive.archiving.connections._DEAD_HOLDER_S", 0.1)
    trial = start_trial(sessions_per_day=4)
    [day] = trial.days
    with trial.connections() as connections:  # noqa: SIM117
        with connections.shard_lock(day, "01-of-04", before=lambda: None):
            with pytest.raises(ArchiveError, match=r"shard=01-of-04"):
                fetch_shard(connections, day, SHARDS[0])


def test_all_shards_of_a_day_together_keep_to_the_rate(start_trial: Start) -> None:
    settings = load_settings(start_trial(sessions_per_day=1).config)
    shared = [share_of_rate(settings, shard) for shard in SHARDS]
    for number, account in enumerate(settings.accounts):
        assert sum(each.accounts[number].requests_per_second for each in shared) == account.requests_per_second


@pytest.mark.parametrize("text", ["0-of-4", "5-of-4", "1", "one-of-4"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"shard|invalid literal"):
        Shard.parse(text)
    assert Shard.parse(str(Shard(3, 8))) == Shard(3, 8)

"""Dagster as others start it and order from it: its processes, an instance as shipped, a backfill. For tests and benchmarks."""

import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
import psutil
from dagster._core.execution.backfill import PartitionBackfill

from callarchive.settings import Settings
from pipelines import ui
from pipelines.code_location import code_location

DAEMON = (str(Path(sys.executable).with_name("dagster-daemon")), "run", "-m", "pipelines.definitions")
"""The daemon, which starts a code server of its own."""


def shipped_home(home: Path) -> Path:
    """`home`, made, as a DAGSTER_HOME with the instance that `make ui` sets up."""
    home.mkdir(parents=True)
    shutil.copy(Path(ui.__file__).with_name("dagster.yaml"), home)
    return home


def environment_with(own: Mapping[str, str], *, config: Path, home: Path) -> dict[str, str]:
    """This process's environment without what is about callarchive, AWS or Dagster, and `own`."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CALLARCHIVE_", "AWS_", "DAGSTER_"))}
    return {**inherited, **own, "CALLARCHIVE_CONFIG": str(config), "DAGSTER_HOME": str(home)}


@contextmanager
def process_group(
    words: Sequence[str | Path], *, environment: Mapping[str, str], log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """The program runs, in a process group of its own. On leaving all of the group is killed: nobody says good-bye."""
    with log.open("ab") as out:
        leader = subprocess.Popen(words, env=environment, stdout=out, stderr=out, process_group=0)  # noqa: S603
    try:
        yield leader
    finally:
        with suppress(ProcessLookupError):
            os.killpg(leader.pid, signal.SIGKILL)
        leader.wait()


def run_workers(daemon: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """The processes that are at a run now: the daemon's code server starts each by multiprocessing."""
    found = []
    for child in psutil.Process(daemon.pid).children(recursive=True):
        with suppress(psutil.Error):
            if is_run_worker(child):
                found.append(child)
    return found


def is_run_worker(process: psutil.Process) -> bool:
    """Whether the process is one that a code server started for a run. Raises psutil.Error when it is gone."""
    return any("spawn_main" in word for word in process.cmdline())


def wait_until(condition: Callable[[], object], what: str, *, patience_s: float, log: Path) -> None:
    """Returns when the condition holds. Raises AssertionError, which names the log, when it did not in time."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {patience_s:g} s; the log is {log}")
        time.sleep(0.1)


def launch_backfill(instance: dg.DagsterInstance, settings: Settings, keys: Sequence[str]) -> str:
    """All assets are ordered for these days, as the UI does it. Returns the backfill's id."""
    graph = code_location(settings).resolve_asset_graph()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dagster's own, about itself
        backfill = PartitionBackfill.from_asset_partitions(
            backfill_id="ordered",
            asset_graph=graph,
            partition_names=keys,
            asset_selection=list(graph.materializable_asset_keys),
            backfill_timestamp=time.time(),
            tags={},
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
    instance.add_backfill(backfill)
    return backfill.backfill_id

"""Run Dagster for tests and benchmarks: its processes, an instance with the shipped configuration, a backfill."""

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
"""The command of the daemon, which starts its own code server."""


def shipped_home(home: Path, tree: Path = Path(ui.__file__).parents[1]) -> Path:
    """Create `home` as a DAGSTER_HOME with the instance configuration of `make ui` in the source tree, by default this one."""
    home.mkdir(parents=True)
    shutil.copy(tree / "pipelines" / "dagster.yaml", home)
    return home


def environment_with(own: Mapping[str, str], *, config: Path, home: Path) -> dict[str, str]:
    """Return this process's environment without variables of callarchive, AWS and Dagster, plus `own`."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CALLARCHIVE_", "AWS_", "DAGSTER_"))}
    return {**inherited, **own, "CALLARCHIVE_CONFIG": str(config), "DAGSTER_HOME": str(home)}


@contextmanager
def process_group(
    words: Sequence[str | Path], *, environment: Mapping[str, str], log: Path, cwd: Path | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the program in its own process group, and kill the whole group with SIGKILL on exit."""
    with log.open("ab") as out:
        leader = subprocess.Popen(words, env=environment, stdout=out, stderr=out, cwd=cwd, process_group=0)
    try:
        yield leader
    finally:
        with suppress(ProcessLookupError):
            os.killpg(leader.pid, signal.SIGKILL)
        leader.wait()


def run_workers(daemon: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """Return the processes of current runs, which the daemon's code server starts with multiprocessing."""
    found = []
    for child in psutil.Process(daemon.pid).children(recursive=True):
        with suppress(psutil.Error):
            if is_run_worker(child):
                found.append(child)
    return found


def is_run_worker(process: psutil.Process) -> bool:
    """Return whether a code server started the process for a run.

    Raises:
        psutil.Error: The process has ended.
    """
    return any("spawn_main" in word for word in process.cmdline())


def wait_until(condition: Callable[[], object], what: str, *, patience_s: float, log: Path) -> None:
    """Wait until the condition is true.

    Raises:
        AssertionError: It did not become true within `patience_s`. The message names the log.
    """
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out after {patience_s:g} s waiting for {what}; see {log}")
        time.sleep(0.1)


def launch_backfill(instance: dg.DagsterInstance, settings: Settings, keys: Sequence[str]) -> str:
    """Launch a backfill of all assets for these days, like the UI. Return its id."""
    graph = code_location(settings).resolve_asset_graph()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dagster's own deprecation warnings
        backfill = PartitionBackfill.from_asset_partitions(
            backfill_id="launched",
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

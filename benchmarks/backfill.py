"""`python -m benchmarks.backfill`: backfill a year of small days with Dagster's daemon and the shipped configuration.

The simulator provides 8x8 and S3 in a separate process. The backfill is the one that the UI launches for all assets and days.
It is timed from the launch until the daemon reports success, and its outcome is checked. It is not part of `make bench`,
because a round takes minutes. Its figures are copied to `docs/backfills.md` manually.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import psutil
from dagster._core.execution.backfill import BulkActionStatus

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.settings import load_settings
from tools.running_dagster import DAEMON, environment_with, is_run_worker, launch_backfill, process_group, shipped_home

_FIRST_DAY = date(2025, 11, 1)
_READY = "ready"
_POLL_S = 1.0


def main() -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backfill", description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument(
        "--sessions", type=int, default=66, help="per day; three in four have a recording (default: 66)"
    )
    parser.add_argument("--days-per-run", type=int, default=20, help="dagster.days_per_run (default: 20)")
    parser.add_argument("--directory", type=Path, default=Path(".bench/backfill"), help="working folder; emptied first")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    directory = options.directory.absolute()
    if options.serve:
        _serve(directory, options.days, options.sessions)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that the started processes end as well
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    load = os.getloadavg()[0]
    with _simulator(directory, options.days, options.sessions) as environment:
        config = Path(environment["CALLARCHIVE_CONFIG"])
        head, marker, accounts = config.read_text().partition("[[accounts]]")
        config.write_text(f"{head}[dagster]\ndays_per_run = {options.days_per_run}\n\n{marker}{accounts}")
        result = _measure(directory, environment, options.days)
    print(json.dumps({"at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}", "load_before": round(load, 1), **result}))


def _serve(directory: Path, days: int, sessions: int) -> None:
    """Run the simulator until it is killed, and write its connection details to a file."""
    from callarchive.simulator.generation import generate_world
    from callarchive.simulator.running import Simulator
    from callarchive.simulator.world import AccountPlan

    world = generate_world(
        seed=1,
        accounts=(AccountPlan("year_s3", "s3", "year-recordings/pushed"),),
        first_day=_FIRST_DAY,
        last_day=_FIRST_DAY + timedelta(days=days - 1),
        sessions_per_day=sessions,
    )
    with Simulator.start(directory / "simulator", world=world) as simulator:
        count = sum(len(session.recordings) for session in world.sessions)
        details = {"config": str(simulator.config), "environment": dict(simulator.environment), "recordings": count}
        (directory / "details.new").write_text(json.dumps(details))
        (directory / "details.new").rename(directory / _READY)
        signal.pause()


@contextmanager
def _simulator(directory: Path, days: int, sessions: int) -> Iterator[dict[str, str]]:
    """Start the simulator and yield the environment of its clients."""
    words = [sys.executable, "-m", "benchmarks.backfill", "--serve", "--directory", str(directory)]
    words += ["--days", str(days), "--sessions", str(sessions)]
    with process_group(words, environment=os.environ, log=directory / "simulator.log") as process:
        while not (directory / _READY).exists():
            if process.poll() is not None:
                sys.exit("the simulator did not start")
            time.sleep(_POLL_S)
        details = json.loads((directory / _READY).read_text())
        print(f"serving {details['recordings']} recordings", file=sys.stderr)
        home = shipped_home(directory / "dagster")
        environment = environment_with(details["environment"], config=Path(details["config"]), home=home)
        yield {**environment, "RECORDINGS": str(details["recordings"])}


def _measure(directory: Path, environment: dict[str, str], days: int) -> dict[str, object]:
    os.environ.update(environment)
    settings = load_settings()
    with dg.DagsterInstance.from_config(environment["DAGSTER_HOME"]) as instance:
        with process_group(DAEMON, environment=environment, log=directory / "log") as daemon:
            while not instance.get_daemon_heartbeats():
                time.sleep(_POLL_S)
            keys = [(_FIRST_DAY + timedelta(days=number)).isoformat() for number in range(days)]
            begun_at = time.monotonic()
            backfill_id = launch_backfill(instance, settings, keys)
            usage = _Usage(daemon)
            while (backfill := instance.get_backfill(backfill_id)) is not None:
                if backfill.status != BulkActionStatus.REQUESTED:
                    break
                usage.sample()
                time.sleep(_POLL_S)
            wall_s = time.monotonic() - begun_at
        runs = instance.get_run_records(dg.RunsFilter(tags={"dagster/backfill": backfill_id}))
    recordings = Catalog.open(settings.catalog.url).arrow(schemas.RECORDINGS, columns=["archive_status"])
    if backfill is None or backfill.status != BulkActionStatus.COMPLETED_SUCCESS:
        sys.exit(f"the backfill failed: see {directory}/log")
    if _done(settings.catalog.url) != days or len(recordings) != int(environment["RECORDINGS"]):
        sys.exit(f"{_done(settings.catalog.url)} days and {len(recordings)} recordings are in the catalog")
    took_s = [run.end_time - run.start_time for run in runs if run.end_time and run.start_time]
    return {
        "days": days,
        "recordings": len(recordings),
        "archived": recordings["archive_status"].to_pylist().count("archived"),
        "wall_s": round(wall_s),
        "runs": len(runs),
        "run_mean_s": round(sum(took_s) / len(took_s), 1),
        "cpu_s": round(usage.cpu_s),
        "cpu_s_of_runs": round(usage.cpu_s_of_runs),
        "peak_mb": usage.peak_bytes // 1_000_000,
    }


def _done(catalog_url: str) -> int:
    return len(Catalog.open(catalog_url).days(schemas.RECONCILIATION))


class _Usage:
    """CPU time and peak memory of the daemon, its code servers and its runs together.

    CPU time that a process uses after its last sample is missing: at most a second per process.
    """

    def __init__(self, daemon: "subprocess.Popen[bytes]") -> None:
        self._daemon = psutil.Process(daemon.pid)
        self._spent_s: dict[tuple[int, float], tuple[float, bool]] = {}
        self.peak_bytes = 0

    def sample(self) -> None:
        held_bytes = 0
        for process in (self._daemon, *self._daemon.children(recursive=True)):
            with suppress(psutil.Error):
                times = process.cpu_times()
                is_run = is_run_worker(process)
                self._spent_s[process.pid, process.create_time()] = times.user + times.system, is_run
                held_bytes += process.memory_full_info().pss
        self.peak_bytes = max(self.peak_bytes, held_bytes)

    @property
    def cpu_s(self) -> float:
        return sum(spent_s for spent_s, _ in self._spent_s.values())

    @property
    def cpu_s_of_runs(self) -> float:
        return sum(spent_s for spent_s, is_run in self._spent_s.values() if is_run)


if __name__ == "__main__":
    main()

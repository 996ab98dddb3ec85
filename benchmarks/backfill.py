"""`python -m benchmarks.backfill`: backfill a year of small days with Dagster's daemon and the shipped configuration.

The backfill is the one that the UI launches for all assets and days. It is timed from the launch until the daemon reports
success, and its outcome is checked. The command line archives the same days for comparison, and so does Dagster from other
source trees. The simulated S3 costs next to nothing; the simulated API, in a process of its own, makes the log exports. It is
not part of `make bench`, because a round takes minutes. Its figures are copied to `docs/backfills.md` manually.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import psutil
from dagster._core.execution.backfill import BulkActionStatus

from benchmarks.corpus import Corpus, Sample, list_samples
from benchmarks.processes import measure, python
from benchmarks.servers import ROOT, s3_place
from benchmarks.simulators import BUCKET, PREFIX
from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.settings import load_settings
from callarchive.simulator.api import SimulatedApi
from callarchive.simulator.generation import generate_world
from callarchive.simulator.landings import object_bytes
from callarchive.simulator.world import AccountPlan, World
from tools.running_dagster import DAEMON, environment_with, is_run_worker, launch_backfill, process_group, shipped_home

_FIRST_DAY = date(2025, 11, 1)
_ACCOUNT = AccountPlan("year_s3", "s3", f"{BUCKET}/{PREFIX}")
_KEY = "benchmark"
_READY = "callarchive.toml"
_POLL_S = 0.3
_SETTLE_S = 2.0
"""The code server notices the end of a run, and has its CPU time, within a second."""


@dataclass(frozen=True)
class _Options:
    days: int
    sessions: int
    days_per_run: int | None
    rounds: int
    directory: Path
    tree: list[Path] = field(default_factory=list)
    serve: bool = False

    @property
    def keys(self) -> list[str]:
        return [(_FIRST_DAY + timedelta(days=number)).isoformat() for number in range(self.days)]


def main() -> None:
    """Measure, and print one line of JSON for each backfill and for each run of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backfill", description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument(
        "--sessions", type=int, default=66, help="per day; three in four have a recording (default: 66)"
    )
    parser.add_argument("--days-per-run", type=int, help="dagster.days_per_run (default: that of the configuration)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--tree", type=Path, action="append", default=[], help="another source tree to measure; repeatable"
    )
    parser.add_argument("--directory", type=Path, default=Path(".bench/backfill"), help="working folder; emptied first")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = _Options(**vars(parser.parse_args()))
    directory = options.directory.absolute()
    if options.serve:
        _serve(directory, options)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that the started processes end as well
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    with _servers(directory, options) as api:
        for number in range(options.rounds):
            for tree in (*options.tree, ROOT):
                _print(str(tree), _Run(directory / f"{number}-{tree.name}").backfill(tree.absolute(), options), api)
            _print("command line", _Run(directory / f"{number}-command-line").command_line(options), api)


def _print(name: str, result: dict[str, object], api: psutil.Process) -> None:
    now, (load, *_) = datetime.now(UTC), os.getloadavg()
    times = api.cpu_times()
    spent = round(times.user + times.system, 1)
    print(
        json.dumps({"what": name, "at": f"{now:%Y-%m-%d %H:%M}", "load": round(load, 1), "api_cpu_s": spent, **result})
    )
    sys.stdout.flush()


def _serve(directory: Path, options: _Options) -> None:
    """Run the servers until they are killed, and write a configuration for them."""
    last_day = _FIRST_DAY + timedelta(days=options.days - 1)
    world = generate_world(
        seed=1, accounts=(_ACCOUNT,), first_day=_FIRST_DAY, last_day=last_day, sessions_per_day=options.sessions
    )
    corpus = _corpus(directory / "landing", world)
    with SimulatedApi(world, keys={_ACCOUNT.subaccount_id: _KEY}, export_polls=1) as api, s3_place(corpus) as place:
        batches = "" if options.days_per_run is None else f"[dagster]\ndays_per_run = {options.days_per_run}\n"
        # The URLs of archive and catalog come from the environment of each run.
        text = f"""\
start_date = {_FIRST_DAY}
[archive]
url = "file:archive"
[catalog]
url = "file:catalog"
[inbox]
url = "sqlite:///inbox.sqlite3"
{batches}
[[accounts]]
subaccount_id = "{_ACCOUNT.subaccount_id}"
api_url = "{api.url}"
api_key = {{ env = "API_KEY" }}
{place.settings}
[[accounts.session_sources]]
kind = "log_export"
"""
        (directory / "written.toml").write_text(text)
        (directory / "written.toml").rename(directory / _READY)
        signal.pause()


def _corpus(home: Path, world: World) -> Corpus:
    """Write the landing's files of the world, and their list."""
    now = datetime.now(UTC)
    samples = []
    for one in world.recordings:
        if one.has_file(now):
            data, file = object_bytes(one), home / "files" / one.path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
            samples.append(
                Sample(one.session_id, one.recording_id, one.path, one.started_at, one.duration_s, len(data), md5)
            )
    return list_samples(home, samples)


@contextmanager
def _servers(directory: Path, options: _Options) -> Iterator[psutil.Process]:
    """Start the servers and yield the process of the API."""
    words = python("benchmarks.backfill", "--serve", "--directory", directory)
    words += ["--days", str(options.days), "--sessions", str(options.sessions)]
    if options.days_per_run is not None:
        words += ["--days-per-run", str(options.days_per_run)]
    with process_group(words, environment=os.environ, log=directory / "servers.log", cwd=ROOT) as process:
        while not (directory / _READY).exists():
            if process.poll() is not None:
                sys.exit(f"the servers did not start: see {directory}/servers.log")
            time.sleep(_POLL_S)
        yield psutil.Process(process.pid)


class _Run:
    """A run on an empty archive. `home` has its archive, its catalog and Dagster's home; its parent the configuration."""

    def __init__(self, home: Path) -> None:
        self._home = home
        home.mkdir()
        own = {
            "CALLARCHIVE_ARCHIVE__URL": f"{home.as_uri()}/archive",
            "CALLARCHIVE_CATALOG__URL": f"{home.as_uri()}/catalog",
            "API_KEY": _KEY,
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _KEY,
        }
        self._environment = environment_with(own, config=home.parent / _READY, home=home / "dagster")
        os.environ.update(self._environment)

    def command_line(self, options: _Options) -> dict[str, object]:
        """Archive the days with the command line."""
        words = (
            *python("callarchive", "--json", "archive", "--ignore-checks"),
            "--from",
            options.keys[0],
            "--to",
            options.keys[-1],
        )
        measured = measure(words, environment=self._environment, limit_s=3600)
        return self._outcome(options) | {
            "wall_s": round(measured.wall_s, 1),
            "cpu_s": round(measured.cpu_s, 1),
            "peak_mb": round(measured.peak_rss_bytes / 1e6),
        }

    def backfill(self, tree: Path, options: _Options) -> dict[str, object]:
        """Archive the days with Dagster, all of whose processes use the source tree."""
        environment = {**self._environment, "PYTHONPATH": str(tree)}
        shipped_home(self._home / "dagster", tree)
        log = self._home / "log"
        with dg.DagsterInstance.from_config(environment["DAGSTER_HOME"]) as instance:
            with process_group(DAEMON, environment=environment, log=log, cwd=tree) as daemon:
                while not instance.get_daemon_heartbeats():
                    time.sleep(_POLL_S)
                begun_at = time.monotonic()
                backfill_id = launch_backfill(instance, load_settings(), options.keys)
                usage = _Usage(psutil.Process(daemon.pid))
                while (backfill := instance.get_backfill(backfill_id)) is not None:
                    if backfill.status != BulkActionStatus.REQUESTED:
                        break
                    usage.sample()
                    time.sleep(_POLL_S)
                wall_s = time.monotonic() - begun_at
                time.sleep(_SETTLE_S)
                usage.sample()
            runs = instance.get_run_records(dg.RunsFilter(tags={"dagster/backfill": backfill_id}))
        if backfill is None or backfill.status != BulkActionStatus.COMPLETED_SUCCESS:
            sys.exit(f"the backfill failed: see {log}")
        took_s = [run.end_time - run.start_time for run in runs if run.end_time and run.start_time]
        return self._outcome(options) | {
            "wall_s": round(wall_s, 1),
            "runs": len(runs),
            "run_mean_s": round(sum(took_s) / len(took_s), 1),
            "cpu_s": round(usage.cpu_s, 1),
            "cpu_s_of_runs": round(usage.cpu_s_of_runs, 1),
            "peak_mb": usage.peak_bytes // 1_000_000,
        }

    def _outcome(self, options: _Options) -> dict[str, object]:
        catalog = Catalog.open(load_settings().catalog.url)
        done = len(catalog.days(schemas.RECONCILIATION))
        if done != options.days:
            sys.exit(f"{done} days are in the catalog: see {self._home}")
        statuses = catalog.arrow(schemas.RECORDINGS, columns=["archive_status"])["archive_status"].to_pylist()
        return {"days": done, "recordings": len(statuses), "archived": statuses.count("archived")}


class _Usage:
    """CPU time and peak memory of the daemon, its code servers and its runs together, and the CPU time of the runs alone.

    What a run uses after its last sample is missing: at most `_POLL_S`.
    """

    def __init__(self, daemon: psutil.Process) -> None:
        self._daemon = daemon
        self._runs_s: dict[psutil.Process, float] = {}
        self.cpu_s = 0.0
        self.peak_bytes = 0

    def sample(self) -> None:
        held_bytes = spent_s = 0.0
        for process in (self._daemon, *self._daemon.children(recursive=True)):
            with suppress(psutil.Error):
                times = process.cpu_times()
                spent_s += sum(times[:4])  # with that of children that have ended
                if is_run_worker(process):
                    self._runs_s[process] = times.user + times.system
                held_bytes += process.memory_full_info().pss
        self.cpu_s = max(self.cpu_s, spent_s)  # that of a process that has just ended may be nowhere
        self.peak_bytes = max(self.peak_bytes, int(held_bytes))

    @property
    def cpu_s_of_runs(self) -> float:
        return sum(self._runs_s.values())


if __name__ == "__main__":
    main()

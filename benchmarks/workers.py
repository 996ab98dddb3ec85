"""`python -m benchmarks.workers`: backfill ten remote days with one Celery worker and with two, set up as in `deploy/celery`.

The servers come from the environment, as in `deploy/celery/dagster.yaml`: DAGSTER_POSTGRES_URL, DAGSTER_CELERY_BROKER_URL,
DAGSTER_CELERY_BACKEND_URL. The time runs from the start of the first run to the end of the last, as recorded by Dagster. It
excludes the half minute until the daemon picks up a new backfill. With low concurrency and high latency, workers mostly wait,
so both can share a machine.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from statistics import median

import dagster as dg
import yaml
from dagster._core.execution.backfill import BulkActionStatus

from benchmarks.corpus import SHORT_CALLS_OF_TEN_DAYS, make_corpus
from benchmarks.days import Day, Limits, remove_aside, set_up
from benchmarks.processes import BenchmarkError
from benchmarks.servers import ROOT
from callarchive.catalog import schemas

_VARIABLES = ("DAGSTER_POSTGRES_URL", "DAGSTER_CELERY_BROKER_URL", "DAGSTER_CELERY_BACKEND_URL")
_INSTANCE = ROOT / "deploy" / "celery" / "dagster.yaml"
_PROGRAMS = Path(sys.executable).parent
_CONCURRENCY = 4
_LIMIT_S = 900.0
_TABLES = (schemas.SESSION_IDS, schemas.RECORDING_METADATA, schemas.RECORDING_FILES, *schemas.PUBLIC_TABLES)


def main() -> None:
    """Measure in interleaved rounds and print. The figures are copied to docs/scaling.md manually; the report is unchanged."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    parser.add_argument(
        "--recordings", type=int, default=1000, help="recordings of all ten days together (default: 1000)"
    )
    parser.add_argument("--round-trip-ms", type=float, default=200, help="round trip to landing and API (default: 200)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument(
        "--directory", type=Path, default=Path(".bench"), help="for corpora and archives (default: .bench)"
    )
    options = parser.parse_args()
    if absent := [name for name in _VARIABLES if not os.environ.get(name)]:
        parser.error(f"{', '.join(absent)} must be set: see deploy/celery/dagster.yaml")
    directory = options.directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    corpus = make_corpus(directory, options.recordings, SHORT_CALLS_OF_TEN_DAYS)
    far = {"round_trip_ms": options.round_trip_ms, "api_round_trip_ms": options.round_trip_ms}
    limits = Limits(transfers=_CONCURRENCY, lookups=_CONCURRENCY)
    took_s: dict[int, list[float]] = {1: [], 2: []}
    with set_up(directory / "workers", corpus, kind="s3", limits=limits, **far) as day:
        _set_one_day_per_run(day)
        for round_number in range(options.repeat):
            for count, each in took_s.items():
                each.append(_backfill(day, count, home=directory / "workers" / f"dagster-{round_number}-{count}"))
                print(f"{count} workers: {each[-1]:.1f} s; load {os.getloadavg()[0]:.1f}", flush=True)
    remove_aside(directory)
    one, two = (median(each) for each in took_s.values())
    print(
        f"{options.recordings:,} recordings of ten days, {options.round_trip_ms:g} ms away, {_CONCURRENCY} transfers at a"
        f" time, median of {options.repeat}: one worker {one:.1f} s, two workers {two:.1f} s, {one / two:.2f} times as fast"
    )


def _set_one_day_per_run(day: Day) -> None:
    file = day.home / "callarchive.toml"
    head, accounts, rest = file.read_text(encoding="utf-8").partition("[[accounts]]")
    file.write_text(f"{head}[dagster]\ndays_per_run = 1\n\n{accounts}{rest}", encoding="utf-8")


def _backfill(day: Day, worker_count: int, *, home: Path) -> float:
    """Return the seconds from the start of the first run to the end of the last.

    Raises:
        BenchmarkError: The backfill failed or archived the wrong number of recordings.
    """
    day.clear()
    home.mkdir()
    config = yaml.safe_load(_INSTANCE.read_text(encoding="utf-8"))
    config["concurrency"]["runs"]["max_concurrent_runs"] = worker_count
    (home / "dagster.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    environment = {**day.environment, "DAGSTER_HOME": str(home)}
    days = sorted({sample.day for sample in day.corpus.samples})
    commands = [["dagster-daemon", "run", "-m", "pipelines.definitions"]] + [
        ["celery", "--app", "pipelines.celery_worker", "worker", "--concurrency", "1", "--hostname", f"worker-{n}@%h"]
        for n in range(worker_count)
    ]
    with _running(commands, environment, home / "log"), dg.DagsterInstance.from_config(str(home)) as instance:
        _wait_for_workers(instance, worker_count)
        backfill_id = _request_backfill(days, environment, home)
        ends_at = time.monotonic() + _LIMIT_S
        while (backfill := instance.get_backfill(backfill_id)) is None or (
            backfill.status is BulkActionStatus.REQUESTED
        ):
            if time.monotonic() > ends_at:
                raise BenchmarkError(f"the backfill did not finish within {_LIMIT_S:g} s: see {home / 'log'}")
            time.sleep(1)
        records = instance.get_run_records(dg.RunsFilter(tags={"dagster/backfill": backfill_id}))
    if backfill.status is not BulkActionStatus.COMPLETED_SUCCESS or len(records) != len(days):
        raise BenchmarkError(f"the backfill is {backfill.status.value} after {len(records)} runs")
    kept = sum(1 for _ in (day.home / "archive").rglob("*.mp3"))
    if kept != len(day.corpus.samples):
        raise BenchmarkError(f"{kept} recordings are archived instead of {len(day.corpus.samples)}")
    begun, ended = [r.start_time for r in records], [r.end_time for r in records]
    return max(at for at in ended if at) - min(at for at in begun if at)


def _wait_for_workers(instance: dg.DagsterInstance, count: int) -> None:
    ends_at = time.monotonic() + _LIMIT_S
    celery = instance.run_launcher.celery  # type: ignore[attr-defined]
    while len(celery.control.ping(timeout=2)) < count:
        if time.monotonic() > ends_at:
            raise BenchmarkError("the workers do not respond")


def _request_backfill(days: list[date], environment: dict[str, str], home: Path) -> str:
    """Launch a backfill of all assets for the days, like the UI. Return its id."""
    assets = ", ".join(f'{{path: ["{table.name}"]}}' for table in _TABLES)
    graphql = (
        f"mutation {{ launchPartitionBackfill(backfillParams: {{assetSelection: [{assets}], "
        f"partitionNames: {json.dumps([str(one) for one in days])}}}) "
        "{ ... on LaunchBackfillSuccess { backfillId } } }"
    )
    output = home / "response.json"
    words = [str(_PROGRAMS / "dagster-graphql"), "-m", "pipelines.definitions", "-o", str(output), "-t", graphql]
    subprocess.run(words, env=environment, check=True, capture_output=True)
    response = json.loads(output.read_text(encoding="utf-8"))
    return str(response["data"]["launchPartitionBackfill"]["backfillId"])


@contextmanager
def _running(commands: list[list[str]], environment: dict[str, str], log: Path) -> Iterator[None]:
    """Run the programs, each in its own process group, until the block exits."""
    started: list[subprocess.Popen[bytes]] = []
    with log.open("wb") as out:
        try:
            for program, *words in commands:
                command = [str(_PROGRAMS / program), *words]
                started.append(
                    subprocess.Popen(command, env=environment, stdout=out, stderr=out, process_group=0, cwd=ROOT)
                )
            yield
        finally:
            for process in started:
                process.send_signal(signal.SIGTERM)
            for process in started:
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()

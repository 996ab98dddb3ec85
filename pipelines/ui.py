"""`python -m pipelines.ui`: Dagster's UI on the configured archive, or on the demo's with its simulators.

Dagster runs as `dagster dev` in its own process; Ctrl-C ends everything.
"""

import argparse
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from callarchive.domain.days import spans_of
from callarchive.domain.errors import ArchiveError, ConfigurationError, UnavailableError
from callarchive.domain.plurals import many
from callarchive.runtime.time_zones import PATH_VARIABLE
from callarchive.settings import CONFIG_NAME, CONFIG_VARIABLE, load_settings
from callarchive.storage.stores.file_lock import file_lock

if TYPE_CHECKING:
    import dagster as dg

    from callarchive.catalog.parquet_catalog import Catalog
    from callarchive.settings import Settings

DEMO_DIRECTORY = Path(".demo")
HOME_VARIABLE = "DAGSTER_HOME"
_INSTANCE_CONFIG = Path(__file__).with_name("dagster.yaml")
_NOTE_NAME = "catalog-url"
_DELIVERY_INTERVAL_S = 30.0
_PATIENCE_S = 10.0
_INTERRUPTS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until Ctrl-C or SIGTERM. Return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.ui", description="Dagster's UI on the archive.")
    parser.add_argument("--port", type=int, default=3000, help="of the UI, on 127.0.0.1 (3000)")
    options = parser.parse_args(arguments)
    # A shell that starts us in the background sets SIGINT to be ignored, and `dagster dev` would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _require_free(options.port)
        with _archive_to_show() as (deliver, is_demo):
            home = prepare_home(DEMO_DIRECTORY / "dagster" if is_demo else Path(".dagster"))
            with _only_here(home):
                _report_days(home, with_a_run=is_demo)
                print(f"http://127.0.0.1:{options.port}   (Dagster's own data: {home}; Ctrl-C stops)", flush=True)
                return _run_dagster(options.port, deliver)
    except KeyboardInterrupt:
        return 0
    except ArchiveError as err:
        print(f"error: {err}", file=sys.stderr)
        return err.exit_code


def prepare_home(default: Path) -> Path:
    """Set DAGSTER_HOME to an absolute path, if it is not set to `default`, and give it an instance configuration."""
    home = Path(os.environ.get(HOME_VARIABLE) or default).expanduser().absolute()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        shutil.copyfile(_INSTANCE_CONFIG, home / "dagster.yaml")
    os.environ[HOME_VARIABLE] = str(home)
    return home


@contextmanager
def _only_here(home: Path) -> Iterator[None]:
    """Hold Dagster's home: the daemon of a second UI would start the same runs and evaluate the same ticks."""
    try:
        with file_lock(home / "ui.lock", name=f"Dagster's home {home}", wait_s=0):
            yield
    except UnavailableError as err:
        raise ConfigurationError(f"{err}: use its UI, stop it (Ctrl-C), or set another {HOME_VARIABLE}") from err


def _require_free(port: int) -> None:
    """Raise ConfigurationError if the UI cannot listen on the port. `dagster dev` would report that late and not end."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # like Dagster's webserver
            probe.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as err:
        why = "is in use" if isinstance(err, OSError) and err.errno == errno.EADDRINUSE else f"cannot be used ({err})"
        raise ConfigurationError(
            f"port {port} of 127.0.0.1 {why}: stop the program that listens there, or choose another port with"
            " `make ui UI_PORT=3001`"
        ) from err


@contextmanager
def _archive_to_show() -> Iterator[tuple[Callable[[], object], bool]]:
    """Point CALLARCHIVE_CONFIG to the user's configuration, or to the demo's, whose simulators run inside the block.

    Yields a function to call periodically so that the simulators continue to deliver, and whether it is the demo.

    Raises:
        ConfigurationError: neither exists.
    """
    if os.environ.get(CONFIG_VARIABLE) or Path(CONFIG_NAME).exists():
        yield lambda: None, False
        return
    if not (DEMO_DIRECTORY / CONFIG_NAME).exists():
        raise ConfigurationError(
            f"there is no {CONFIG_NAME} here and no demo: run `make demo`, or set {CONFIG_VARIABLE}"
        )
    from callarchive.simulator.running import Simulator

    print(f"starting the simulators of the demo in {DEMO_DIRECTORY} ...", flush=True)
    for name in list(os.environ):
        if name.startswith(("CALLARCHIVE_", "AWS_")):  # no setting or profile of the user reaches the simulators
            del os.environ[name]
    with Simulator.start(DEMO_DIRECTORY) as simulator:
        os.environ.update(simulator.environment)
        os.environ[CONFIG_VARIABLE] = str(simulator.config)
        yield simulator.deliver, True


def _report_days(home: Path, *, with_a_run: bool) -> None:
    """Report the archived days to Dagster and, if it has no run yet, queue one of the latest `with_a_run`: a few seconds."""
    import dagster as dg

    from callarchive.catalog import schemas
    from callarchive.catalog.parquet_catalog import Catalog
    from pipelines.reporting import report_catalog

    settings = load_settings()
    catalog = Catalog.open(settings.catalog.url, s3=settings.catalog.s3)
    with dg.DagsterInstance.get() as instance:
        _claim(home, instance, catalog, settings)
        count = report_catalog(instance, catalog, settings)
        if count:
            print(f"reported {count} partitions to Dagster that were archived without it", flush=True)
        days = catalog.days(schemas.RECORDINGS)
        if with_a_run and days and not instance.get_runs(limit=1):
            print(f"queuing a run of {days[-1]}, so that Dagster shows one ...", flush=True)
            _queue_run(days[-1].isoformat())


def _claim(home: Path, instance: "dg.DagsterInstance", catalog: "Catalog", settings: "Settings") -> None:
    """Write into Dagster's home to which catalog it belongs, and warn of days that Dagster has and the catalog lacks.

    In a home of two archives, days of the one would be green in the other, and a backfill of its missing days skip them.

    Raises:
        ConfigurationError: the home belongs to another catalog, or has none yet but shows days of other accounts.
    """
    from pipelines.reporting import days_not_in_catalog, other_accounts

    note, url = home / _NOTE_NAME, catalog.store.url
    owner = note.read_text(encoding="utf-8", errors="replace").strip() if note.exists() else ""
    if owner and owner != url:
        raise ConfigurationError(
            f"Dagster's home {home} belongs to the catalog {owner}, not to {url}: set another {HOME_VARIABLE}, or, if the"
            f" catalog was moved, write its URL into {note}"
        )
    missing = days_not_in_catalog(instance, catalog, settings)
    days = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in spans_of(missing))
    if not owner:
        if others := other_accounts(instance, missing, settings):
            raise ConfigurationError(
                f"Dagster's home {home} was used with another archive: it shows {days} of {', '.join(sorted(others))}, which"
                f" the catalog {url} does not have: set another {HOME_VARIABLE}, delete the home (it has no recordings), or,"
                f" to keep it, write that URL into {note}"
            )
        note.write_text(f"{url}\n", encoding="utf-8")
    if missing:
        print(
            f"warning: Dagster shows {many(len(missing), 'day', 'days')} as materialized that the catalog {url} does not"
            f" have: {days}: archive them; a backfill of the missing days would skip them",
            file=sys.stderr,
        )


def _queue_run(partition: str) -> None:
    """Queue a run that Dagster starts when it is up. Unlike a run of this process, its overview shows it."""
    tags = json.dumps({"dagster/partition": partition})
    command = ["job", "launch", "--module-name", "pipelines.definitions", "--job", "archive_day", "--tags", tags]
    done = subprocess.run(
        [sys.executable, "-m", "dagster", *command],
        env={PATH_VARIABLE: "", **os.environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        print("Dagster did not queue it: start one with Materialize", file=sys.stderr)


def _run_dagster(port: int, deliver: Callable[[], object]) -> int:
    # `dg dev`, its successor, requires its own project layout and adds nothing here.
    quiet = ["-W", "ignore:Function `dev_command` is superseded"]
    command = [*quiet, "-m", "dagster", "dev", "--module-name", "pipelines.definitions"]
    dagster = subprocess.Popen(
        [sys.executable, *command, "--host", "127.0.0.1", "--port", str(port)],
        # Empty, PYTHONTZPATH means the package tzdata alone, from each process's start: see callarchive.runtime.time_zones.
        # While an edited configuration is not valid, a backfill waits. Dagster's default is to fail it.
        # Dagster's inner code server ends after 30 s without a heartbeat, as under heavy load, and nothing restarts it.
        env={
            PATH_VARIABLE: "",
            "DAGSTER_GRPC_PROXY_HEARTBEAT_TTL_SECONDS": "600",
            **os.environ,
            "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR": "1",
        },
        process_group=0,  # only we get a terminal's Ctrl-C: `dagster dev` aborts its shutdown at the second
    )
    try:
        while True:
            try:
                return dagster.wait(_DELIVERY_INTERVAL_S)
            except subprocess.TimeoutExpired:
                deliver()
    finally:
        _end(dagster)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process and those that it started."""
    if process.poll() is not None:
        return
    for _ in range(_INTERRUPTS):  # one that arrives while `dagster dev` still starts its services is lost
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)
            break
    with suppress(ProcessLookupError):  # the rest of its group: a second interrupt aborts the shutdown
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

"""`python -m pipelines.ui`: Dagster's UI on the configured archive, or on the demo's with its stand-ins running beside it.

Dagster itself runs as `dagster dev` in a process of its own; Ctrl-C ends everything.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from callarchive.domain.errors import ArchiveError, ConfigurationError
from callarchive.runtime.time_zones import PATH_VARIABLE
from callarchive.settings import CONFIG_NAME, CONFIG_VARIABLE, load_settings

DEMO_DIRECTORY = Path(".demo")
HOME_VARIABLE = "DAGSTER_HOME"
_INSTANCE_CONFIG = Path(__file__).with_name("dagster.yaml")
_DELIVERY_INTERVAL_S = 30.0
_PATIENCE_S = 10.0
_INTERRUPTS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until Ctrl-C or SIGTERM. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.ui", description="Dagster's UI on the archive.")
    parser.add_argument("--port", type=int, default=3000, help="of the UI, on 127.0.0.1 (3000)")
    options = parser.parse_args(arguments)
    # A shell that starts us in the background sets SIGINT to be ignored, and `dagster dev` would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with _archive_to_show() as deliver:
            home = prepare_home()
            _report_days()
            print(f"http://127.0.0.1:{options.port}   (Dagster's own data: {home}; Ctrl-C stops)", flush=True)
            return _run_dagster(options.port, deliver)
    except KeyboardInterrupt:
        return 0
    except ArchiveError as err:
        print(f"error: {err}", file=sys.stderr)
        return err.exit_code


def prepare_home() -> Path:
    """DAGSTER_HOME is set, `.dagster` in the working directory by default, and holds an instance configuration."""
    home = Path(os.environ.get(HOME_VARIABLE) or ".dagster").expanduser().absolute()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        shutil.copyfile(_INSTANCE_CONFIG, home / "dagster.yaml")
    os.environ[HOME_VARIABLE] = str(home)
    return home


@contextmanager
def _archive_to_show() -> Iterator[Callable[[], object]]:
    """CALLARCHIVE_CONFIG names a configuration: the user's, or the demo's with its stand-ins running inside the block.

    Yields what to call now and then so that the stand-ins go on delivering.

    Raises:
        ConfigurationError: there is neither.
    """
    if os.environ.get(CONFIG_VARIABLE) or Path(CONFIG_NAME).exists():
        yield lambda: None
        return
    if not (DEMO_DIRECTORY / CONFIG_NAME).exists():
        raise ConfigurationError(
            f"there is no {CONFIG_NAME} here and no demo: run `make demo`, or set {CONFIG_VARIABLE}"
        )
    from callarchive.simulator.running import Simulator

    print(f"starting the stand-ins of the demo in {DEMO_DIRECTORY} ...", flush=True)
    for name in list(os.environ):
        if name.startswith(("CALLARCHIVE_", "AWS_")):  # no setting or profile of the user's own reaches the stand-ins
            del os.environ[name]
    with Simulator.start(DEMO_DIRECTORY) as simulator:
        os.environ.update(simulator.environment)
        os.environ[CONFIG_VARIABLE] = str(simulator.config)
        yield simulator.deliver


def _report_days() -> None:
    import dagster as dg

    from callarchive.catalog.parquet_catalog import Catalog
    from pipelines.reporting import report_catalog

    settings = load_settings()
    with dg.DagsterInstance.get() as instance:
        count = report_catalog(instance, Catalog.open(settings.catalog.url, s3=settings.catalog.s3), settings)
    if count:
        print(f"told Dagster of {count} partitions that were archived without it", flush=True)


def _run_dagster(port: int, deliver: Callable[[], object]) -> int:
    # `dg dev`, which it is superseded by, wants a project of its own and does no more for us.
    quiet = ["-W", "ignore:Function `dev_command` is superseded"]
    command = [*quiet, "-m", "dagster", "dev", "--module-name", "pipelines.definitions"]
    dagster = subprocess.Popen(  # noqa: S603
        [sys.executable, *command, "--host", "127.0.0.1", "--port", str(port)],
        # Empty, PYTHONTZPATH means the package tzdata alone, from each process's start: see callarchive.runtime.time_zones.
        # While a configuration that somebody edits is not valid, a backfill waits. Dagster's default is to fail it.
        env={PATH_VARIABLE: "", **os.environ, "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR": "1"},
        process_group=0,  # a terminal's Ctrl-C reaches us alone: `dagster dev` breaks off its shutdown at the second
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
    """The process is gone, and so are those that it started."""
    if process.poll() is not None:
        return
    for _ in range(_INTERRUPTS):  # one that comes while `dagster dev` still starts its services is lost
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)
            break
    with suppress(ProcessLookupError):  # whoever of its group is left, for a second interrupt breaks off the shutdown
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

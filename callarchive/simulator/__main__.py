"""Run simulators of 8x8's API, S3 and SFTP until Ctrl-C, to try a setup on them."""

import argparse
import signal
import sys
from datetime import date
from pathlib import Path
from queue import Empty, SimpleQueue

from callarchive.domain.errors import ArchiveError
from callarchive.simulator.running import DEMO_SEED, DEMO_SESSIONS_PER_DAY, Simulator

_DELIVERY_INTERVAL_S = 30.0


def main(arguments: list[str] | None = None) -> int:
    """Run the simulators and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m callarchive.simulator", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="directory for the configuration and the files")
    parser.add_argument(
        "--last-day", type=date.fromisoformat, help="last day of the week, YYYY-MM-DD (default: yesterday)"
    )
    parser.add_argument(
        "--sessions-per-day", type=int, help=f"sessions per account and day (default: {DEMO_SESSIONS_PER_DAY})"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address or name to listen on, also in the configuration (default: 127.0.0.1)",
    )
    parser.add_argument("--seed", type=int, help=f"seed of the week (default: {DEMO_SEED})")
    options = parser.parse_args(arguments)
    stops: SimpleQueue[int] = SimpleQueue()  # setting an Event in a signal handler can deadlock with its wait()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signum, _: stops.put(signum))
    try:
        simulator = Simulator.start(
            options.directory,
            seed=options.seed,
            last_day=options.last_day,
            sessions_per_day=options.sessions_per_day,
            host=options.host,
        )
    except ArchiveError as err:
        print(f"error: {err}", file=sys.stderr)
        return err.exit_code
    with simulator:
        print(f"8x8 API        {simulator.api.url}")
        print(f"S3             {simulator.s3.endpoint_url}")
        print(f"SFTP           {simulator.sftp.user}@{simulator.sftp.host}:{simulator.sftp.port}")
        print(f"configuration  {simulator.config}")
        print("The keys are in .env in the same directory. Press Ctrl-C to stop.", flush=True)
        while not _stopped(stops):
            simulator.deliver()
    return 0


def _stopped(stops: SimpleQueue[int]) -> bool:
    """Wait for the next delivery, and return whether a signal to stop arrived before."""
    try:
        stops.get(timeout=_DELIVERY_INTERVAL_S)
    except Empty:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())

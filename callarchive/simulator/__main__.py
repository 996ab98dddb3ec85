"""Run simulators of 8x8's API, S3 and SFTP until Ctrl-C, to try a setup on them."""

import argparse
import signal
import sys
from datetime import date
from pathlib import Path
from queue import Empty, SimpleQueue

from callarchive.domain.errors import ArchiveError
from callarchive.simulator.running import DEMO_DAYS, DEMO_SEED, DEMO_SESSIONS_PER_DAY, Simulator

_DELIVERY_INTERVAL_S = 30.0


def main(arguments: list[str] | None = None) -> int:
    """Run the simulators and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m callarchive.simulator", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="directory for the configuration and the files")
    parser.add_argument(
        "--last-day", type=date.fromisoformat, help="last day with calls, YYYY-MM-DD (default: yesterday)"
    )
    parser.add_argument("--days", type=_positive, help=f"number of days with calls (default: {DEMO_DAYS})")
    parser.add_argument(
        "--sessions-per-day", type=_positive, help=f"sessions per account and day (default: {DEMO_SESSIONS_PER_DAY})"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address or name to listen on, also in the configuration (default: 127.0.0.1)",
    )
    for server in ("api", "s3", "sftp"):
        parser.add_argument(f"--{server}-port", type=_positive, help="port to listen on (default: any that is free)")
    parser.add_argument("--seed", type=int, help=f"seed of the calls (default: {DEMO_SEED})")
    options = parser.parse_args(arguments)
    ports = {"api": options.api_port, "s3": options.s3_port, "sftp": options.sftp_port}
    stops: SimpleQueue[int] = SimpleQueue()  # setting an Event in a signal handler can deadlock with its wait()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signum, _: stops.put(signum))
    try:
        simulator = Simulator.start(
            options.directory,
            seed=options.seed,
            last_day=options.last_day,
            days=options.days,
            sessions_per_day=options.sessions_per_day,
            host=options.host,
            ports={server: port for server, port in ports.items() if port is not None},
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


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _stopped(stops: SimpleQueue[int]) -> bool:
    """Wait for the next delivery, and return whether a signal to stop arrived before."""
    try:
        stops.get(timeout=_DELIVERY_INTERVAL_S)
    except Empty:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())

"""`python -m callarchive.simulator --directory DIR`: the stand-ins run until Ctrl-C, for trying a set-up on them."""

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
    """Runs the stand-ins. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m callarchive.simulator", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="where configuration and files are written")
    parser.add_argument("--last-day", type=date.fromisoformat, help="of the simulated week, YYYY-MM-DD (yesterday)")
    parser.add_argument("--sessions-per-day", type=int, help=f"of each account ({DEMO_SESSIONS_PER_DAY})")
    parser.add_argument("--seed", type=int, help=f"another seed, another week ({DEMO_SEED})")
    options = parser.parse_args(arguments)
    stops: SimpleQueue[int] = SimpleQueue()  # an Event set by a handler waits for ever for the lock of its own wait()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signum, _: stops.put(signum))
    try:
        simulator = Simulator.start(
            options.directory,
            seed=options.seed,
            last_day=options.last_day,
            sessions_per_day=options.sessions_per_day,
        )
    except ArchiveError as err:
        print(f"error: {err}", file=sys.stderr)
        return err.exit_code
    with simulator:
        print(f"8x8 API        {simulator.api.url}")
        print(f"S3             {simulator.s3.endpoint_url}")
        print(f"SFTP           {simulator.sftp.user}@{simulator.sftp.host}:{simulator.sftp.port}")
        print(f"configuration  {simulator.config}")
        print("Keys are in .env beside it. Ctrl-C stops.", flush=True)
        while not _came(stops):
            simulator.deliver()
    return 0


def _came(stops: SimpleQueue[int]) -> bool:
    """Whether a signal to stop came before the next delivery is due."""
    try:
        stops.get(timeout=_DELIVERY_INTERVAL_S)
    except Empty:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())

"""`python -m callarchive.simulator --directory DIR`: the stand-ins run until Ctrl-C, for trying a set-up on them."""

import argparse
import signal
import sys
from datetime import date
from pathlib import Path
from threading import Event

from callarchive.errors import ArchiveError
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
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
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
        while not stop.wait(_DELIVERY_INTERVAL_S):
            simulator.deliver()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m benchmarks`: measures callarchive beside programs that only copy, and writes `docs/performance.md`.

A whole run at full size writes the report. One of some cases only, or a quick one, prints and leaves the report as it is: so
all figures there are of one run.
"""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import alone
from benchmarks.days import remove_aside
from benchmarks.growth import growth
from benchmarks.look_ups import look_ups
from benchmarks.parts import parts
from benchmarks.peers import find_peers
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.processes import BenchmarkError
from benchmarks.report import REPORT, Circumstances, Section, as_text, overview, write_report
from benchmarks.transfers import far_s3, far_sftp, long_recording, s3, sftp

CASES: dict[str, Callable[[Plan], Section | None]] = {
    "s3": s3,
    "far-s3": far_s3,
    "sftp": sftp,
    "far-sftp": far_sftp,
    "long-recording": long_recording,
    "parts": parts,
    "look-ups": look_ups,
    "walk": alone.frame_walk,
    "growth": growth,
    "catalog": alone.catalog,
    "start": alone.starting,
}


def main() -> None:
    """Measures, prints and, after a whole run, writes the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", metavar="CASES", help=f"some of {','.join(CASES)}, with commas; the report is not written"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, two rounds; the report is not written")
    parser.add_argument("--repeat", type=int, help="rounds of each case (default: 5, quick 2)")
    parser.add_argument(
        "--directory", type=Path, default=Path(".bench"), help="where corpora are kept and archives made"
    )
    parser.add_argument("--long", action="store_true", help="a day of 100,000 recordings as well")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(CASES)
    if unknown := set(names) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    load, directory = os.getloadavg()[0], options.directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    repeat = options.repeat or (2 if options.quick else 5)
    sizes = QUICK if options.quick else FULL
    plan = Plan(directory, sizes, repeat=repeat, long=options.long, peers=find_peers(directory))
    sections, failed = _measured(names, plan)
    remove_aside(directory)
    print(f"{overview(sections)}\n\n{as_text(sections)}")
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}. The report is as it was.")
    if not options.only and not options.quick:
        words = ["make", "bench", *(["BENCH=--long"] if options.long else [])]
        command = shlex.join(words) if options.repeat is None else f"python -m benchmarks --repeat {repeat}"
        write_report(sections, Circumstances(command, directory, load, repeat, plan.peers))
        print(f"written: {REPORT}", file=sys.stderr)


def _measured(names: list[str], plan: Plan) -> tuple[list[Section], list[str]]:
    """The sections, and the names of cases that failed; why they did is on stderr."""
    sections, failed = [], []
    for name in names:
        begun_at = time.monotonic()
        print(f"{name}:", file=sys.stderr)
        try:
            section = CASES[name](plan)
        except BenchmarkError as err:
            print(f"{name}: {err}", file=sys.stderr)
            failed.append(name)
            continue
        if section is None:
            print(f"{name} is left out: sshd is not installed (on Debian: openssh-server)", file=sys.stderr)
        else:
            sections.append(section)
        print(f"{name}: {time.monotonic() - begun_at:.0f} s", file=sys.stderr)
    return sections, failed


if __name__ == "__main__":
    main()

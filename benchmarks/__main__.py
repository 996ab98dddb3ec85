"""`python -m benchmarks`: compare callarchive with programs that only copy, and write `docs/performance.md`.

A complete run at full size writes the report. A quick run, or one of selected cases, only prints, so that all figures in the
report come from one run.
"""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import offline
from benchmarks.days import remove_aside
from benchmarks.growth import growth
from benchmarks.lookups import lookups
from benchmarks.parts import parts
from benchmarks.peers import find_peers
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.processes import BenchmarkError
from benchmarks.report import REPORT, Conditions, Section, as_text, summary_table, write_report
from benchmarks.transfers import capped_s3, far_s3, far_sftp, long_recording, s3, sftp
from benchmarks.verification import verification

CASES: dict[str, Callable[[Plan], Section | None]] = {
    "s3": s3,
    "far-s3": far_s3,
    "capped-s3": capped_s3,
    "sftp": sftp,
    "far-sftp": far_sftp,
    "long-recording": long_recording,
    "parts": parts,
    "lookups": lookups,
    "walk": offline.frame_walk,
    "growth": growth,
    "catalog": offline.catalog,
    "start": offline.starting,
    "verification": verification,
}


def main() -> None:
    """Measure and print; after a complete run, write the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", metavar="CASES", help=f"comma-separated cases of {','.join(CASES)}; does not write the report"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, two rounds; does not write the report")
    parser.add_argument("--repeat", type=int, help="rounds per case (default: 5; with --quick: 2)")
    parser.add_argument(
        "--directory", type=Path, default=Path(".bench"), help="folder for corpora and archives (default: .bench)"
    )
    parser.add_argument("--long", action="store_true", help="also measure a day of 100,000 recordings")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(CASES)
    if unknown := set(names) - set(CASES):
        parser.error(f"unknown case: {', '.join(sorted(unknown))}; choose from {', '.join(CASES)}")
    load, directory = os.getloadavg()[0], options.directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    repeat = options.repeat or (2 if options.quick else 5)
    sizes = QUICK if options.quick else FULL
    plan = Plan(directory, sizes, repeat=repeat, long=options.long, peers=find_peers(directory))
    sections, failed = _measured(names, plan)
    remove_aside(directory)
    print(f"{summary_table(sections)}\n\n{as_text(sections)}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}. The report was not written.")
    if not options.only and not options.quick:
        words = ["make", "bench", *(["BENCH=--long"] if options.long else [])]
        command = shlex.join(words) if options.repeat is None else f"python -m benchmarks --repeat {repeat}"
        write_report(sections, Conditions(command, directory, load, repeat, plan.peers))
        print(f"wrote {REPORT}", file=sys.stderr)


def _measured(names: list[str], plan: Plan) -> tuple[list[Section], list[str]]:
    """Return the sections and the names of failed cases. The reasons are printed to stderr."""
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
            print(f"{name} skipped: sshd is not installed (on Debian: openssh-server)", file=sys.stderr)
        else:
            sections.append(section)
        print(f"{name}: {time.monotonic() - begun_at:.0f} s", file=sys.stderr)
    return sections, failed


if __name__ == "__main__":
    main()

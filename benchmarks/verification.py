"""Measure `callarchive verify` against `sha256sum` on the same files, and the check of a long ledger alone."""

import shlex
from pathlib import Path

from benchmarks.corpus import make_corpus
from benchmarks.days import set_up
from benchmarks.plan import Plan
from benchmarks.processes import Contender, cpu, measure, peak_mb, python, run_rounds, wall
from benchmarks.report import Section, at_most, ratio_at_most, run_table

_SHARE = 1.25
"""Wall time that is at most this many times that of `sha256sum` is at least 0.8 of its speed."""


def verification(plan: Plan) -> Section:
    """Measure the verification of a day with its tables and ledger, and of a ledger with a million recordings."""
    corpus = make_corpus(plan.directory, plan.sizes.verified)
    size_bytes = sum(sample.size_bytes for sample in corpus.samples)
    whole, alone = "callarchive verify", "sha256sum in two processes"
    with set_up(plan.directory / "verification", corpus, kind="s3") as day:
        day.archive()
        environment = day.environment
        files = shlex.quote(f"{day.home}/archive")
        sums = f"find {files} -name '*.mp3' -print0 | xargs -0 -n 64 -P 2 sha256sum"
        runs = run_rounds(
            [
                Contender(whole, lambda: measure(python("callarchive", "verify"), environment=environment)),
                Contender(alone, lambda: measure(("sh", "-c", sums))),
            ],
            plan.repeat,
        )
    count = plan.sizes.ledger_entries
    home = plan.directory / f"ledger-{count}"
    if not home.exists():
        measure(python("benchmarks.tasks", "make-ledger", f"{home}.new", count))
        Path(f"{home}.new").rename(home)
    checked = f"callarchive ledger verify, {count:,} recordings"
    of_ledger = {"CALLARCHIVE_CONFIG": str(home / "callarchive.toml"), **_without_settings(environment)}
    runs |= run_rounds(
        [Contender(checked, lambda: measure(python("callarchive", "ledger", "verify"), environment=of_ledger))],
        plan.repeat,
    )
    prose = (
        f"{len(corpus.samples):,} recordings of one day ({size_bytes / 1e9:.2f} GB), in the page cache, with their tables and"
        f" ledger; `sha256sum` reads the same files. The ledger of {count:,} recordings is read and hashed without files."
    )
    claims = (
        ratio_at_most("verify a day: wall", wall(runs[whole]), wall(runs[alone]), _SHARE, "sha256sum"),
        ratio_at_most("verify a day: CPU", cpu(runs[whole]), cpu(runs[alone]), _SHARE, "sha256sum"),
        at_most(f"{checked}: wall", wall(runs[checked]), 30, "s"),
        at_most(f"{checked}: peak memory", peak_mb(runs[checked]), 300, "MB"),
    )
    return Section("Verification", prose, claims, (run_table(runs, servers=False),))


def _without_settings(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("CALLARCHIVE_")}

"""Measure how time and memory grow with the number of recordings and of days."""

from contextlib import ExitStack

from benchmarks.corpus import SHORT_CALLS, SHORT_CALLS_OF_TEN_DAYS, make_corpus
from benchmarks.days import set_up
from benchmarks.plan import Plan
from benchmarks.processes import Contender, peak_mb, run_rounds, wall
from benchmarks.report import Section, at_most, ratio_at_most, run_table

_LONG_DAY = 100_000
_MEMORY_MB, _LONG_MEMORY_MB = 215, 306


def growth(plan: Plan) -> Section:
    """Measure a day, a tenth of it, and ten days of a tenth each; with `plan.long` also one day of 100,000 recordings, once."""
    whole = make_corpus(plan.directory, plan.sizes.day, SHORT_CALLS)
    days = make_corpus(plan.directory, plan.sizes.ten_days, SHORT_CALLS_OF_TEN_DAYS)
    tenth = whole.first(len(whole.samples) // 10)
    one, ten = f"{len(tenth.samples):,} recordings of one day", f"{len(whole.samples):,} recordings of one day"
    spread_out = f"{len(days.samples):,} recordings of ten days"
    contenders: list[Contender] = []
    with ExitStack() as stack:
        for name, corpus in ((one, tenth), (ten, whole), (spread_out, days)):
            day = stack.enter_context(set_up(plan.directory / f"growth-{len(contenders)}", corpus, kind="s3"))
            contenders.append(Contender(name, day.archive))
        runs = run_rounds(contenders, plan.repeat)
    claims = [
        ratio_at_most("ten times the recordings: wall", wall(runs[ten]), wall(runs[one]), 10.5, "one tenth"),
        ratio_at_most("ten times the recordings: memory", peak_mb(runs[ten]), peak_mb(runs[one]), 1.3, "one tenth"),
        at_most(f"{ten}: peak memory", peak_mb(runs[ten]), _MEMORY_MB, "MB"),
        ratio_at_most("ten days in sequence: memory", peak_mb(runs[spread_out]), peak_mb(runs[one]), 1.1, "one day"),
    ]
    tables = [run_table(runs)]
    if plan.long:
        corpus = make_corpus(plan.directory, _LONG_DAY, SHORT_CALLS)
        name = f"{_LONG_DAY:,} recordings of one day"
        with set_up(plan.directory / "growth-long", corpus, kind="s3") as day:
            runs = run_rounds([Contender(name, day.archive)], 1)
        claims.append(at_most(f"{name}: peak memory", peak_mb(runs[name]), _LONG_MEMORY_MB, "MB"))
        tables.append(run_table(runs))
    prose = "Whole jobs on local S3 with recordings of about 8 kB, so that the cost per recording dominates." + (
        f" The day of {_LONG_DAY:,} recordings was run once." if plan.long else ""
    )
    return Section("Growth", prose, tuple(claims), tuple(tables))

"""Measure lookups: the rate against a remote API, the CPU cost of each, and how accurately the rate limit is kept."""

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.corpus import make_corpus
from benchmarks.days import Day, Limits, set_up
from benchmarks.plan import Plan
from benchmarks.processes import Contender, Measured, output_values, run_rounds, with_output
from benchmarks.report import Claim, Section, Table, at_least, at_most, spread

ROUND_TRIP_MS = 50.0
CONCURRENCY = 64
FAR, LOCAL, CAPPED = "at 50 ms, 64 concurrent", "local, default configuration", "local, with a rate limit"


def lookups(plan: Plan) -> Section:
    """Measure the second step of a day, from the API simulator's and from the process's own figures."""
    corpus = make_corpus(plan.directory, plan.sizes.s3).first(plan.sizes.lookups)
    cap = plan.sizes.rate_cap
    capped_count = min(len(corpus.samples), round(5 * cap))
    capped = replace(corpus, samples=corpus.samples[:capped_count])
    far, limited = Limits(lookups=CONCURRENCY), Limits(requests_per_second=cap)
    with (
        set_up(plan.directory / "far-api", corpus, kind="s3", limits=far, api_round_trip_ms=ROUND_TRIP_MS) as far_day,
        set_up(plan.directory / "near-api", corpus, kind="s3") as near_day,
        set_up(plan.directory / "capped-api", capped, kind="s3", limits=limited) as capped_day,
    ):
        runs = run_rounds(
            [
                Contender(FAR, lambda: _looked_up(far_day)),
                Contender(LOCAL, lambda: _looked_up(near_day)),
                Contender(CAPPED, lambda: _looked_up(capped_day)),
            ],
            plan.repeat,
        )
    possible = CONCURRENCY / (ROUND_TRIP_MS / 1000)
    per_second = output_values(runs[FAR], "per_second")
    claims = (
        at_least("lookups at 50 ms", per_second, 1000, "/s"),
        at_least(
            "lookups at 50 ms, share of concurrency / latency", [100 * rate / possible for rate in per_second], 90, "%"
        ),
        at_most("lookups at 50 ms, CPU each", output_values(runs[FAR], "cpu_ms"), 0.5, "ms"),
        *_held(cap, runs[CAPPED]),
    )
    rows = tuple(
        (name, *(spread(output_values(each, figure)) for figure in ("per_second", "busiest_second", "cpu_ms")))
        for name, each in runs.items()
    )
    prose = (
        f"The step that looks up {len(corpus.samples):,} sessions ({capped_count:,} with a limit of {cap:,.0f}/s). Lookups per"
        " second are counted at the server, from the first to the last. CPU is that of the whole step, including tables and"
        f" stored responses. At {ROUND_TRIP_MS:.0f} ms, {CONCURRENCY} concurrent lookups cannot exceed {possible:,.0f}/s."
    )
    table = Table(("lookups", "per second", "busiest second", "CPU ms each"), rows)
    return Section("Lookups", prose, claims, (table,))


def _held(cap: float, runs: Sequence[Measured]) -> list[Claim]:
    """Return claims on the deviation of the mean rate from the limit, and the excess of the busiest second over it."""
    off = [100 * abs(rate / cap - 1) for rate in output_values(runs, "per_second")]
    above = [100 * max(0.0, count / cap - 1) for count in output_values(runs, "busiest_second")]
    return [
        at_most(f"rate limit of {cap:,.0f}/s: deviation of the mean", off, 2, "%"),
        at_most(f"rate limit of {cap:,.0f}/s: excess in the busiest second", above, 2, "%"),
    ]


def _looked_up(day: Day) -> Measured:
    measured = day.look_up()
    arrivals = day.arrivals()
    count = len(arrivals)
    return with_output(
        measured,
        per_second=(count - 1) / (arrivals[-1] - arrivals[0]),
        busiest_second=busiest_second(arrivals),
        cpu_ms=1000 * measured.output["recording_metadata"][1] / count,
    )


def busiest_second(arrivals: Sequence[float]) -> int:
    """Return the highest number of arrivals in any one-second window. `arrivals` are sorted, in seconds."""
    most = first = 0
    for number, at in enumerate(arrivals):
        while at - arrivals[first] >= 1:
            first += 1
        most = max(most, number + 1 - first)
    return most

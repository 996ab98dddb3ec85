"""Look-ups: how many a second against an API that is far away, what each costs, and how well the account's rate cap is held."""

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.corpus import make_corpus
from benchmarks.days import Day, Limits, set_up
from benchmarks.plan import Plan
from benchmarks.processes import Contender, Measured, by_turns, told, with_told
from benchmarks.report import Claim, Section, Table, at_least, at_most, spread

ROUND_TRIP_MS = 50.0
CONCURRENCY = 64
FAR, NEXT_DOOR, CAPPED = "50 ms away, 64 at once", "next door, as configured by default", "next door, with a rate cap"


def look_ups(plan: Plan) -> Section:
    """The second step of a day, as far as the API's stand-in sees it and as the process tells of itself."""
    corpus = make_corpus(plan.directory, plan.sizes.s3).first(plan.sizes.look_ups)
    cap = plan.sizes.rate_cap
    capped_count = min(len(corpus.samples), round(5 * cap))
    capped = replace(corpus, samples=corpus.samples[:capped_count])
    far, hurried = Limits(look_ups=CONCURRENCY), Limits(requests_per_second=cap)
    with (
        set_up(plan.directory / "far-api", corpus, kind="s3", limits=far, api_round_trip_ms=ROUND_TRIP_MS) as far_day,
        set_up(plan.directory / "near-api", corpus, kind="s3") as near_day,
        set_up(plan.directory / "capped-api", capped, kind="s3", limits=hurried) as capped_day,
    ):
        runs = by_turns(
            [
                Contender(FAR, lambda: _looked_up(far_day)),
                Contender(NEXT_DOOR, lambda: _looked_up(near_day)),
                Contender(CAPPED, lambda: _looked_up(capped_day)),
            ],
            plan.repeat,
        )
    possible = CONCURRENCY / (ROUND_TRIP_MS / 1000)
    per_second = told(runs[FAR], "per_second")
    claims = (
        at_least("look-ups 50 ms away", per_second, 1000, "/s"),
        at_least(
            "look-ups 50 ms away, of concurrency / latency", [100 * rate / possible for rate in per_second], 90, "%"
        ),
        at_most("look-ups 50 ms away, CPU of each", told(runs[FAR], "cpu_ms"), 0.5, "ms"),
        *_held(cap, runs[CAPPED]),
    )
    rows = tuple(
        (name, *(spread(told(each, figure)) for figure in ("per_second", "busiest_second", "cpu_ms")))
        for name, each in runs.items()
    )
    prose = (
        f"The step that looks {len(corpus.samples):,} sessions up ({capped_count:,} with a cap of {cap:,.0f}/s). Look-ups a"
        " second are counted where they arrive, from the first to the last; CPU is the whole step's, its reading and writing of"
        f" tables and kept answers included. {CONCURRENCY} at once can be no more than {possible:,.0f}/s"
        f" at {ROUND_TRIP_MS:.0f} ms."
    )
    table = Table(("look-ups", "a second", "in the busiest second", "CPU ms each"), rows)
    return Section("Look-ups", prose, claims, (table,))


def _held(cap: float, runs: Sequence[Measured]) -> list[Claim]:
    """How far the rate was from the cap, above or below, and how far the busiest second was above it."""
    off = [100 * abs(rate / cap - 1) for rate in told(runs, "per_second")]
    above = [100 * max(0.0, count / cap - 1) for count in told(runs, "busiest_second")]
    return [
        at_most(f"rate cap of {cap:,.0f}/s: how far off the mean is", off, 2, "%"),
        at_most(f"rate cap of {cap:,.0f}/s: how far above it the busiest second is", above, 2, "%"),
    ]


def _looked_up(day: Day) -> Measured:
    measured = day.look_up()
    arrivals = day.arrivals()
    count = len(arrivals)
    return with_told(
        measured,
        per_second=(count - 1) / (arrivals[-1] - arrivals[0]),
        busiest_second=busiest_second(arrivals),
        cpu_ms=1000 * measured.told["look_up_recordings"][1] / count,
    )


def busiest_second(arrivals: Sequence[float]) -> int:
    """How many arrivals there are at the most in a second, wherever it begins. `arrivals` are in order, in seconds."""
    most = first = 0
    for number, at in enumerate(arrivals):
        while at - arrivals[first] >= 1:
            first += 1
        most = max(most, number + 1 - first)
    return most

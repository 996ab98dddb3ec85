"""The main job and its transfer beside programs that only copy: S3 and SFTP, next door and far away, and one long recording."""

from collections.abc import Callable

from benchmarks.corpus import Corpus, make_corpus, make_long_recording
from benchmarks.days import Day, Limits, set_up
from benchmarks.peers import Copy, Peers
from benchmarks.plan import Plan
from benchmarks.processes import Contender, Measured, Runs, by_turns, cpu, middle, peak_mb, wall
from benchmarks.report import Claim, Section, Table, at_most, in_proportion, run_table
from benchmarks.servers import S3Place, sshd

TRANSFER, WHOLE, AGAIN = "callarchive: transfer", "callarchive: whole job", "callarchive: the same day again"
S5CMD, RCLONE, FAST_LIST = "s5cmd cp", "rclone copy --transfers 16", "rclone copy --transfers 16 --fast-list"
SFTP_RCLONE = f"{RCLONE} --sftp-disable-hashcheck"
LFTP, SFTP = "lftp mirror --parallel=16", "sftp -b, get -r"

ROUND_TRIP_MS = 40.0
API_ROUND_TRIP_MS = 50.0
FAR = Limits(transfers=64, look_ups=128)
"""As the documentation recommends for a store and an API that are far away."""


def s3(plan: Plan) -> Section:
    """A day on S3 next door, and the same day again."""
    corpus = make_corpus(plan.directory, plan.sizes.s3)
    with set_up(plan.directory / "s3", corpus, kind="s3") as day:
        runs = by_turns([*_ours(day), *_again(day), *peer_copies(day, plan.peers, S5CMD, RCLONE)], plan.repeat)
        stages, share = _stages(day, plan.repeat)
    work = f"S3, {len(corpus.samples):,} files"
    claims = (
        *_compared(f"{work}: transfer", runs, TRANSFER, S5CMD, wall_limit=1.1, cpu_limit=1.3),
        *_compared(f"{work}: whole job", runs, WHOLE, RCLONE, wall_limit=1.3),
        at_most(f"{work}: rerun, of the first run's wall, start-up aside", share, 5, "%"),
    )
    prose = (
        f"{len(corpus.samples):,} recordings, {corpus.size_bytes / 1e6:,.0f} MB, sizes log-normal with a median of 140 kB, one"
        " to a session and each session in a folder of its own, as 8x8 lays them out. S3 and 8x8's API are played by"
        " `benchmarks/stand_ins.py`, which does nothing but answer. The configuration's defaults. The rerun fetched nothing and"
        " asked 8x8 nothing, as the stand-ins saw it. Start-up is what a process spends before and after the day"
        " itself, and on what botocore reads for its first client."
    )
    return Section("S3 next door", prose, claims, (run_table(runs), stages))


def far_s3(plan: Plan) -> Section:
    """The same day with a store and an API that are far away."""
    corpus = make_corpus(plan.directory, plan.sizes.s3)
    with set_up(
        plan.directory / "far-s3",
        corpus,
        kind="s3",
        limits=FAR,
        round_trip_ms=ROUND_TRIP_MS,
        api_round_trip_ms=API_ROUND_TRIP_MS,
    ) as day:
        runs = by_turns([*_ours(day), *peer_copies(day, plan.peers, S5CMD, RCLONE, FAST_LIST)], plan.repeat)
    title = f"S3 {ROUND_TRIP_MS:.0f} ms away"
    claims = (
        *_compared(f"{title}: transfer", runs, TRANSFER, S5CMD, wall_limit=0.9),
        *_compared(f"{title}: whole job", runs, WHOLE, RCLONE, wall_limit=0.5),
    )
    prose = (
        f"The same {len(corpus.samples):,} recordings. S3 is {ROUND_TRIP_MS:.0f} ms away, 8x8's API {API_ROUND_TRIP_MS:.0f} ms"
        " (`benchmarks/delay.py`: bandwidth is not limited, a new connection costs a round trip more). callarchive is told"
        f" `transfer.concurrency = {FAR.transfers}` and `lookups.concurrency = {FAR.look_ups}`, s5cmd has its default of 256"
        " workers. rclone lists a folder at a time unless told otherwise, and here every session has its own: `--fast-list`"
        " shows what is left without that."
    )
    return Section(title, prose, claims, (run_table(runs),))


def sftp(plan: Plan) -> Section | None:
    """A day on OpenSSH next door."""
    if sshd() is None:
        return None
    corpus = make_corpus(plan.directory, plan.sizes.s3).first(plan.sizes.sftp)
    with set_up(plan.directory / "sftp", corpus, kind="sftp") as day:
        runs = by_turns(
            [*_ours(day), *_again(day), *peer_copies(day, plan.peers, SFTP_RCLONE, LFTP, SFTP)], plan.repeat
        )
        stages, _ = _stages(day, plan.repeat)
    work = f"SFTP, {len(corpus.samples):,} files"
    claims = (
        *_compared(f"{work}: transfer", runs, TRANSFER, SFTP_RCLONE, wall_limit=0.95),
        *_compared(f"{work}: whole job", runs, WHOLE, SFTP_RCLONE, wall_limit=1.5),
    )
    prose = (
        f"{len(corpus.samples):,} of the recordings, {corpus.size_bytes / 1e6:,.0f} MB, on OpenSSH's sshd with its own limits."
        " The configuration's defaults. Left to itself rclone would have the server hash every file in a shell, which takes"
        " many times as long and which a server for SFTP alone does not offer."
    )
    return Section("SFTP next door", prose, claims, (run_table(runs), stages))


def far_sftp(plan: Plan) -> Section | None:
    """A small day on OpenSSH far away."""
    if sshd() is None:
        return None
    corpus = make_corpus(plan.directory, plan.sizes.s3).first(plan.sizes.far_sftp)
    with set_up(
        plan.directory / "far-sftp",
        corpus,
        kind="sftp",
        limits=FAR,
        round_trip_ms=ROUND_TRIP_MS,
        api_round_trip_ms=API_ROUND_TRIP_MS,
    ) as day:
        runs = by_turns([*_ours(day), *peer_copies(day, plan.peers, SFTP_RCLONE)], plan.repeat)
    title = f"SFTP {ROUND_TRIP_MS:.0f} ms away"
    claims = (
        *_compared(f"{title}: transfer", runs, TRANSFER, SFTP_RCLONE, wall_limit=0.2),
        *_compared(f"{title}: whole job", runs, WHOLE, SFTP_RCLONE, wall_limit=0.4),
    )
    prose = (
        f"{len(corpus.samples):,} of the recordings, {corpus.size_bytes / 1e6:,.0f} MB, on OpenSSH's sshd,"
        f" {ROUND_TRIP_MS:.0f} ms away; look-ups at {API_ROUND_TRIP_MS:.0f} ms; concurrency as for S3 far away."
    )
    return Section(title, prose, claims, (run_table(runs),))


def long_recording(plan: Plan) -> Section:
    """One recording that is very long: how fast it comes over SFTP, and that memory does not hold it."""
    claims: list[Claim] = []
    tables: list[Table] = []
    if sshd() is not None:
        corpus = make_long_recording(plan.directory, plan.sizes.long_sftp_bytes)
        with set_up(plan.directory / "long-sftp", corpus, kind="sftp") as day:
            day.prepare()
            runs = by_turns([Contender(TRANSFER, day.transfer), *peer_copies(day, plan.peers, SFTP)], plan.repeat)
        claims += _compared(f"SFTP, {_mb(corpus)}: transfer", runs, TRANSFER, SFTP, wall_limit=1.0)
        tables.append(run_table(_renamed(runs, f"SFTP, {_mb(corpus)}: "), size_bytes=corpus.size_bytes))
    corpus = make_long_recording(plan.directory, plan.sizes.long_s3_bytes)
    with set_up(plan.directory / "long-s3", corpus, kind="s3") as day:
        runs = by_turns([Contender(WHOLE, day.archive)], plan.repeat)
    claims.append(at_most(f"S3, {_mb(corpus)}: peak memory", peak_mb(runs[WHOLE]), 400, "MB"))
    tables.append(run_table(_renamed(runs, f"S3, {_mb(corpus)}: "), size_bytes=corpus.size_bytes))
    prose = "One recording, next door: as long as a line that nobody hung up."
    return Section("One long recording", prose, tuple(claims), tuple(tables))


def _ours(day: Day) -> list[Contender]:
    day.prepare()
    return [Contender(TRANSFER, day.transfer), Contender(WHOLE, day.archive)]


def _again(day: Day) -> list[Contender]:
    return [Contender(AGAIN, day.archive_again)]  # right after the whole job, whose archive it finds


def peer_copies(day: Day, peers: Peers, *names: str) -> list[Contender]:
    """Those of the peers named that there are."""
    place, target = day.place, day.copied
    copies: dict[str, Callable[[], Copy]]
    if isinstance(place, S3Place):
        copies = {
            S5CMD: lambda: peers.s5cmd(place, target),
            RCLONE: lambda: peers.rclone(place, target),
            FAST_LIST: lambda: peers.rclone(place, target, "--fast-list"),
        }
    else:
        copies = {
            SFTP_RCLONE: lambda: peers.rclone(place, target, "--sftp-disable-hashcheck"),
            LFTP: lambda: peers.lftp(place, target),
            SFTP: lambda: peers.sftp(place, target),
        }

    def contender(name: str) -> Contender:
        return Contender(name, lambda: day.copy(copies[name]()))

    return [contender(name) for name in names if _program(name) in peers]


def _program(contender: str) -> str:
    return contender.partition(" ")[0]


def _compared(
    work: str, runs: Runs, ours: str, theirs: str, *, wall_limit: float, cpu_limit: float | None = None
) -> list[Claim]:
    """What was measured of a target that names a peer; nothing where there was no such peer."""
    if theirs not in runs:
        return []
    claims = [in_proportion(f"{work}, wall", wall(runs[ours]), wall(runs[theirs]), wall_limit, _program(theirs))]
    if cpu_limit is not None:
        claims.append(in_proportion(f"{work}, CPU", cpu(runs[ours]), cpu(runs[theirs]), cpu_limit, _program(theirs)))
    return claims


def _stages(day: Day, repeat: int) -> tuple[Table, list[float]]:
    """Where the time of further runs went, and how long a rerun took of the first run, start-up aside, in percent."""
    runs: dict[str, list[Measured]] = {WHOLE: [], AGAIN: []}
    for _ in range(max(1, repeat // 2)):
        runs[WHOLE].append(day.stages(clear=True))
        runs[AGAIN].append(day.stages(clear=False))
    stages = [stage for stage in runs[WHOLE][0].told if stage != "day"]
    rows = []
    for name, each in runs.items():
        start = middle([run.wall_s - run.told["day"][0] for run in each])
        spent = [tuple(middle([run.told[stage][which] for run in each]) for which in (0, 1)) for stage in stages]
        rest = [
            middle([run.told["day"][which] for run in each]) - sum(part[which] for part in spent) for which in (0, 1)
        ]
        rows.append((name, f"{start:.2f}", *(f"{wall_s:.2f} / {cpu_s:.2f}" for wall_s, cpu_s in (*spent, rest))))
    shares = [100 * b.told["day"][0] / a.told["day"][0] for a, b in zip(runs[WHOLE], runs[AGAIN], strict=True)]
    return Table(("stages, wall s / CPU s", "start-up", *stages, "summary"), tuple(rows)), shares


def _renamed(runs: Runs, beginning: str) -> Runs:
    return {beginning + name: each for name, each in runs.items()}


def _mb(corpus: Corpus) -> str:
    return f"one file of {corpus.size_bytes / 1e6:,.0f} MB"

"""Compare the main job and its transfer with programs that only copy: S3 and SFTP, local and remote, and one long recording."""

from collections.abc import Callable
from dataclasses import replace
from statistics import median

from benchmarks.corpus import Corpus, make_corpus, make_long_recording
from benchmarks.days import Day, Limits, set_up
from benchmarks.peers import Copy, Peers
from benchmarks.plan import Plan
from benchmarks.processes import Contender, Measured, Runs, cpu, peak_mb, run_rounds, wall
from benchmarks.report import Claim, Section, Table, at_most, ratio_at_most, run_table
from benchmarks.servers import S3Place, sshd

TRANSFER, WHOLE, RERUN = "callarchive: transfer", "callarchive: whole job", "callarchive: rerun"
SCRIPT = "script: s5cmd, sync, sha256, tinytag, requests, pandas"
S5CMD, RCLONE, FAST_LIST = "s5cmd cp", "rclone copy --transfers 16", "rclone copy --transfers 16 --fast-list"
SFTP_RCLONE = f"{RCLONE} --sftp-disable-hashcheck"
LFTP, SFTP = "lftp mirror --parallel=16", "sftp -b, get -r"

ROUND_TRIP_MS = 40.0
API_ROUND_TRIP_MS = 50.0
DEFAULT_CAP = 100.0  # requests per second
FAR = Limits(transfers=64, lookups=128)
"""The settings that the documentation recommends for a remote store and API."""


def s3(plan: Plan) -> Section:
    """Measure a day on local S3, and its rerun."""
    corpus = make_corpus(plan.directory, plan.sizes.s3)
    with set_up(plan.directory / "s3", corpus, kind="s3") as day:
        peers = peer_copies(day, plan.peers, SCRIPT, S5CMD, RCLONE)
        runs = run_rounds([*_ours(day), *_rerun(day), *peers], plan.repeat)
        stages, share = _stages(day, plan.repeat)
    work = f"S3, {len(corpus.samples):,} files"
    claims = (
        *_compare(f"{work}: the same work", runs, WHOLE, SCRIPT, wall_limit=0.7, cpu_limit=0.75),
        *_compare(f"{work}: transfer", runs, TRANSFER, S5CMD, wall_limit=1.1, cpu_limit=1.3),
        *_compare(f"{work}: whole job", runs, WHOLE, RCLONE, wall_limit=1.3),
        at_most(f"{work}: rerun, share of the first run's wall time without start-up", share, 5, "%"),
    )
    prose = (
        f"{len(corpus.samples):,} recordings, {corpus.size_bytes / 1e6:,.0f} MB, log-normal sizes with a median of 140 kB,"
        " one recording per session and one folder per session, as 8x8 stores them. `benchmarks/simulators.py` simulates S3 and"
        " the 8x8 API with minimal overhead. Default configuration. The rerun downloaded nothing and made no API request, as"
        " the simulators confirm. Start-up is the time that a process spends before and after the day itself, and on the files"
        " that botocore reads for its first client. The script is what a user would write instead"
        " (`benchmarks/scripted.py`): `s5cmd` copies, `sync` makes the copies durable, two processes hash each file and"
        " read its length with tinytag, 64 threads look up the sessions with requests, and pandas writes one Parquet"
        " table. It does not wait to name a file until it is durable, refuse to overwrite, resume after a kill, compare a"
        " file with the store's hash, find frames that are cut off or damaged, retry, keep 8x8's responses, compare calls"
        " with recordings, or keep a ledger."
    )
    return Section("Local S3", prose, claims, (run_table(runs), stages))


def far_s3(plan: Plan) -> Section:
    """Measure the same day with a remote store and API."""
    corpus = make_corpus(plan.directory, plan.sizes.s3)
    with set_up(
        plan.directory / "far-s3",
        corpus,
        kind="s3",
        limits=FAR,
        round_trip_ms=ROUND_TRIP_MS,
        api_round_trip_ms=API_ROUND_TRIP_MS,
    ) as day:
        runs = run_rounds([*_ours(day), *peer_copies(day, plan.peers, SCRIPT, S5CMD, RCLONE, FAST_LIST)], plan.repeat)
    title = f"S3 at {ROUND_TRIP_MS:.0f} ms"
    claims = (
        *_compare(f"{title}: the same work", runs, WHOLE, SCRIPT, wall_limit=0.65),
        *_compare(f"{title}: transfer", runs, TRANSFER, S5CMD, wall_limit=0.9),
        *_compare(f"{title}: whole job", runs, WHOLE, RCLONE, wall_limit=0.5),
    )
    prose = (
        f"The same {len(corpus.samples):,} recordings. The round trip is {ROUND_TRIP_MS:.0f} ms to S3 and"
        f" {API_ROUND_TRIP_MS:.0f} ms to the 8x8 API (`benchmarks/delay.py`; bandwidth is not limited, a new"
        f" connection costs an additional round trip). callarchive runs with `transfer.concurrency = {FAR.transfers}` and"
        f" `lookups.concurrency = {FAR.lookups}`, s5cmd with its default of 256 workers. By default, rclone lists one folder at"
        " a time, and every session has its own folder; `--fast-list` shows the time without that."
    )
    return Section(title, prose, claims, (run_table(runs),))


def capped_s3(plan: Plan) -> Section:
    """Measure the remote day at 8x8's default rate limit: recordings are downloaded while lookups wait."""
    corpus = make_corpus(plan.directory, plan.sizes.s3)
    limits = replace(FAR, requests_per_second=DEFAULT_CAP)
    far = {"round_trip_ms": ROUND_TRIP_MS, "api_round_trip_ms": API_ROUND_TRIP_MS}
    with set_up(plan.directory / "capped-s3", corpus, kind="s3", limits=limits, **far) as day:
        runs = run_rounds(_ours(day), plan.repeat)
    lookups_s = len(corpus.samples) / DEFAULT_CAP
    over = [
        whole - max(lookups_s, transfer)
        for whole, transfer in zip(wall(runs[WHOLE]), wall(runs[TRANSFER]), strict=True)
    ]
    title = f"S3 at {ROUND_TRIP_MS:.0f} ms, {DEFAULT_CAP:.0f} requests/s"
    prose = (
        f"The same day with the default `requests_per_second` of {DEFAULT_CAP:.0f}, so that {len(corpus.samples):,} lookups"
        f" take {lookups_s:.0f} s. The command line downloads recordings meanwhile. The time beyond the slower of lookups and"
        " transfer is for start-up, tables and reconciliation."
    )
    claims = (at_most(f"{title}: whole job, longer than the slower of lookups and transfer", over, 3, "s"),)
    return Section(title, prose, claims, (run_table(runs),))


def sftp(plan: Plan) -> Section | None:
    """Measure a day on local OpenSSH."""
    if sshd() is None:
        return None
    corpus = make_corpus(plan.directory, plan.sizes.s3).first(plan.sizes.sftp)
    with set_up(plan.directory / "sftp", corpus, kind="sftp") as day:
        runs = run_rounds(
            [*_ours(day), *_rerun(day), *peer_copies(day, plan.peers, SFTP_RCLONE, LFTP, SFTP)], plan.repeat
        )
        stages, _ = _stages(day, plan.repeat)
    work = f"SFTP, {len(corpus.samples):,} files"
    claims = (
        *_compare(f"{work}: transfer", runs, TRANSFER, SFTP_RCLONE, wall_limit=0.95),
        *_compare(f"{work}: whole job", runs, WHOLE, SFTP_RCLONE, wall_limit=1.5),
    )
    prose = (
        f"{len(corpus.samples):,} of the recordings, {corpus.size_bytes / 1e6:,.0f} MB, on OpenSSH's sshd with its default"
        " limits. Default configuration. By default, rclone makes the server hash every file in a shell, which takes many"
        " times as long and is not possible on an SFTP-only server; `--sftp-disable-hashcheck` turns this off."
    )
    return Section("Local SFTP", prose, claims, (run_table(runs), stages))


def far_sftp(plan: Plan) -> Section | None:
    """Measure a small day on remote OpenSSH."""
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
        runs = run_rounds([*_ours(day), *peer_copies(day, plan.peers, SFTP_RCLONE)], plan.repeat)
    title = f"SFTP at {ROUND_TRIP_MS:.0f} ms"
    claims = (
        *_compare(f"{title}: transfer", runs, TRANSFER, SFTP_RCLONE, wall_limit=0.2),
        *_compare(f"{title}: whole job", runs, WHOLE, SFTP_RCLONE, wall_limit=0.4),
    )
    prose = (
        f"{len(corpus.samples):,} of the recordings, {corpus.size_bytes / 1e6:,.0f} MB, on OpenSSH's sshd. The"
        f" round trip is {ROUND_TRIP_MS:.0f} ms, and {API_ROUND_TRIP_MS:.0f} ms for lookups; concurrency as for remote S3."
    )
    return Section(title, prose, claims, (run_table(runs),))


def long_recording(plan: Plan) -> Section:
    """Measure one very long recording: throughput over SFTP, and memory over S3."""
    claims: list[Claim] = []
    tables: list[Table] = []
    if sshd() is not None:
        corpus = make_long_recording(plan.directory, plan.sizes.long_sftp_bytes)
        with set_up(plan.directory / "long-sftp", corpus, kind="sftp") as day:
            day.prepare()
            runs = run_rounds([Contender(TRANSFER, day.transfer), *peer_copies(day, plan.peers, SFTP)], plan.repeat)
        claims += _compare(f"SFTP, {_mb(corpus)}: transfer", runs, TRANSFER, SFTP, wall_limit=1.6)
        tables.append(run_table(_renamed(runs, f"SFTP, {_mb(corpus)}: "), size_bytes=corpus.size_bytes))
    corpus = make_long_recording(plan.directory, plan.sizes.long_s3_bytes)
    with set_up(plan.directory / "long-s3", corpus, kind="s3") as day:
        runs = run_rounds([Contender(WHOLE, day.archive)], plan.repeat)
    claims.append(at_most(f"S3, {_mb(corpus)}: peak memory", peak_mb(runs[WHOLE]), 400, "MB"))
    tables.append(run_table(_renamed(runs, f"S3, {_mb(corpus)}: "), size_bytes=corpus.size_bytes))
    prose = "One very long recording on a local server, as from a line that was never hung up."
    return Section("One long recording", prose, tuple(claims), tuple(tables))


def _ours(day: Day) -> list[Contender]:
    day.prepare()
    return [Contender(TRANSFER, day.transfer), Contender(WHOLE, day.archive)]


def _rerun(day: Day) -> list[Contender]:
    return [Contender(RERUN, day.rerun)]  # runs right after the whole job, on its archive


def peer_copies(day: Day, peers: Peers, *names: str) -> list[Contender]:
    """Return contenders for the named peers that are available."""
    place, target = day.place, day.copied
    copies: dict[str, Callable[[], Copy]]
    if isinstance(place, S3Place):
        copies = {
            SCRIPT: lambda: peers.script(place, target, api=day.api.port, session_ids=day.session_ids),
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
    return contender.partition(" ")[0].rstrip(":")


def _compare(
    work: str, runs: Runs, ours: str, theirs: str, *, wall_limit: float, cpu_limit: float | None = None
) -> list[Claim]:
    """Return the claims that compare with a peer; none if that peer is not available."""
    if theirs not in runs:
        return []
    claims = [ratio_at_most(f"{work}, wall", wall(runs[ours]), wall(runs[theirs]), wall_limit, _program(theirs))]
    if cpu_limit is not None:
        claims.append(ratio_at_most(f"{work}, CPU", cpu(runs[ours]), cpu(runs[theirs]), cpu_limit, _program(theirs)))
    return claims


def _stages(day: Day, repeat: int) -> tuple[Table, list[float]]:
    """Return a table of time by stage from further runs, and the percentage of a rerun in its first run, without start-up."""
    runs: dict[str, list[Measured]] = {WHOLE: [], RERUN: []}
    for _ in range(max(1, repeat // 2)):
        runs[WHOLE].append(day.stages(clear=True))
        runs[RERUN].append(day.stages(clear=False))
    stages = [stage for stage in runs[WHOLE][0].output if stage != "day"]
    rows = []
    for name, each in runs.items():
        start = median([run.wall_s - run.output["day"][0] for run in each])
        spent = [tuple(median([run.output[stage][which] for run in each]) for which in (0, 1)) for stage in stages]
        rest = [
            median([run.output["day"][which] for run in each]) - sum(part[which] for part in spent) for which in (0, 1)
        ]
        rows.append((name, f"{start:.2f}", *(f"{wall_s:.2f} / {cpu_s:.2f}" for wall_s, cpu_s in (*spent, rest))))
    shares = [100 * b.output["day"][0] / a.output["day"][0] for a, b in zip(runs[WHOLE], runs[RERUN], strict=True)]
    return Table(("stages, wall s / CPU s", "start-up", *stages, "summary"), tuple(rows)), shares


def _renamed(runs: Runs, beginning: str) -> Runs:
    return {beginning + name: each for name, each in runs.items()}


def _mb(corpus: Corpus) -> str:
    return f"one file of {corpus.size_bytes / 1e6:,.0f} MB"

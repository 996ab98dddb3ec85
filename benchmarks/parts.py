"""Measure the parts of a transfer, and thus how close it can get to a plain copy."""

import json

from benchmarks.corpus import Corpus, make_corpus, make_long_recording
from benchmarks.days import Day, set_up
from benchmarks.plan import Plan
from benchmarks.processes import Contender, Measured, measure, python, run_rounds
from benchmarks.report import Section, Table, run_table
from benchmarks.servers import sshd
from benchmarks.transfers import S5CMD, SFTP, SFTP_RCLONE, peer_copies

_PARTS = ("read", "hash", "walk", "write")
_THREADS = 16


def parts(plan: Plan) -> Section:
    """Measure start-up, then reading, hashing, walking and writing cumulatively; all of them in two processes; a copy."""
    many = make_corpus(plan.directory, plan.sizes.s3)
    tables = [_table(plan, many, S5CMD, kind="s3")]
    if sshd() is not None:
        tables.append(_table(plan, many.first(plan.sizes.sftp), SFTP_RCLONE, kind="sftp"))
        tables.append(_table(plan, make_long_recording(plan.directory, plan.sizes.long_sftp_bytes), SFTP, kind="sftp"))
    prose = (
        f"The cost of the parts of a transfer in {_THREADS} threads, without listing, tables, journal or adaptive concurrency."
        " `hash` is SHA-256 and, for S3, the MD5 to compare with the ETag; `write` stages each recording and makes it durable"
        " under its final name. Whole processes; each row adds one part. Two cores provide two CPU seconds per second, shared"
        " with the servers: this is the upper bound for any implementation."
    )
    return Section("Transfer breakdown", prose, (), tuple(tables))


def _table(plan: Plan, corpus: Corpus, peer: str, *, kind: str) -> Table:
    count = len(corpus.samples)
    with set_up(plan.directory / f"parts-{kind}", corpus, kind=kind) as day:
        paths = day.home / "paths.json"
        paths.write_text(json.dumps([sample.path for sample in corpus.samples]), encoding="utf-8")
        steps = [_PARTS[:length] for length in range(len(_PARTS) + 1)]
        contenders = [_contender(day, ", ".join(step) or "start-up only", 1, step) for step in steps]
        if count > 1:
            contenders.append(_contender(day, "all of these in two processes", 2, _PARTS))
        runs = run_rounds([*contenders, *peer_copies(day, plan.peers, peer)], plan.repeat)
    size = f"{count:,} files" if count > 1 else f"one file of {corpus.size_bytes / 1e6:,.0f} MB"
    return run_table({f"{kind.upper()}, {size}: {name}": each for name, each in runs.items()})


def _contender(day: Day, name: str, processes: int, done: tuple[str, ...]) -> Contender:
    def run() -> Measured:
        day.clear()
        words = python("benchmarks.tasks", "transfer-parts", day.home / "paths.json", processes, _THREADS, *done)
        return measure(words, environment=day.environment, servers=day.servers)

    return Contender(name, run)

"""Whole runs over a day are measured, and a run with the wrong result is rejected."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.corpus import Corpus
from benchmarks.days import Limits, set_up
from benchmarks.peers import find_peers
from benchmarks.processes import BenchmarkError, Contender, Measured, measure, run_rounds
from benchmarks.servers import SftpPlace


@pytest.mark.live
def test_a_remote_day_is_looked_up_transferred_archived_and_rerun(corpus: Corpus, home: Path) -> None:
    limits = Limits(transfers=4, lookups=4)
    with set_up(home, corpus, kind="s3", limits=limits, round_trip_ms=2, api_round_trip_ms=2) as day:
        day.look_up()
        assert len(day.arrivals()) == len(corpus.samples)
        day.prepare()
        runs = [day.transfer(), day.archive(), day.rerun()]
        stages = [day.stages(clear=True), day.stages(clear=False)]

    assert all(run.wall_s > 0 and run.cpu_s > 0 and run.peak_rss_bytes > 1_000_000 for run in runs)
    assert list(runs[0].output) == ["recording_files"]
    assert all(list(run.output) == ["find", "look up", "download", "tables", "reconcile", "day"] for run in stages)


@pytest.mark.needs("sshd", "sftp", "lftp")
def test_peers_copy_a_day_on_sftp(corpus: Corpus, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.peers._install", lambda package, home: False)
    peers = find_peers(home)
    with set_up(home, corpus, kind="sftp", round_trip_ms=2) as day:
        assert isinstance(day.place, SftpPlace)
        day.copy(peers.sftp(day.place, day.copied))
        day.copy(peers.lftp(day.place, day.copied))
        short = replace(day, corpus=replace(corpus, samples=corpus.samples[1:]))
        with pytest.raises(BenchmarkError, match=r"expected .* found"):
            short.copy(peers.sftp(day.place, day.copied))


def test_a_failed_process_raises_benchmark_error() -> None:
    with pytest.raises(BenchmarkError, match="exited with 3: no such thing"):
        measure([sys.executable, "-c", "import sys; print('no such thing', file=sys.stderr); sys.exit(3)"])


def test_every_contender_runs_once_per_round() -> None:
    order: list[str] = []

    def contender(name: str) -> Contender:
        return Contender(name, lambda: order.append(name) or Measured(len(order), 0, 0))

    runs = run_rounds([contender("a"), contender("b")], 3)

    assert order == ["a", "b"] * 3
    assert [run.wall_s for run in runs["b"]] == [2, 4, 6]

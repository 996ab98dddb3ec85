"""Whole runs over a day: each is measured, and one that does not do what it should counts for nothing."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.corpus import Corpus
from benchmarks.days import Limits, set_up
from benchmarks.peers import find_peers
from benchmarks.processes import BenchmarkError, Contender, Measured, by_turns, measure


def test_a_far_day_is_looked_up_transferred_archived_and_archived_again(corpus: Corpus, home: Path) -> None:
    limits = Limits(transfers=4, look_ups=4)
    with set_up(home, corpus, kind="s3", limits=limits, round_trip_ms=2, api_round_trip_ms=2) as day:
        day.look_up()
        assert len(day.arrivals()) == len(corpus.samples)
        day.prepare()
        runs = [day.transfer(), day.archive(), day.archive_again()]
        stages = [day.stages(clear=True), day.stages(clear=False)]

    assert all(run.wall_s > 0 and run.cpu_s > 0 and run.peak_rss_bytes > 1_000_000 for run in runs)
    assert list(runs[0].told) == ["fetch_recordings"]
    assert all(list(run.told) == ["find", "look up", "fetch", "tables", "reconcile", "day"] for run in stages)


@pytest.mark.needs("sshd", "sftp", "lftp")
def test_peers_copy_a_day_on_sftp(corpus: Corpus, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.peers._install", lambda package, home: False)
    peers = find_peers(home)
    with set_up(home, corpus, kind="sftp", round_trip_ms=2) as day:
        day.copy(peers.sftp(day.place, day.copied))
        day.copy(peers.lftp(day.place, day.copied))
        short = replace(day, corpus=replace(corpus, samples=corpus.samples[1:]))
        with pytest.raises(BenchmarkError, match="should have come of the run"):
            short.copy(peers.sftp(day.place, day.copied))


def test_a_process_that_fails_is_no_measurement() -> None:
    with pytest.raises(BenchmarkError, match="ended with 3: no such thing"):
        measure([sys.executable, "-c", "import sys; print('no such thing', file=sys.stderr); sys.exit(3)"])


def test_contenders_take_turns() -> None:
    order: list[str] = []

    def contender(name: str) -> Contender:
        return Contender(name, lambda: order.append(name) or Measured(len(order), 0, 0))

    runs = by_turns([contender("a"), contender("b")], 3)

    assert order == ["a", "b"] * 3
    assert [run.wall_s for run in runs["b"]] == [2, 4, 6]

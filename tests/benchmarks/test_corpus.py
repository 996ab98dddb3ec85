"""The recordings that benchmarks archive are reproducible, on the requested days, and valid."""

from collections import Counter
from datetime import timedelta
from pathlib import Path

from benchmarks.corpus import DAY, SHORT_CALLS, SHORT_CALLS_OF_TEN_DAYS, Corpus, make_corpus, make_long_recording
from callarchive.mp3 import probe_mp3


def test_the_same_count_gives_the_same_recordings(corpus: Corpus, tmp_path: Path) -> None:
    assert make_corpus(tmp_path, 12, SHORT_CALLS).samples == corpus.samples


def test_a_corpus_is_distributed_evenly_over_the_days_of_its_recipe(tmp_path: Path) -> None:
    days = Counter(sample.day for sample in make_corpus(tmp_path, 20, SHORT_CALLS_OF_TEN_DAYS).samples)

    assert days == {DAY + timedelta(days=number): 2 for number in range(10)}


def test_a_long_recording_is_one_valid_mp3_of_the_requested_size(tmp_path: Path) -> None:
    (sample,) = make_long_recording(tmp_path, 33_000_000).samples
    facts = probe_mp3((make_long_recording(tmp_path, 33_000_000).folder / sample.path).read_bytes())

    assert abs(sample.size_bytes - 33_000_000) < 33_000
    assert abs(facts.duration_s - sample.duration_s) < 1
    assert facts.audio_issue is None

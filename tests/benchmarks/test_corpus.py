"""The recordings that benchmarks archive: the same each time, on the days asked for, and sound."""

from collections import Counter
from datetime import timedelta
from pathlib import Path

from benchmarks.corpus import DAY, SHORT_CALLS, SHORT_CALLS_OF_TEN_DAYS, Corpus, make_corpus, make_long_recording
from callarchive.mp3 import probe_mp3


def test_the_same_count_gives_the_same_recordings(corpus: Corpus, tmp_path: Path) -> None:
    assert make_corpus(tmp_path, 12, SHORT_CALLS).samples == corpus.samples


def test_a_corpus_is_spread_over_as_many_days_as_its_recipe_says(tmp_path: Path) -> None:
    days = Counter(sample.day for sample in make_corpus(tmp_path, 20, SHORT_CALLS_OF_TEN_DAYS).samples)

    assert days == {DAY + timedelta(days=number): 2 for number in range(10)}


def test_a_long_recording_is_one_sound_mp3_of_that_length(tmp_path: Path) -> None:
    (sample,) = make_long_recording(tmp_path, 33_000_000).samples
    facts = probe_mp3((make_long_recording(tmp_path, 33_000_000).folder / sample.path).read_bytes())

    assert abs(sample.size_bytes - 33_000_000) < 33_000
    assert abs(facts.duration_s - sample.duration_s) < 1
    assert facts.audio_issue is None

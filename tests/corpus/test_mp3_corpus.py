"""The walk agrees with ffmpeg, mpg123 and madplay on a corpus of real and made mp3s, or docs/audio.md says why not."""

from pathlib import Path

import pytest

from tools.mp3_corpus.comparison import EXPLAINED, Result, compare, corpus, explanation_of, unexplained

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.corpus,
    pytest.mark.timeout(1500),
    pytest.mark.needs("ffmpeg", "lame", "mpg123", "madplay", "node", "npm"),
]


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return compare(corpus(ROOT / ".corpus"))


def test_the_corpus_is_large_and_half_of_it_is_from_public_packages(results: list[Result]) -> None:
    groups = [result.sample.group for result in results]
    assert len(groups) >= 600
    assert sum(group.startswith("mp3s of packages") for group in groups) >= 180


def test_every_verdict_and_every_length_is_as_expected_or_explained(results: list[Result]) -> None:
    assert unexplained(results) == []


@pytest.mark.parametrize("known", EXPLAINED, ids=lambda known: f"{known.group} {known.name}")
def test_every_explanation_is_needed_and_documented(results: list[Result], known: object) -> None:
    assert any(explanation_of(result.sample, name) is known for result in results for name in result.differing())
    assert getattr(known, "reason", "") in (ROOT / "docs" / "audio.md").read_text()

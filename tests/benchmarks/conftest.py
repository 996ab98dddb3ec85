"""A corpus of a few recordings, made once per session."""

from pathlib import Path

import pytest

from benchmarks.corpus import SHORT_CALLS, Corpus, make_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("corpora"), 12, SHORT_CALLS)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"

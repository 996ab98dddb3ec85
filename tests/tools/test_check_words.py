"""The word check finds listed phrases in tracked files, across lines and in identifiers, and accepts only needed exceptions."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tools.check_words import WORDS, main, read_words

LIST = """
[[phrases]]
pattern = "very best"
instead = "best"

[[phrases]]
pattern = "utilise"
instead = "use"
"""
EXCEPTION = """
[[exceptions]]
path = "docs/*.md"
pattern = "utilise"
reason = "quotes a letter"
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one clean page."""
    root = tmp_path / "repository"
    (root / "docs").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    add(root, "docs/page.md", "Use it.\n")
    return root


def add(root: Path, path: str, text: str) -> None:
    (root / path).write_text(text, encoding="utf-8")
    subprocess.run(["git", "-C", str(root), "add", path], check=True)


def check(root: Path, words: str, *options: str) -> int:
    (root / "list.toml").write_text(words, encoding="utf-8")
    return main(["--directory", str(root), "--words", str(root / "list.toml"), *options])


def test_clean_files_pass(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(repository, LIST) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "text",
    [
        "x = 1  # the very best\n",
        "# the very\n# best\n",
        'f("the very"\n  f" best")\n',
        "def the_very_best() -> None: ...\n",
        '"""The Very\n    best."""\n',
    ],
)
def test_a_phrase_is_found_in_comments_strings_and_identifiers_and_across_lines(
    repository: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    add(repository, "code.py", f"\n{text}")
    assert check(repository, LIST) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("code.py:2: ")
    assert line.endswith(": write instead: best")


def test_parts_of_words_and_untracked_files_are_not_checked(repository: Path) -> None:
    add(repository, "code.py", "utilised = every_bestseller = 1\n")
    (repository / "draft.md").write_text("utilise\n")
    assert check(repository, LIST) == 0


def test_a_hit_in_a_notebook_has_its_cell_and_line(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [{"source": "# Title"}, {"source": ["a = 1\n", "utilise(a)"], "outputs": ["very best"]}]
    add(repository, "notebook.ipynb", json.dumps({"cells": cells}))
    assert check(repository, LIST) == 1
    assert capsys.readouterr().out == "notebook.ipynb:cell 2:2: 'utilise': write instead: use\n"


def test_an_exception_allows_a_phrase_in_its_files_only(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(repository, "docs/letter.md", "We utilise it.\n")
    assert check(repository, LIST + EXCEPTION) == 0
    add(repository, "README.md", "We utilise it.\n")
    assert check(repository, LIST + EXCEPTION) == 1
    assert capsys.readouterr().out.startswith("README.md:1: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (LIST + EXCEPTION, "exceptions that match nothing: docs/\\*.md \\(utilise\\)"),
        (LIST + EXCEPTION.replace("quotes a letter", " "), "has no reason"),
        (LIST + EXCEPTION.replace("utilise", "utilize"), "has an unknown pattern"),
        (LIST.replace('instead = "use"', ""), "instead"),
    ],
)
def test_an_invalid_list_and_a_needless_exception_exit_with_2(
    repository: Path, words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(repository, words) == 2
    assert re.search(message, capsys.readouterr().err)


def test_counts_are_printed_by_pattern(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(repository, "docs/letter.md", "We utilise, utilise and utilise the very best.\n")
    assert check(repository, LIST, "--count") == 0
    counts = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert counts == [["3", "utilise"], ["1", "very best"], ["4", "in total"]]


def test_every_phrase_of_the_list_compiles_and_has_a_replacement() -> None:
    phrases, _ = read_words(WORDS)
    assert len(phrases) > 40
    assert all(phrase.expression and phrase.instead for phrase in phrases)

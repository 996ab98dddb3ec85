"""Check the words of code and documentation against the list in `tools/words.toml`.

    python tools/check_words.py            # print file:line, phrase and replacement of each hit; exit 1 if there are any
    python tools/check_words.py --count    # print the number of hits by pattern

The check covers the tracked files whose names match `CHECKED`; of notebooks, the source of the cells. The list may also have
`[[exceptions]]` with `path` (a glob), `pattern` (of a phrase) and `reason`. An exception that matches nothing is an error.
"""

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORDS = Path(__file__).with_name("words.toml")
CHECKED = ("*.py", "*.md", "*.toml", "*.sh", "*.ipynb", "Makefile", ".ci/run")
_NOT_CHECKED = "tools/words.toml"
_SPACE = r"""(?:[ _]|["']?[ \t]*\n[ \t]*(?:[#>*][ \t]*|f?["'])?[ \t]*)"""
"""A space, an underscore or a line break, possibly within a comment or between two parts of a string."""


class WordListError(Exception):
    """The word list is not valid, or an exception in it is not needed."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase to avoid.

    Attributes:
        pattern: its regular expression as written in the list.
        instead: what to write in its place.
    """

    pattern: str
    instead: str

    @property
    def expression(self) -> re.Pattern[str]:
        """The expression that finds the phrase as whole words."""
        return re.compile(f"(?<![A-Za-z])(?:{_spaced(self.pattern)})(?![A-Za-z])", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Exemption:
    """Files in which a phrase is allowed, and why."""

    path: str
    pattern: str
    reason: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A phrase found in a file. `place` is a line, of a notebook a cell and a line."""

    path: str
    place: str
    text: str
    phrase: Phrase

    def __str__(self) -> str:
        return f"{self.path}:{self.place}: {self.text!r}: write instead: {self.phrase.instead}"


def read_words(file: Path) -> tuple[list[Phrase], list[Exemption]]:
    """Return the phrases and exceptions of a word list.

    Raises:
        WordListError: A key is missing or empty, or an exception names an unknown pattern.
    """
    tree = tomllib.loads(file.read_text(encoding="utf-8"))
    try:
        phrases = [Phrase(**entry) for entry in tree.get("phrases", ())]
        exemptions = [Exemption(**entry) for entry in tree.get("exceptions", ())]
    except TypeError as err:
        raise WordListError(f"{file.name}: {err}") from err
    known = {phrase.pattern for phrase in phrases}
    for exemption in exemptions:
        if not exemption.reason.strip():
            raise WordListError(f"{file.name}: the exception for {exemption.path} has no reason")
        if exemption.pattern not in known:
            raise WordListError(f"{file.name}: the exception for {exemption.path} has an unknown pattern")
    return phrases, exemptions


def tracked_files(root: Path) -> list[str]:
    """Return the paths of the files to check, relative to the root of the repository."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--", *CHECKED]
    listed = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    return [path for path in listed.split("\0") if path and path != _NOT_CHECKED and (root / path).exists()]


def find_hits(root: Path, paths: Iterable[str], phrases: Sequence[Phrase]) -> Iterator[Hit]:
    """Yield every hit in the files, file by file."""
    expressions = [(phrase, phrase.expression) for phrase in phrases]
    for path in paths:
        for prefix, text in _texts(root / path):
            for phrase, expression in expressions:
                for found in expression.finditer(text):
                    line = text.count("\n", 0, found.start()) + 1
                    yield Hit(path, f"{prefix}{line}", " ".join(found[0].split()), phrase)


def without_exempted(hits: Iterable[Hit], exemptions: Sequence[Exemption]) -> list[Hit]:
    """Return the hits that no exception allows.

    Raises:
        WordListError: An exception allows nothing.
    """
    unused = set(exemptions)
    remaining = []
    for hit in hits:
        allowing = [one for one in exemptions if one.pattern == hit.phrase.pattern and fnmatch(hit.path, one.path)]
        unused.difference_update(allowing)
        if not allowing:
            remaining.append(hit)
    if unused:
        needless = ", ".join(sorted(f"{one.path} ({one.pattern})" for one in unused))
        raise WordListError(f"exceptions that match nothing: {needless}")
    return remaining


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if there are no hits or only counts were requested, 1 if there are hits, 2 if the list is not valid."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", action="store_true", help="print the number of hits by pattern and exit with 0")
    parser.add_argument("--directory", type=Path, default=ROOT, help="repository to check (default: this one)")
    parser.add_argument("--words", type=Path, default=WORDS, help="word list (default: tools/words.toml)")
    options = parser.parse_args(arguments)
    try:
        phrases, exemptions = read_words(options.words)
        hits = list(find_hits(options.directory, tracked_files(options.directory), phrases))
        if options.count:
            _print_counts(hits, phrases)
            return 0
        remaining = without_exempted(hits, exemptions)
    except WordListError as err:
        print(err, file=sys.stderr)
        return 2
    for hit in remaining:
        print(hit)
    if remaining:
        print(f"{len(remaining)} phrases to replace", file=sys.stderr)
    return 1 if remaining else 0


def _print_counts(hits: Iterable[Hit], phrases: Sequence[Phrase]) -> None:
    counts = Counter(hit.phrase.pattern for hit in hits)
    for phrase in sorted(phrases, key=lambda one: -counts[one.pattern]):
        print(f"{counts[phrase.pattern]:6,}  {phrase.pattern}")
    print(f"{counts.total():6,}  in total")


def _spaced(pattern: str) -> str:
    """Return the pattern with its spaces replaced, except in lookbehinds, whose width must be fixed, and character classes."""
    kept = re.split(r"(\(\?<[!=][^)]*\)|\[[^\]]*\])", pattern)
    return "".join(part if number % 2 else part.replace(" ", _SPACE) for number, part in enumerate(kept))


def _texts(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the texts of a file, each with the beginning of its places."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".ipynb":
        yield "", text
        return
    for number, cell in enumerate(json.loads(text)["cells"], start=1):
        source = cell["source"]
        yield f"cell {number}:", source if isinstance(source, str) else "".join(source)


if __name__ == "__main__":
    sys.exit(main())

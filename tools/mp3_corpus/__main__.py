"""Compares the walk's durations and verdicts with three decoders, and writes the table of docs/audio.md.

    python -m tools.mp3_corpus [--write]

Every difference of more than 0.3 s must be explained in `EXPLAINED`, which says whom we believe.
"""

import sys
from pathlib import Path

from tools.mp3_corpus.comparison import compare, corpus, report, unexplained

ROOT = Path(__file__).parents[2]


def main(*words: str) -> int:
    """Return 1 if a difference or a verdict is not explained."""
    results = compare(corpus(ROOT / ".corpus"))
    table = report(results)
    print(table)
    if "--write" in words:
        page = ROOT / "docs" / "audio.md"
        begin, end = "<!-- written by tools/mp3_corpus -->\n", "<!-- end -->"
        before, _, rest = page.read_text().partition(begin)
        page.write_text(before + begin + table + end + rest.partition(end)[2])
    problems = unexplained(results)
    print(*problems, sep="\n", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))

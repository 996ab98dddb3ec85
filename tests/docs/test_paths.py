"""The documentation names only files and folders that exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDES = [page for page in sorted((ROOT / "docs").glob("**/*.md")) if page.parent.name != "reference"]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *GUIDES]
FOLDERS = "assets|benchmarks|callarchive|deploy|docs|findings|notebooks|pipelines|tests|tools"
GENERATED = ("docs/_build/", "docs/reference/")


def named_paths(page: Path) -> Iterator[str]:
    """Yield the paths in inline code that end in a file suffix or a slash."""
    for path in re.findall(rf"`((?:{FOLDERS})/[\w./@-]*(?:\.\w+|/))`", page.read_text(encoding="utf-8")):
        if not path.startswith(GENERATED):
            yield path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_only_paths_that_exist(page: Path) -> None:
    assert [path for path in named_paths(page) if not (ROOT / path).exists()] == []


def test_paths_are_found_in_the_pages() -> None:
    assert sum(1 for page in PAGES for _ in named_paths(page)) > 20


@pytest.mark.parametrize(
    ("page", "row"), [("CONTRIBUTING.md", r"^\| `(\w+)/` \|"), ("docs/explanation/architecture.md", r"^\| `(\w+)` \|")]
)
def test_a_page_lists_every_package_of_callarchive(page: str, row: str) -> None:
    packages = {init.parent.name for init in (ROOT / "callarchive").glob("*/__init__.py")}
    listed = re.findall(row, (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(listed) == sorted(packages)

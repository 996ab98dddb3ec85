"""The reference matches the code for every key, column and command, and cannot be built if a key has no description."""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from callarchive.catalog.schemas import PUBLIC_TABLES, STEP_TABLES
from callarchive.settings import load_settings
from tools.reference import PAGES, write_pages
from tools.reference.commands import commands_page
from tools.reference.settings import meanings_of, settings_page
from tools.reference.tables import tables_page

EXAMPLE = Path(__file__).parents[2] / "callarchive.example.toml"


def keys_in(tree: Any) -> Iterator[str]:
    """Yield every key of the TOML tree that has a value; a secret reference is one value."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if not isinstance(value, dict | list) or (isinstance(value, dict) and set(value) <= {"env", "file"}):
                yield name
            yield from keys_in(value)
    if isinstance(tree, list):
        for one in tree:
            yield from keys_in(one)


def section(page: str, heading: str) -> str:
    """Return the text below the heading, up to the next one."""
    _, _, below = page.partition(f"{heading}\n")
    return below.partition("\n## ")[0]


def test_every_key_of_the_example_is_in_the_reference() -> None:
    page = settings_page()
    keys = set(keys_in(tomllib.loads(EXAMPLE.read_text())))
    assert len(keys) > 30
    assert [key for key in sorted(keys - {"env", "file"}) if f"| `{key}` |" not in page] == []


def test_defaults_are_those_of_a_configuration_without_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CALLARCHIVE_CONFIG", "CALLARCHIVE_TRANSFER__CONCURRENCY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "callarchive.toml").write_text(
        'start_date = 2026-01-01\narchive.url = "a"\ncatalog.url = "c"\n[[accounts]]\nsubaccount_id = "acme_sg"\n'
        'api_key = { env = "K" }\nlanding = "s3://acme-recordings"\nsession_sources = [{ kind = "log_export" }]\n'
    )
    settings = load_settings(tmp_path / "callarchive.toml")
    page = settings_page()
    transfer = section(page, "## `[transfer]`")
    assert f"| `concurrency` | a whole number, ≥ 1, ≤ 256 | `{settings.transfer.concurrency}` |" in transfer
    assert f"| `deadline_s` | a number, > 0, ≤ 86,400 | `{settings.transfer.deadline_s:g}` |" in transfer
    assert f'| `timezone` | text | `"{settings.timezone}"` |' in section(page, "## Top level")
    accounts = section(page, "## `[[accounts]]`")
    assert (
        f'| `phone_numbers` | `"drop"` or `"hash"` or `"keep"` | `"{settings.accounts[0].phone_numbers}"` |' in accounts
    )
    assert "| `api_key` | a secret | **required** |" in accounts


def test_each_kind_of_session_source_has_its_own_section() -> None:
    page = settings_page()
    for kind, key in (("files", "path"), ("sql", "query"), ("inbox", "kind"), ("log_export", "kind")):
        assert f"| `{key}` |" in section(page, f'## `[[accounts.session_sources]]` with `kind = "{kind}"`')


def test_a_description_is_below_its_key_and_may_be_inherited() -> None:
    class Store(BaseModel):
        height_m: float = Field(default=1.0)
        """from the ground
        to the roof."""
        label: str = ""

    class Silo(Store):
        """Where grain is kept."""

        hatch: str = ""
        """of steel."""

    assert meanings_of(Silo) == {"height_m": "from the ground to the roof.", "hatch": "of steel."}


def test_every_column_of_every_table_is_listed_with_its_description() -> None:
    page = tables_page()
    for table in (*PUBLIC_TABLES, *STEP_TABLES):
        below = page.partition(f"# {table.name}\n")[2].partition("\n#")[0]
        for column in table.columns:
            key = " (key)" if column.name in table.key else ""
            assert f"| `{column.name}`{key} | " in below
            assert f" | {column.meaning} |" in below


@pytest.mark.parametrize("words", [["archive"], ["webhooks", "serve"], ["push-config", "apply"], ["verify"]])
def test_a_command_has_the_options_of_its_help(words: list[str]) -> None:
    command = [sys.executable, "-c", "from callarchive.cli import main; main()", *words, "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    options = {line.split()[0].rstrip(",") for line in shown.splitlines() if line.strip().startswith("--")} - {"--help"}
    below = section(commands_page(), f"## `callarchive {' '.join(words)}`")
    assert options
    assert {option for option in options if f"`{option}`" not in below} == set()


def test_an_unchanged_page_is_not_rewritten(tmp_path: Path) -> None:
    write_pages(tmp_path)
    before = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    assert set(before) == {f"{name}.md" for name in PAGES}
    (tmp_path / "tables.md").write_text("drifted")
    write_pages(tmp_path)
    after = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    assert [name for name in before if before[name] != after[name]] == ["tables.md"]
    assert (tmp_path / "tables.md").read_text() == tables_page()

"""`docs/engines.md` shows the statements of the code. `tests/tools/test_compare_engines.py` runs them."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from callarchive.catalog import schemas
from callarchive.catalog.ddl import ENGINES, FIRST, main, statements
from callarchive.catalog.schemas import PUBLIC_TABLES, RECORDINGS

PAGE = Path(__file__).parents[3] / "docs" / "engines.md"
ROOTS = {
    "athena": "s3://acme-callarchive/catalog",
    "trino": "s3://acme-callarchive/catalog",
    "bigquery": "gs://acme-callarchive/catalog",
    "spark": "s3a://acme-callarchive/catalog",
    "clickhouse": "s3://acme-callarchive/catalog",
    "duckdb": "/srv/callarchive/catalog",
    "datafusion": "/srv/callarchive/catalog",
    "polars": "/srv/callarchive/catalog",
    "pandas": "/srv/callarchive/catalog",
    "pyarrow": "/srv/callarchive/catalog",
    "daft": "/srv/callarchive/catalog",
}
PYTHON = ("polars", "pandas", "pyarrow", "daft")


@pytest.mark.parametrize("engine", ENGINES)
def test_the_docs_page_shows_the_statements_of_the_code(engine: str) -> None:
    statement = statements(engine, schemas.STATUS_STATS, ROOTS[engine])
    block = f"```python\n{FIRST[engine]}\n{statement}```\n" if engine in PYTHON else f"```sql\n{statement}```\n"
    page = PAGE.read_text(encoding="utf-8")
    assert block in page
    assert FIRST.get(engine, "") in page


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine not in PYTHON])
def test_each_statement_names_every_column_once_and_call_date_as_a_date(engine: str) -> None:
    for table in PUBLIC_TABLES:
        text = statements(engine, table, "/it's/here/")
        assert "/it''s/here/" + table.name in text
        for column in table.columns:
            assert len(re.findall(rf"\b{column.name}\b", text)) >= 1, (engine, column.name)
        assert re.search(r"call_date date|to_?[dD]ate\(.*as call_date|hive_types = \{'call_date': date\}", text), text


def test_the_command_prints_statements_without_third_party_imports() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-S",
            "-m",
            "callarchive.catalog.ddl",
            "athena",
            "s3://acme-callarchive/catalog",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout.count("create external table") == len(PUBLIC_TABLES)
    assert statements("athena", RECORDINGS, ROOTS["athena"]) in done.stdout


@pytest.mark.parametrize("words", [[], ["athena"], ["mysql", "s3://x/y"]])
def test_invalid_arguments_exit_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("usage: python -m callarchive.catalog.ddl athena|trino|")


@pytest.mark.parametrize("engine", PYTHON)
def test_python_statements_are_python_and_name_every_column_once(engine: str) -> None:
    for table in PUBLIC_TABLES:
        text = statements(engine, table, '/it\'s "here"/')
        assert ast.unparse(ast.parse(text)).startswith(f"{table.name} = ")
        assert [name for name in re.findall(r'"(\w+)"[:,] \w', text) if name != "us"] == [
            *(column.name for column in table.columns),
            *({"polars": ["call_date"], "daft": []}.get(engine, ["call_date"])),
        ]


def test_the_newest_versions_on_the_page_are_those_that_are_compared() -> None:
    page = PAGE.read_text(encoding="utf-8")
    tool = (Path(__file__).parents[3] / "tools" / "compare_engines.py").read_text(encoding="utf-8")
    for package, compared in re.findall(r'"(\w+)==([\d.]+)"', tool):
        rows = [row for row in page.lower().splitlines() if row.startswith("|") and package.removeprefix("py") in row]
        assert any(compared in row for row in rows), package

"""`docs/engines.md` shows the statements of the code, and its Python reads a catalog whose first file is an old one."""

import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from callarchive.catalog import schemas
from callarchive.catalog.ddl import ENGINES, main, statements
from callarchive.catalog.parquet_catalog import Catalog
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
}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_docs_page_shows_the_statements_of_the_code(engine: str) -> None:
    assert f"```sql\n{statements(engine, schemas.STATUS_STATS, ROOTS[engine])}```\n" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("engine", ENGINES)
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


def python_blocks() -> dict[str, str]:
    """Return the Python code of the page by heading."""
    text = PAGE.read_text(encoding="utf-8")
    return dict(re.findall(r"^## ([^\n]+)\n(?:(?!^## )[\s\S])*?^```python\n([\s\S]*?)^```", text, re.MULTILINE))


@pytest.mark.parametrize("name", ["pandas", "pyarrow", "Polars"])
def test_the_pages_python_reads_old_and_new_files_with_call_date_as_a_date(name: str, tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path)
    row = {"subaccount_id": "acme_sg", "session_id": "s", "recording_id": "r", "versions": ["v"], "size_bytes": 7}
    older = pa.schema([field for field in RECORDINGS.schema if field.name not in ("versions", "audio_issue_detail")])
    old, new = date(2025, 12, 31), date(2026, 1, 1)
    file = tmp_path / RECORDINGS.partition_path(old)
    file.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([{k: v for k, v in row.items() if k != "versions"}], schema=older), file)
    catalog.replace_partition(RECORDINGS, new, [row])
    scope: dict[str, Any] = {}
    exec(python_blocks()[name].replace("/srv/callarchive/catalog", str(tmp_path)), scope)
    found = scope["recordings"]
    rows = (
        found.to_pylist() if name == "pyarrow" else found.to_dicts() if name == "Polars" else found.to_dict("records")
    )
    values = sorted((str(r["call_date"]), r["size_bytes"]) for r in rows)
    assert values == [("2025-12-31", 7), ("2026-01-01", 7)]
    assert all(isinstance(r["call_date"], date) for r in rows)
    versions = {str(r["call_date"]): r["versions"] for r in rows}
    assert list(versions["2026-01-01"]) == ["v"]
    assert not isinstance(versions["2025-12-31"], list | str), "NULL, not an empty list"

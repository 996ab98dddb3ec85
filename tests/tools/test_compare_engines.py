"""The engines of this environment agree on a catalog with old and new files, and differences are detected."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest

from callarchive.catalog.schemas import PUBLIC_TABLES, RECORDINGS

TOOL = Path(__file__).parents[2] / "tools" / "compare_engines.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare_engines", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


@pytest.fixture(scope="module")
def root(tool: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog's folder, with a name unlike a partition's."""
    root = tmp_path_factory.mktemp("engines") / "catalog"
    tool.write_catalog(root)
    return root


def test_duckdb_polars_pandas_and_pyarrow_read_what_was_written(tool: ModuleType, root: Path) -> None:
    oldest = pq.read_schema(root / RECORDINGS.partition_path(tool.OLD))
    assert len(oldest.names) < len(RECORDINGS.columns), "the first file is an old one"
    newest = pq.read_schema(max((root / "recordings").rglob("*.parquet")))
    assert newest.names == oldest.names, "the last file is an old one too"
    results = tool.run_engines(tool.HERE, root)
    assert [results[engine].keys() for engine in tool.HERE] == [{t.name for t in PUBLIC_TABLES}] * 4
    assert [fault for engine in tool.HERE for fault in tool.differences(engine, results[engine])] == []


def test_a_missing_row_and_a_wrong_value_are_differences(tool: ModuleType, root: Path) -> None:
    right = tool.by_python("pyarrow", str(root))
    assert tool.differences("pyarrow", right) == []
    file = root / RECORDINGS.partition_path(tool.LAST)
    whole = file.read_bytes()
    rows = pq.ParquetFile(file).read()
    pq.write_table(rows.slice(1), file)
    found = tool.differences("pyarrow", tool.by_python("pyarrow", str(root)))
    file.write_bytes(whole)
    assert any(fault.startswith("pyarrow: recordings.days: ") for fault in found)
    right["sessions"]["started_at"][1] += 8 * 3600 * 1_000_000
    assert [fault.partition(": [")[0] for fault in tool.differences("x", right)] == ["x: sessions.started_at"]


def test_the_error_of_a_failed_engine_has_its_output(tool: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"--answer duckdb failed:[\s\S]*No files found"):
        tool.run_engines(["duckdb"], tmp_path / "nothing")

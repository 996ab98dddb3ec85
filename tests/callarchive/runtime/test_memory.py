"""Arrow's allocator in our processes, and what it imports."""

import os
import subprocess
import sys

import pytest

_ASK = "import pyarrow as pa; print(pa.default_memory_pool().backend_name)"
_USE = "from callarchive.runtime.memory import use_system_memory; use_system_memory()"


def answer(code: str, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment | variables, capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


@pytest.mark.parametrize("code", [f"{_USE}; {_ASK}", f"import pyarrow; {_USE}; {_ASK}"], ids=["before", "after"])
def test_arrow_takes_memory_from_the_c_library_whenever_it_is_imported(code: str) -> None:
    assert answer(code) == "system"


def test_the_environment_takes_precedence() -> None:
    assert answer(f"{_USE}; {_ASK}", ARROW_DEFAULT_MEMORY_POOL="mimalloc") == "mimalloc"


def test_importing_the_package_changes_no_allocator() -> None:
    assert answer(f"import callarchive.catalog.parquet_catalog, callarchive.catalog.parquet_files; {_ASK}") == answer(
        _ASK
    )


def test_converting_values_imports_no_pandas_and_a_table_for_pandas_still_does() -> None:
    code = (
        "import sys\nfrom callarchive.runtime.memory import keep_pandas_out\n"
        "import callarchive.cli.day_results, callarchive.sources.opening\nkeep_pandas_out()\nimport pyarrow as pa\n"
        "table = pa.table({'a': pa.array([1, 2])})\nprint('pandas' in sys.modules, table.to_pandas()['a'].sum())"
    )
    assert answer(code) == "False 3"


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_freed_chunks_of_a_transfer_are_used_again_and_not_cleared_by_the_system() -> None:
    code = (
        f"{_USE}\nfrom resource import RUSAGE_SELF, getrusage\nbefore = getrusage(RUSAGE_SELF).ru_minflt\n"
        "for _ in range(200):\n    chunks = [bytes(261_120) for _ in range(8)]\n    del chunks\n"
        "print(getrusage(RUSAGE_SELF).ru_minflt - before)"
    )
    assert int(answer(code)) < 2_000  # 400 MB are 100,000 pages

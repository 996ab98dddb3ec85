"""Help for tests of erasure: what is left of an id, and recordings to erase."""

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest


def _places_with(folder: Path, words: Collection[str]) -> list[str]:
    """Return the files below the folder that have one of the words: raw, as Parquet, or packed with zstd, and their names."""
    wanted = [form for word in words for form in (word.encode(), word.replace("-", "").encode())]
    found = []
    for path in sorted(folder.rglob("*")):
        data = str(path.relative_to(folder)).encode()
        if path.is_file():
            data += path.read_bytes()
            if path.suffix == ".parquet" and "open" not in path.parts:
                data += json.dumps(pq.read_table(path).to_pylist(), default=str).encode()
            elif path.suffix == ".zst":
                with pa.CompressedInputStream(pa.OSFile(str(path), "rb"), "zstd") as unpacked:
                    data += unpacked.read()
        if any(one in data.lower() for one in wanted):
            found.append(str(path.relative_to(folder)))
    return found


def _document(done: Any) -> Any:
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def _a_recording(trial: Any, *, alone: bool | None = None) -> dict[str, Any]:
    """Return the row of an archived recording: of a session with others, or without."""
    rows = trial.tables()["recordings"]
    count = {one["session_id"]: sum(row["session_id"] == one["session_id"] for row in rows) for one in rows}
    return next(
        row
        for row in rows
        if row["archive_status"] == "archived" and (alone is None or (count[row["session_id"]] == 1) is alone)
    )


@pytest.fixture(scope="session")
def places_with() -> Callable[..., list[str]]:
    """`places_with(folder, [id])`: the files below the folder that have it."""
    return _places_with


@pytest.fixture(scope="session")
def document() -> Callable[..., Any]:
    """`document(trial.run(..., "--json"))`: what a command printed."""
    return _document


@pytest.fixture(scope="session")
def a_recording() -> Callable[..., dict[str, Any]]:
    """`a_recording(trial)`: the row of an archived recording."""
    return _a_recording

"""What is left of an id in files: names, bytes, and what Parquet, zstd and tar files contain."""

import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_TOMBSTONE = {"subaccount_id", "session_id", "recording_id", "api_status", "archive_status", "error", "versions"}


def traces_of(id_: str, *roots: Path, tombstones: bool = False) -> list[str]:
    """Return where the id is in or below these folders and files, in any spelling.

    Tombstones (rows of an erased recording without anything but its ids and state) count only if asked for.
    """
    spellings = re.compile(id_.replace("-", "-?").encode(), re.IGNORECASE)
    found = []
    for root in roots:
        for path in sorted([root, *root.rglob("*")]):
            if spellings.search(str(path.relative_to(root.parent)).encode()):
                found.append(f"{path}: its name")
            if path.is_file():
                found += [f"{path}: {where}" for where in _in_file(path, spellings, tombstones=tombstones)]
    return found


def _in_file(path: Path, spellings: re.Pattern[bytes], *, tombstones: bool) -> Iterator[str]:
    data = path.read_bytes()
    if path.suffix == ".parquet" and data:
        rows = [row for row in pq.read_table(io.BytesIO(data)).to_pylist() if spellings.search(repr(row).encode())]
        stay = [row for row in rows if not tombstones and _is_tombstone(row)]
        yield from (repr(row) for row in rows if row not in stay)
        if stay:
            return  # the statistics of its columns have the ids of tombstones
    for name, content in [("", data), *_unpacked(path, data)]:
        for match in spellings.finditer(content):
            yield f"{name} at {match.start()}: {content[max(0, match.start() - 60) : match.end() + 60]!r}"


def _unpacked(path: Path, data: bytes) -> Iterator[tuple[str, bytes]]:
    if path.suffix != ".zst" or not data:
        return
    with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
        content = stream.read()
    yield "unpacked", content
    if path.name.endswith(".tar.zst"):
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is not None:
                    yield member.name, file.read()


def _is_tombstone(row: dict[str, Any]) -> bool:
    facts = {name for name, value in row.items() if value not in (None, [])}
    return row.get("archive_status") == "erased" and facts <= _TOMBSTONE

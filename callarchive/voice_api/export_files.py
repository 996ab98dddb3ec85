"""Unpacks a downloaded export file (gzip, zip), whatever its headers, and checks that it is a complete CSV file."""

import gzip
import lzma
import os
import zipfile
import zlib
from pathlib import Path
from typing import IO

from callarchive.domain.errors import ExportError, StoreError

FILE_LIMIT_BYTES = 8 * 1024**3
_CHUNK_BYTES = 1024 * 1024
_MAX_MEMBERS = 10_000
_HEAD_BYTES = 64 * 1024
_DOCUMENTS = {b"<": "an HTML or XML document", b"{": "a JSON document", b"[": "a JSON document"}
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile, RuntimeError)


class DamagedExportError(ExportError):
    """A compressed export file is damaged or truncated. The message does not name the file."""


def unpack(raw: Path, *, encoding: str, name: str) -> list[Path]:
    """Replace `raw` with its CSV files, in the same folder and named after it, and return them.

    Raises DamagedExportError if it is damaged or truncated, ExportError if it has another Content-Encoding or over 8 GiB,
    StoreError if there is no space.
    """
    if encoding.strip().lower() not in ("", "identity", "gzip", "x-gzip"):
        raise ExportError(f"{name}: has Content-Encoding {encoding[:40]!a}, which was not requested")
    try:
        plain = _gunzipped(_gunzipped(raw, name), name)  # a .gz file may be gzipped once more in transit
        if _begins_with(plain, b"PK\x03\x04"):
            return _unzipped(plain, name)
        return [plain.rename(raw.with_suffix(".csv"))]
    except _DAMAGE as err:
        raise DamagedExportError(f"the compressed file is damaged or truncated ({type(err).__name__})") from err
    except OSError as err:
        raise StoreError(f"{raw.parent}: cannot unpack a download: {err.strerror}") from err


def why_not_whole(path: Path) -> str | None:
    """Return why the file is no complete CSV file (its last line must end like the first), or `None`. Raises StoreError."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            file.seek(-min(path.stat().st_size, 2), os.SEEK_END)
            tail = file.read()
    except OSError as err:
        raise StoreError(f"{path.parent}: cannot read a download: {err.strerror}") from err
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        return "it is empty, though 8x8 reports calls"
    if (document := _DOCUMENTS.get(text[:1])) is not None:
        return f"it is {document}, not a CSV file"
    if not tail.endswith(b"\n" if b"\n" in head else b"\r"):
        return "its last line has no line ending, so it may have been cut"
    return None


def _gunzipped(path: Path, name: str) -> Path:
    if not _begins_with(path, b"\x1f\x8b"):
        return path
    target = path.with_suffix(path.suffix + "-plain")
    with gzip.open(path, "rb") as packed:
        _copy(packed, target, name)
    path.unlink()
    return target


def _unzipped(path: Path, name: str) -> list[Path]:
    """Extract under our own names: the members' may point outside the folder."""
    found: list[Path] = []
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) > _MAX_MEMBERS:
            raise ExportError(f"{name}: a zip with {len(members)} files")
        for number, member in enumerate(members):
            target = path.parent / f"{path.stem}-{number:04d}.csv"
            with archive.open(member) as packed:
                _copy(packed, target, name)
            found.append(target)
    path.unlink()
    return found


def _copy(packed: IO[bytes] | gzip.GzipFile, target: Path, name: str) -> None:
    size_bytes = 0
    with target.open("wb") as file:
        while chunk := packed.read(_CHUNK_BYTES):
            size_bytes += len(chunk)
            if size_bytes > FILE_LIMIT_BYTES:
                raise ExportError(f"{name}: over {FILE_LIMIT_BYTES} bytes when unpacked")
            file.write(chunk)


def _begins_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic

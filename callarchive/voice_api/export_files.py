"""Unpacking of a downloaded export file: gzip and zip are told by their first bytes, whatever the headers say."""

import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from callarchive.errors import ExportError, StoreError

FILE_LIMIT_BYTES = 8 * 1024**3
_CHUNK_BYTES = 1024 * 1024
_MAX_MEMBERS = 10_000
_DAMAGE = (
    EOFError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
)


def unpack(raw: Path, *, encoding: str, name: str) -> list[Path]:
    """The CSV files that were in `raw`, beside it, named after it; `raw` itself is gone.

    Args:
        encoding: the Content-Encoding that it came with.
        name: of job and file, for messages.

    Raises:
        ExportError: packed in another way, damaged, cut short, or over 8 GiB when unpacked.
        StoreError: no room.
    """
    if encoding.strip().lower() not in ("", "identity", "gzip", "x-gzip"):
        raise ExportError(f"{name}: came with Content-Encoding {encoding[:40]!a}, which was not asked for")
    try:
        plain = _gunzipped(_gunzipped(raw, name), name)  # a .gz file may travel gzipped once more
        if _begins_with(plain, b"PK\x03\x04"):
            return _unzipped(plain, name)
        return [plain.rename(raw.with_suffix(".csv"))]
    except _DAMAGE as err:
        raise ExportError(f"{name}: its packing is damaged or cut short ({type(err).__name__})") from err
    except OSError as err:
        raise StoreError(f"{raw.parent}: cannot unpack a download: {err.strerror}") from err


def _gunzipped(path: Path, name: str) -> Path:
    if not _begins_with(path, b"\x1f\x8b"):
        return path
    target = path.with_suffix(path.suffix + "-plain")
    with gzip.open(path, "rb") as packed:
        _copy(packed.read, target, name)
    path.unlink()
    return target


def _unzipped(path: Path, name: str) -> list[Path]:
    """Members get names of ours: theirs may climb out of the folder."""
    found: list[Path] = []
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) > _MAX_MEMBERS:
            raise ExportError(f"{name}: a zip with {len(members)} files")
        for number, member in enumerate(members):
            target = path.parent / f"{path.stem}-{number:04d}.csv"
            with archive.open(member) as packed:
                _copy(_reader(packed), target, name)
            found.append(target)
    path.unlink()
    return found


def _reader(packed: IO[bytes]) -> Callable[[int], bytes]:
    return packed.read


def _copy(read: Callable[[int], bytes], target: Path, name: str) -> None:
    size_bytes = 0
    with target.open("wb") as file:
        while chunk := read(_CHUNK_BYTES):
            size_bytes += len(chunk)
            if size_bytes > FILE_LIMIT_BYTES:
                raise ExportError(f"{name}: over {FILE_LIMIT_BYTES} bytes when unpacked")
            file.write(chunk)


def _begins_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic

"""Text files as people save them, opened as UTF-8: UTF-16 from spreadsheets, gzip under any name.

What no text reader can use (a workbook, a PDF, a web page) is named in the error.
"""

import codecs
import gzip
import io
from typing import BinaryIO, cast

from callarchive.domain.errors import SourceError

_HEAD_BYTES = 1024
_FOREIGN = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook (.xlsx)"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls)"),
    (b"%PDF-", "a PDF"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
)
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def open_as_utf8(stream: BinaryIO, *, file: str) -> BinaryIO:
    """Return the text of a seekable file as UTF-8 bytes; gzip is unpacked.

    Reading raises `EOFError` or `zlib.error` where a gzip file is cut or damaged.

    Raises:
        SourceError: it is a file of another kind. The message names the kind and the next step.
    """
    head = _head(stream)
    if head.startswith(b"\x1f\x8b"):
        stream = cast("BinaryIO", gzip.GzipFile(fileobj=stream))
        head = _head(stream)
    for magic, kind in _FOREIGN:
        if head.startswith(magic):
            raise SourceError(f"{file} is {kind}, not text: export the list as CSV (UTF-8)")
    if head.removeprefix(codecs.BOM_UTF8).lstrip().lower().startswith((b"<!doctype html", b"<html", b"<?xml")):
        raise SourceError(f"{file} is a web page (HTML) or XML, not a list: export the list as CSV (UTF-8)")
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), None) or _unmarked(head)
    if encoding is None:
        return stream
    text = io.TextIOWrapper(stream, encoding=encoding, errors="replace", newline="")
    return io.BufferedReader(_Utf8(text))


def _head(stream: BinaryIO) -> bytes:
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    return head


def _unmarked(head: bytes) -> str | None:
    """Return UTF-16's byte order where the first bytes are ASCII characters in it, each with a NUL byte."""
    pairs = head[: len(head) // 2 * 2]
    for encoding, text, zeros in (("utf-16-le", pairs[::2], pairs[1::2]), ("utf-16-be", pairs[1::2], pairs[::2])):
        if text and text.isascii() and b"\0" not in text and not zeros.strip(b"\0"):
            return encoding
    return None


class _Utf8(io.RawIOBase):
    """A text as a stream of UTF-8 bytes."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._text.read(len(buffer) // 4).encode("utf-8", "replace")  # at most 4 bytes a character
        buffer[: len(data)] = data
        return len(data)

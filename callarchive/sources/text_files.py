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
_TEXTS = ("JSON", "text, such as CSV")
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
    kind = kind_of(head)
    if kind not in (None, *_TEXTS):
        raise SourceError(f"{file} is {kind}, not a list as text: export the list as CSV (UTF-8)")
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), None) or _unmarked(head)
    if encoding is None and (b"\r" not in head[:-1] or b"\n" in head):
        return stream
    # Line ends of old Macs, a carriage return alone, become line feeds.
    text = io.TextIOWrapper(stream, encoding=encoding or "utf-8", errors="replace", newline=None)
    return io.BufferedReader(_Utf8(text))


def kind_of(head: bytes) -> str | None:
    """Return what a file is that begins so; `None` if it has no known beginning."""
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if head.startswith(b"\x1f\x8b"):
        return "a gzip file"
    for magic, kind in _FOREIGN:
        if head.startswith(magic):
            return kind
    if text.lower().startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "a web page (HTML) or XML"
    if text.startswith((b"[", b"{")):
        return _TEXTS[0]
    is_text = b"\0" not in head or head.startswith(tuple(mark for mark, _ in _MARKS)) or _unmarked(head)
    return _TEXTS[1] if is_text and text else None


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

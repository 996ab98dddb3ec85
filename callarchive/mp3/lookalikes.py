"""Describes bytes without mp3 frames, for the column `error` of the catalog."""

import json
import re
from itertools import islice

_SIGNATURES = (
    (b"OggS", "Ogg"),
    (b"fLaC", "FLAC"),
    (b"#!AMR", "AMR"),
    (b"caff", "CAF"),
    (b"FORM", "AIFF"),
    (b".snd", "Sun audio"),
    (b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (b"\x00\x00\x01\xba", "an MPEG program stream"),
    (b"\x30\x26\xb2\x75", "Windows Media"),
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"%PDF", "PDF"),
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
)
# A free-format header: sync, valid version and layer, bitrate index 0, valid sampling frequency index.
_FREE_FORMAT = re.compile(rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff][\x00-\x0b]", re.DOTALL)
_FREE_FORMAT_CANDIDATES = 8
_FREE_FORMAT_LONGEST_BYTES = 8192


def container_of(head: bytes) -> str | None:
    """Return the name of another format whose signature the first bytes have, or None."""
    if head.startswith(b"RIFF"):
        return "WAV" if head[8:12] == b"WAVE" else "RIFF"
    if head[4:8] == b"ftyp":
        return "MP4"
    if head[:1] == b"\xff" and head[1:2] in (b"\xf0", b"\xf1", b"\xf8", b"\xf9"):
        return "AAC"
    return next((name for signature, name in _SIGNATURES if head.startswith(signature)), None)


def describe_non_audio(head: bytes) -> str:
    """Describe a file without two mp3 frames in a row by its first bytes after the tags."""
    if not head:
        return "empty"
    if not head.strip(b"\0"):
        return "zero bytes where mp3 frames should be"
    return container_of(head) or _describe_text(head) or _describe_bytes(head)


def _describe_text(head: bytes) -> str | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    lowered = start[:1024].lower()
    if lowered.startswith(b"<"):
        return "an HTML page" if re.search(rb"<(!doctype\s+html|html|head|body)\b", lowered) else "XML"
    text = start[:1024].decode("utf-8", errors="ignore")
    if start[:1] in (b"{", b"[") and _begins_json(text):
        return "JSON"
    printable = sum(character.isprintable() or character.isspace() for character in text)
    plain = len(text.encode()) >= len(start[:1024]) - 3 and printable == len(text)
    return "plain text" if text and plain else None


def _begins_json(text: str) -> bool:
    """Return whether a JSON value begins here. The end of the text may be cut off."""
    try:
        json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return re.match(r"\{\s*\"|\[\s*[\[{\"\d\-tfn]", text) is not None
    return True


def _describe_bytes(head: bytes) -> str:
    if _is_free_format(head):
        return "free-format mp3 (bitrate index 0), which is not supported"
    return "no known format, no two mp3 frames in a row"


def _is_free_format(head: bytes) -> bool:
    """Return whether there are three equal headers with bitrate index 0 at equal distances, within a slot of padding."""
    for first in islice(_FREE_FORMAT.finditer(head), _FREE_FORMAT_CANDIDATES):
        header = first.group()
        # The padding and private bits may differ from frame to frame.
        others = b"".join(re.escape(bytes((header[2] & 0xFC | bits,))) for bits in range(4))
        same = re.compile(re.escape(header[:2]) + b"[" + others + b"]", re.DOTALL)
        for second in same.finditer(head, first.start() + 16, first.start() + _FREE_FORMAT_LONGEST_BYTES):
            third = 2 * second.start() - first.start()
            if same.search(head, third - 4, third + 4 + len(header)):
                return True
    return False

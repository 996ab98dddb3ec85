"""Describes bytes without mp3 frames, for the column `error` of the catalog."""

import json
import re

_CONTAINERS = (
    (b"OggS", "Ogg"),
    (b"fLaC", "FLAC"),
    (b"#!AMR", "AMR"),
    (b"caff", "CAF"),
    (b"FORM", "AIFF"),
    (b".snd", "Sun audio (AU)"),
    (b"dns.", "Sun audio (AU)"),
    (b"RIFX", "RIFF"),
    (b"riff\x2e\x91\xcf\x11", "Wave64"),
    (b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (b"\x00\x00\x01\xba", "an MPEG program stream"),
    (b"\x30\x26\xb2\x75", "Windows Media"),
    (b"FLV\x01", "FLV"),
    (b".RMF", "RealMedia"),
    (b"NIST_1A", "NIST SPHERE"),
    (b"Creative Voice File", "VOC"),
    (b"\x7f\xfe\x80\x01", "DTS"),
    (b"\xfe\x7f\x01\x80", "DTS"),
    (b"wvpk", "WavPack"),
    (b"TTA1", "TTA"),
    (b"MAC ", "Monkey's Audio"),
    (b"MPCK", "Musepack"),
    (b"MP+", "Musepack"),
    (b"MThd", "MIDI"),
    (b"ADIF", "AAC"),
    (b"FWS", "Flash"),
    (b"CWS", "Flash"),
    (b"nut/multimedia", "NUT"),
    (b"\x1f\x8b\x08", "gzip"),
    (b"PK\x03\x04", "a ZIP archive"),
)
_DOCUMENTS = ((b"%PDF", "PDF"), (b"\x89PNG", "PNG"), (b"\xff\xd8\xff", "JPEG"))
# The types of the first atom of MP4 and its relatives. Older files (QuickTime) have no `ftyp`.
_MP4_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"moof")
_BRANDS = ((b"qt", "MOV (QuickTime)"), (b"3g", "3GP"), (b"M4", "M4A (MP4)"))
_ADTS_SYNC = (b"\xff\xf0", b"\xff\xf1", b"\xff\xf8", b"\xff\xf9")
_FRAMES_IN_A_ROW = 3
_GSM_FRAME_BYTES = 33
_MARKS = 12
_TS_PACKET_BYTES = 188


def container_of(head: bytes) -> str | None:
    """Return the name of another audio format, container or archive that the first bytes identify, or None.

    The file is not an mp3, though it may contain the frames of one.
    """
    if head[:1] == b"\xff":  # no other one begins like a frame
        return "AAC" if _is_adts(head) else None
    if head.startswith(b"RIFF"):
        return {b"WAVE": "WAV", b"AVI ": "AVI"}.get(head[8:12], "RIFF")
    if head[4:8] in _MP4_ATOMS:
        brand = head[8:12] if head[4:8] == b"ftyp" else b"qt"
        return next((name for begin, name in _BRANDS if brand.startswith(begin)), "MP4")
    if len(head) >= _MARKS * _GSM_FRAME_BYTES and _has_at_intervals(head, _GSM_FRAME_BYTES, 0xF0, 0xD0):
        return "GSM"
    for time_stamp_bytes in (0, 4):  # Blu-ray discs and camcorders put a time stamp before each packet
        packets, interval = head[time_stamp_bytes:], _TS_PACKET_BYTES + time_stamp_bytes
        if len(packets) >= _MARKS * interval and _has_at_intervals(packets, interval, 0xFF, 0x47):
            return "an MPEG transport stream"
    return next((name for signature, name in _CONTAINERS if head.startswith(signature)), None)


def document_of(head: bytes) -> str | None:
    """Return the name of a format of documents or pictures, whose bytes may also be left over from a tag, or None."""
    return next((name for signature, name in _DOCUMENTS if head.startswith(signature)), None)


def _is_adts(head: bytes) -> bool:
    """Return whether frames of AAC follow each other by the lengths in their headers."""
    at = 0
    for _ in range(_FRAMES_IN_A_ROW):
        if head[at : at + 2] not in _ADTS_SYNC or len(head) < at + 6:
            return False
        at += (head[at + 3] & 3) << 11 | head[at + 4] << 3 | head[at + 5] >> 5
    return at > 0


def _has_at_intervals(head: bytes, interval: int, mask: int, value: int) -> bool:
    """Return whether the frames or packets of a format without a signature have its mark."""
    return all(byte & mask == value for byte in head[: _MARKS * interval : interval])


def describe_non_audio(head: bytes) -> str:
    """Describe a file without two mp3 frames in a row by its first bytes after the tags."""
    if not head:
        return "empty"
    if not head.strip(b"\0"):
        return "zero bytes where mp3 frames should be"
    if head.startswith(_ADTS_SYNC):
        return "is AAC, not mp3"
    return document_of(head) or _describe_text(head) or "no known format, no two mp3 frames in a row"


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

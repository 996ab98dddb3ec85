"""Finds where tags around and between the audio begin and end. Their contents are not read.

Sources: ID3v2.4.0 structure, 3.1 and 3.4 (id3.org); ID3v1 and its "TAG+" extension; APE tags version 1 and 2
(Hydrogenaudio wiki); Lyrics3 v1 and v2 (id3.org).
"""

_APE_HEADER_BYTES = 32
_ID3V1_BYTES = 128
_ID3V1_PLUS_BYTES = 227
_LYRICS1_LONGEST_BYTES = 5100
_APE1_LONGEST_BYTES = 8192


def tag_length_bytes(data: bytes, at: int) -> int:
    """Return the declared length of the tag that begins at `at`, 0 if there is none. It may exceed the data."""
    head = data[at : at + _APE_HEADER_BYTES]
    if head[:3] == b"ID3" and len(head) >= 10 and head[3] < 0xFF and head[4] < 0xFF and max(head[6:10]) < 0x80:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        footer_bytes = 10 if head[5] & 0x10 else 0
        return 10 + size + footer_bytes
    if head[:8] == b"APETAGEX" and len(head) == _APE_HEADER_BYTES:
        return _APE_HEADER_BYTES + int.from_bytes(head[12:16], "little")
    if head[:4] == b"TAG+":
        return _ID3V1_PLUS_BYTES
    if head[:3] == b"TAG":
        return _ID3V1_BYTES
    if head[:11] == b"LYRICSBEGIN":
        ends = [data.find(mark, at, at + _LYRICS1_LONGEST_BYTES) for mark in (b"LYRICS200", b"LYRICSEND")]
        return min((end + 9 - at for end in ends if end > 0), default=0)
    return 0


def headless_tag_length_bytes(data: bytes, at: int) -> int:
    """Return the length of the APE tag of version 1, which has no header, that begins at `at`; 0 if there is none."""
    foot = data.find(b"APETAGEX", at, at + _APE1_LONGEST_BYTES)
    if foot >= 0 and int.from_bytes(data[foot + 12 : foot + 16], "little") == foot + _APE_HEADER_BYTES - at:
        return foot + _APE_HEADER_BYTES - at
    return 0


def end_of_audio(data: bytes) -> int:
    """Return where the tags at the end of the data begin; `len(data)` if there are none."""
    end = len(data)
    while length := _closing_tag_bytes(data, end):
        end -= length
    return end


def _closing_tag_bytes(data: bytes, end: int) -> int:
    """Return the length of the tag that ends at `end`; 0 if there is none, or if its two ends contradict each other."""
    for length, mark in ((_ID3V1_BYTES, b"TAG"), (_ID3V1_PLUS_BYTES, b"TAG+")):
        if end >= length and data.startswith(mark, end - length):
            return length
    foot = data[max(0, end - _APE_HEADER_BYTES) : end]
    if foot[:8] == b"APETAGEX" and len(foot) == _APE_HEADER_BYTES:
        # The size includes items and footer. In version 2 a flag says whether a header precedes them.
        size = int.from_bytes(foot[12:16], "little")
        if foot[23] & 0x80:
            length = size + _APE_HEADER_BYTES
            return length if length <= end and data.startswith(b"APETAGEX", end - length) else 0
        return size if _APE_HEADER_BYTES <= size <= min(end, _APE1_LONGEST_BYTES) else 0
    if foot.endswith(b"LYRICS200") and foot[-15:-9].isdigit():
        length = int(foot[-15:-9]) + 15
        return length if length <= end and data.startswith(b"LYRICSBEGIN", end - length) else 0
    if foot.endswith(b"LYRICSEND"):
        begin = data.rfind(b"LYRICSBEGIN", max(0, end - _LYRICS1_LONGEST_BYTES), end)
        return end - begin if begin >= 0 else 0
    return 0

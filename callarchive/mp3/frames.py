"""Frame headers of MPEG audio, and the header frame in which encoders declare a file's length.

A frame begins with four bytes (ISO/IEC 11172-3, 2.4.1.3 and 2.4.2.3; the lower sampling frequencies ISO/IEC 13818-3,
2.4.2.3; "MPEG 2.5" is Fraunhofer's extension to 8, 11.025 and 12 kHz, marked by a zero as the twelfth sync bit):

    1111 1111  111V VLLP  BBBB RRpx  MMmm coee

    V version (11 is 1, 10 is 2, 00 is 2.5)   L layer (11 is I, 10 is II, 01 is III)   P 0 if a CRC follows
    B bitrate index   R sampling frequency index   p padding   x private   M channel mode (11 is mono)
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

_VERSIONS = {3: 1.0, 2: 2.0, 0: 2.5}
_LAYERS = {3: 1, 2: 2, 1: 3}
_SAMPLE_RATES_HZ = {1.0: (44100, 48000, 32000), 2.0: (22050, 24000, 16000), 2.5: (11025, 12000, 8000)}
# By layer, for bitrate indices 1 to 14. Index 0 is "free format": the header has no length. 15 is forbidden.
_BITRATES_KBPS_MPEG1 = {
    1: (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_BITRATES_KBPS_MPEG2_LAYER1 = (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256)
_BITRATES_KBPS_MPEG2_LAYER2_3 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)

LONGEST_FRAME_BYTES = 2881
"""MPEG 2.5 layer II, 160 kbit/s at 8 kHz, with padding."""

_SHORTEST_FREE_FRAME_BYTES = 24
_FREE_FRAMES = 5

# A decoder outputs the delay of the polyphase filter, 528 + 1 samples, before the first sample.
_DECODER_DELAY = 529


@dataclass(frozen=True, slots=True)
class Stream:
    """The common properties of consecutive frames: version, layer and sampling frequency.

    Attributes:
        samples: the samples of a frame, per channel.
        lengths: the length of a frame in bytes, by the first three bytes of its header, for every header of this stream:
            bitrate, padding, CRC and private bit may change from frame to frame.
        length_table: the same by the second and third byte as one big-endian number; 0 if they are not of a header.
    """

    version: float
    layer: int
    sample_rate_hz: int
    samples: int
    lengths: dict[bytes, int]
    length_table: NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class LengthClaim:
    """What the header frame (Xing, Info or VBRI) declares about the file; None for what it does not declare.

    Attributes:
        frame_count: the number of audio frames.
        size_bytes: from the first byte of the header frame to the end of the audio.
        skip_samples: samples at the start that the encoder and the decoder add; not played.
        padding_samples: samples at the end of the last declared frame; not played.
    """

    kind: str
    frame_count: int | None = None
    size_bytes: int | None = None
    skip_samples: int = 0
    padding_samples: int = 0


def stream_of(header: bytes) -> Stream | None:
    """Return the stream of a frame with this header, None if it is not a frame header."""
    if len(header) < 3 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    stream = _stream(header[1] >> 3 & 3, header[1] >> 1 & 3, header[2] >> 2 & 3)
    return stream if stream is not None and header[:3] in stream.lengths else None


def free_format_stream_of(head: bytes) -> Stream | None:
    """Return the stream of free-format frames at the beginning of the bytes, None if there are none.

    Their headers have bitrate index 0 and no length: it is the distance to the next header, and the same in all frames
    except for padding.
    """
    stream = None if len(head) < 4 or head[2] & 0xF0 else _stream(head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 2 & 3)
    if stream is None or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    slot_bytes = 4 if stream.layer == 1 else 1
    headers = {head[:2] + bytes((head[2] & 0xFC | bits,)): slot_bytes * (bits >> 1) for bits in range(4)}
    at = _SHORTEST_FREE_FRAME_BYTES
    while (at := head.find(head[:2], at, LONGEST_FRAME_BYTES + 2)) > 0:
        length = at - headers[head[:3]]
        follows = 0
        for _ in range(_FREE_FRAMES):
            padding = headers.get(head[follows : follows + 3])
            if padding is None:
                break
            follows += length + padding
        else:
            lengths = {header: length + padding for header, padding in headers.items()}
            return replace(stream, lengths=lengths, length_table=_table_of(lengths))
        at += 1
    return None


def channels_of(header: bytes) -> int:
    """Return 1 or 2, from the channel mode in the fourth byte of a header."""
    return 1 if header[3] >> 6 == 3 else 2


@cache
def _stream(version_bits: int, layer_bits: int, rate_index: int) -> Stream | None:
    if version_bits not in _VERSIONS or layer_bits not in _LAYERS or rate_index == 3:
        return None
    version, layer = _VERSIONS[version_bits], _LAYERS[layer_bits]
    sample_rate_hz = _SAMPLE_RATES_HZ[version][rate_index]
    if version == 1.0:
        bitrates_kbps = _BITRATES_KBPS_MPEG1[layer]
    else:
        bitrates_kbps = _BITRATES_KBPS_MPEG2_LAYER1 if layer == 1 else _BITRATES_KBPS_MPEG2_LAYER2_3
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 1.0 else 1152
    # Lengths are in slots: four bytes in layer I, one byte in the others (11172-3, 2.4.3.1).
    slot_bytes = 4 if layer == 1 else 1
    lengths = {}
    for index, kbps in enumerate(bitrates_kbps, start=1):
        slots = samples * kbps * 1000 // (8 * slot_bytes * sample_rate_hz)
        for padding in (0, 1):
            for crc_absent in (0, 1):
                for private in (0, 1):
                    second = 0xE0 | version_bits << 3 | layer_bits << 1 | crc_absent
                    third = index << 4 | rate_index << 2 | padding << 1 | private
                    lengths[bytes((0xFF, second, third))] = (slots + padding) * slot_bytes
    return Stream(version, layer, sample_rate_hz, samples, lengths, _table_of(lengths))


def _table_of(lengths: dict[bytes, int]) -> NDArray[np.uint16]:
    table = np.zeros(1 << 16, np.uint16)
    table[[int.from_bytes(header[1:], "big") for header in lengths]] = list(lengths.values())
    return table


def read_length_claim(frame: bytes, stream: Stream | None = None) -> LengthClaim | None:
    """Return what the first frame declares about the file, None if it is an audio frame.

    A header frame is a valid, silent layer III frame that players skip. It contains "Xing" (variable bitrate) or "Info"
    (constant bitrate) after the side information, or "VBRI" 32 bytes after the header. Sources: Xing's VBR header SDK; the
    "Mp3 Info Tag" revision 1 of LAME (for the delays); Fraunhofer's VBRI header as in G. Windisch, "MPEG Audio Frame
    Header".
    """
    stream = stream or stream_of(frame)
    if stream is None or stream.layer != 3 or len(frame) < 4:
        return None
    if frame[36:40] == b"VBRI":
        return LengthClaim("VBRI", frame_count=_uint(frame, 50), size_bytes=_uint(frame, 46))
    mono = channels_of(frame) == 1
    side_info_bytes = (17 if mono else 32) if stream.version == 1.0 else (9 if mono else 17)
    # LAME writes the name at the position without a CRC even if there is one; others leave room for its two bytes.
    for at in (4 + side_info_bytes, 6 + side_info_bytes):
        if frame[at : at + 4] in (b"Xing", b"Info"):
            return _read_xing(frame, at)
    return None


def _read_xing(frame: bytes, at: int) -> LengthClaim:
    kind = frame[at : at + 4].decode("ascii")
    flags = _uint(frame, at + 4) or 0
    at += 8
    frame_count = size_bytes = None
    if flags & 1:
        frame_count = _uint(frame, at)
        at += 4
    if flags & 2:
        size_bytes = _uint(frame, at)
        at += 4
    at += 100 * bool(flags & 4) + 4 * bool(flags & 8)
    # An encoder's name opens an optional extension; 21 bytes on, it has two 12-bit counts of samples: delay and padding.
    delays = frame[at + 21 : at + 24]
    if frame[at : at + 4] not in (b"LAME", b"Lavf", b"Lavc") or len(delays) < 3:
        return LengthClaim(kind, frame_count, size_bytes)
    both = int.from_bytes(delays, "big")
    return LengthClaim(
        kind,
        frame_count,
        size_bytes,
        skip_samples=(both >> 12) + _DECODER_DELAY,
        padding_samples=max(0, (both & 0xFFF) - _DECODER_DELAY),
    )


def _uint(frame: bytes, at: int) -> int | None:
    """Return the big-endian number in four bytes; None if it is missing, or 0 (not known to the encoder)."""
    field = frame[at : at + 4]
    return int.from_bytes(field, "big") or None if len(field) == 4 else None

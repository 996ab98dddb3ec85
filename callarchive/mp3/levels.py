"""Estimates the levels of layer III granules from side information, without decoding the audio.

The side information of a granule (half a frame in MPEG 1, a frame in MPEG 2 and 2.5) has, for each channel, the "global
gain", which is the quantizer step in units of 1.5 dB; the Huffman tables, which bound the largest value; and the width of the
scale factors, by which encoders amplify bands before they quantize them (ISO/IEC 11172-3, 2.4.1.7 and 2.4.2.7; for the lower
sampling frequencies 13818-3, 2.4.1.7 and 2.4.3.2). The weights are a least-squares fit to ffmpeg's output for speech, noise
and idle lines that LAME, libshine and lamejs encoded.

Levels are in dBFS: the RMS of a granule relative to full scale. A full-scale sine has -3 dBFS, and 0 dBm0 of G.711 is -6
dBFS. The median over a recording is off by 5 dB (standard deviation), that of a single granule by up to 15 dB.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from callarchive.mp3.frames import Stream, channels_of

FRAME_BYTES = 48
"""A length that includes the side information of all granules of a frame."""

HEAD_BYTES = 24
"""The length of a head: the header of a frame and the side information of its first granule. No frame is shorter."""

NOTHING_CODED_DB = -200.0
"""The level of a granule without values."""

Levels = NDArray[np.float32]

_UNIT_GAIN = 210
_DB_PER_GAIN_STEP = 1.50515
_DB_PER_DECADE = 22.9
_DB_PER_SCALE_FACTOR = 1.4
_OFFSET_DB = 12.6
# The smallest and the largest value that make an encoder choose a Huffman table (11172-3, table 3-B.7). Tables 16 to 23 and
# 24 to 31 differ only in the number of bits for values above 14.
_SIZES = (
    *((0, 0), (1, 1), (1, 2), (1, 2), (1, 2), (2, 3), (2, 3), (3, 5), (3, 5), (3, 5), (4, 7), (4, 7), (4, 7)),
    *((1, 15), (1, 15), (1, 15)),  # libshine also uses them for small values
    *((16, 16), (17, 18), (19, 22), (23, 30), (31, 78), (79, 270), (271, 1038), (1039, 8206)),
    *((16, 30), (31, 46), (47, 78), (79, 142), (143, 270), (271, 526), (527, 2062), (2063, 8206)),
)
# The width of the scale factors of the lower bands in MPEG 1, by scalefac_compress.
_WIDTHS = (0, 0, 0, 0, 3, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a frame has its side information."""

    is_mpeg1: bool
    channel_count: int
    has_crc: bool

    @classmethod
    def of(cls, stream: Stream, header: bytes) -> "Layout":
        """Return the layout of frames with this header."""
        return cls(stream.version == 1.0, channels_of(header), not header[1] & 1)

    @property
    def granule_count(self) -> int:
        """The granules of a frame."""
        return 2 if self.is_mpeg1 else 1

    def levels(self, frames: bytes, *, frame_bytes: int, granule: int = 0, channel: int = 0) -> Levels:
        """Return the level in dBFS of a granule's channel in each frame.

        Args:
            frames: the first `frame_bytes` bytes of each, joined.
        """
        bit = self._bit(granule, channel)
        begin = 6 if self.has_crc else 4  # in front of the side information
        every = np.ndarray((len(frames) // frame_bytes,), ">u8", frames, begin + bit // 8, (frame_bytes,))
        words = every.astype(np.int64)
        left = 64 - bit % 8  # bits from part2_3_length on
        compress_bits = self._compress_bits
        gains = (words >> (left - 29) & 0xFF).astype(np.float32)
        tables = _table_levels()[words >> (left - 45 - compress_bits) & 0xFFFF]
        amplified = _amplifications(compress_bits)[words >> (left - 29 - compress_bits) & (1 << compress_bits) - 1]
        bit += 57 if self.is_mpeg1 else 61  # scalefac_scale doubles the steps
        scales = np.ndarray(len(words), np.uint8, frames, begin + bit // 8, (frame_bytes,)) >> 7 - bit % 8 & 1
        amplified *= 1 + scales
        has_values = words >> (left - 21) & 0x1FF != 0
        return np.where(has_values, gains * np.float32(_DB_PER_GAIN_STEP) + tables - amplified, NOTHING_CODED_DB)

    @property
    def _compress_bits(self) -> int:
        """The length of scalefac_compress."""
        return 4 if self.is_mpeg1 else 9

    def _bit(self, granule: int, channel: int) -> int:
        """Return the position of the granule's part2_3_length in the side information."""
        if self.is_mpeg1:
            first = 18 if self.channel_count == 1 else 20
            return first + 59 * (granule * self.channel_count + channel)
        return 8 + self.channel_count + 63 * channel


@cache
def _table_levels() -> Levels:
    """Return the level at a gain of 0, by the 16 bits that choose the tables: a typical largest value of the largest table."""
    sizes = np.sqrt(np.prod(_SIZES, axis=1))
    bits = np.arange(1 << 16)
    # Three tables of 5 bits, or after the type of a window and a flag (3 bits) two, if the first bit is set.
    of_three = np.maximum(sizes[bits >> 10 & 31], np.maximum(sizes[bits >> 5 & 31], sizes[bits & 31]))
    of_two = np.maximum(sizes[bits >> 7 & 31], sizes[bits >> 2 & 31])
    largest = np.where(bits >> 15, of_two, of_three)
    with np.errstate(divide="ignore"):
        decades = np.maximum(np.log10(largest), NOTHING_CODED_DB)
    levels: Levels = (decades * _DB_PER_DECADE + _OFFSET_DB - _UNIT_GAIN * _DB_PER_GAIN_STEP).astype(np.float32)
    return levels


@cache
def _amplifications(compress_bits: int) -> Levels:
    """Return the usual amplification in dB of the lower bands, by scalefac_compress."""
    widths = _WIDTHS if compress_bits == 4 else [_width(compress) for compress in range(512)]
    return (_DB_PER_SCALE_FACTOR * (2.0 ** np.array(widths) - 1)).astype(np.float32)


def _width(compress: int) -> int:
    """Return the width of the scale factors of the lowest bands in MPEG 2."""
    if compress < 400:
        return (compress >> 4) // 5
    return (compress - 400 >> 2) // 5 if compress < 500 else (compress - 500) // 3

"""Estimates the loudness of an mp3 over time without decoding it, for a picture of the recording.

The side information of every layer III granule (half a frame in MPEG 1, a frame in MPEG 2 and 2.5) has a "global gain",
the quantizer step in units of 1.5 dB, and its Huffman tables, which bound the largest value (ISO/IEC 11172-3, 2.4.1.7 and
2.4.2.7; the lower sampling frequencies 13818-3, 2.4.1.7). Together they follow the decoded level within 5 to 10 dB over a
quarter of a second: enough to see who speaks when, but not a measurement.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import log10
from statistics import median

from callarchive.mp3.frames import Stream, channels_of, read_length_claim, stream_of

FLOOR_DB = -60.0
"""The lowest level, relative to the loud parts of the file; silence is there too."""

_SYNC = re.compile(rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]")
_HEADERS_IN_A_ROW = 3
_SILENCE_DB = -1000.0
_DB_PER_STEP = 20 * log10(2) / 4
# The largest value of each Huffman table without linbits (11172-3, annex B, table 3-B.7); 15 or more with linbits.
_LARGEST = (1, 1, 2, 2, 2, 3, 3, 5, 5, 5, 7, 7, 7, 15, 15, 15)
_LINBITS = (1, 2, 3, 4, 6, 8, 10, 13, 4, 5, 6, 7, 8, 9, 11, 13)


@dataclass(frozen=True, slots=True)
class Level:
    """The loudness from `at_s` on, from `FLOOR_DB` to 0, the level that the loudest 2 % of the file reach."""

    at_s: float
    level_db: float


def loudness(data: bytes, *, window_s: float = 0.25) -> list[Level]:
    """Return a level for every `window_s` seconds of layer III audio. Bytes between frames are skipped and take no time."""
    windows: list[list[float]] = []
    at_s = 0.0
    for stream, frame in _frames(data):
        granules = _granules(stream, frame)
        for level_db in granules:
            number = int(at_s / window_s)
            while len(windows) <= number:
                windows.append([])
            windows[number].append(level_db)
            at_s += stream.samples / len(granules) / stream.sample_rate_hz
    # Not the mean: with bits to spare, or at an attack, encoders set single granules 30 dB above their neighbours.
    levels = [median(window) if window else _SILENCE_DB for window in windows]
    if not levels:
        return []
    loud = sorted(levels)[int(0.98 * (len(levels) - 1))]
    return [
        Level(number * window_s, min(0.0, max(FLOOR_DB, level_db - loud)) if level_db > _SILENCE_DB else FLOOR_DB)
        for number, level_db in enumerate(levels)
    ]


def _frames(data: bytes) -> Iterator[tuple[Stream, bytes]]:
    """Yield the complete layer III frames, except the header frame."""
    at = 0
    is_first = True
    while (found := _next_frame(data, at)) is not None:
        at, stream = found
        while length := stream.lengths.get(data[at : at + 3]):
            frame = data[at : at + length]
            if len(frame) == length and stream.layer == 3 and not (is_first and read_length_claim(frame)):
                yield stream, frame
            is_first = False
            at += length


def _next_frame(data: bytes, at: int) -> tuple[int, Stream] | None:
    """Return where the next run of headers of one stream begins, and the stream."""
    for match in _SYNC.finditer(data, at):
        stream = stream_of(data[match.start() : match.start() + 3])
        if stream is None:
            continue
        place = match.start()
        for _ in range(_HEADERS_IN_A_ROW):
            place += stream.lengths.get(data[place : place + 3], len(data))
        if place <= len(data):
            return match.start(), stream
    return None


def _granules(stream: Stream, frame: bytes) -> list[float]:
    """Return the level of each granule's louder channel, in dB relative to an arbitrary level."""
    channel_count = channels_of(frame)
    begin = 4 if frame[1] & 1 else 6  # a CRC precedes the side information
    side = frame[begin : begin + 32]
    bits = int.from_bytes(side.ljust(32, b"\0"), "big")
    if stream.version == 1.0:
        at, step, granule_count, scalefactor_bits = 9 + (5 if channel_count == 1 else 3) + 4 * channel_count, 59, 2, 4
    else:
        at, step, granule_count, scalefactor_bits = 8 + channel_count, 63, 1, 9
    levels = []
    for _ in range(granule_count):
        channels = []
        for _ in range(channel_count):
            channels.append(_level_db(bits, at, scalefactor_bits))
            at += step
        levels.append(max(channels))
    return levels


def _level_db(bits: int, at: int, scalefactor_bits: int) -> float:
    """Return the level of one channel of a granule whose side information begins at this bit."""
    size_bits, big_values, gain = _field(bits, at, 12), _field(bits, at + 12, 9), _field(bits, at + 21, 8)
    if not size_bits:
        return _SILENCE_DB  # nothing is coded
    at += 29 + scalefactor_bits
    # Two tables after the window type if windows are switched, else three (11172-3, 2.4.1.7).
    first, count = (at + 4, 2) if _field(bits, at, 1) else (at + 1, 3)
    tables = [_field(bits, first + 5 * number, 5) for number in range(count)] if big_values else [0]
    largest = max(_LARGEST[table] if table < 16 else 14 + (1 << _LINBITS[table - 16]) for table in tables)
    # The power of the largest value is its 8/3rd power (the dequantizer's 4/3, squared), but most values are far smaller.
    return (gain - 210) * _DB_PER_STEP + 15 * log10(largest)


def _field(bits: int, at: int, length: int) -> int:
    return bits >> (256 - at - length) & ((1 << length) - 1)

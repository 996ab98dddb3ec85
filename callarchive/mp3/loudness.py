"""Estimates the loudness of an mp3 over time without decoding it, for a picture of the recording. See `levels`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from callarchive.mp3.frames import Stream, read_length_claim, stream_of
from callarchive.mp3.levels import FRAME_BYTES, Layout

FLOOR_DB = -70.0
"""The lowest level, in dBFS: about that of an idle A-law line."""

_SYNC = re.compile(rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]")
_HEADERS_IN_A_ROW = 3


@dataclass(frozen=True, slots=True)
class Level:
    """The loudness from `at_s` on in dBFS, from `FLOOR_DB` to 0."""

    at_s: float
    level_db: float


def loudness(data: bytes, *, window_s: float = 0.25) -> list[Level]:
    """Return a level for every `window_s` seconds of layer III audio. Bytes between frames are skipped and take no time."""
    windows: list[list[float]] = []
    at_s = 0.0
    for stream, layout, frames in _runs(data):
        granules = _granules(layout, frames)
        granule_s = stream.samples / layout.granule_count / stream.sample_rate_hz
        for level_db in granules:
            number = int(at_s / window_s)
            windows += ([] for _ in range(number + 1 - len(windows)))
            windows[number].append(level_db)
            at_s += granule_s
    # Not the mean: with bits to spare, or at an attack, encoders set single granules 30 dB above their neighbours.
    levels = (float(np.median(window)) if window else FLOOR_DB for window in windows)
    return [Level(number * window_s, min(0.0, max(FLOOR_DB, level_db))) for number, level_db in enumerate(levels)]


def _granules(layout: Layout, frames: list[bytes]) -> list[float]:
    """Return the level of each granule's louder channel."""
    joined = b"".join(frame[:FRAME_BYTES].ljust(FRAME_BYTES, b"\0") for frame in frames)
    levels = [
        np.maximum.reduce(
            [
                layout.levels(joined, frame_bytes=FRAME_BYTES, granule=granule, channel=channel)
                for channel in range(layout.channel_count)
            ]
        )
        for granule in range(layout.granule_count)
    ]
    granules: list[float] = np.stack(levels, 1).ravel().tolist()
    return granules


def _runs(data: bytes) -> Iterator[tuple[Stream, Layout, list[bytes]]]:
    """Yield runs of complete layer III frames with one layout, without the header frame."""
    at = 0
    is_first = True
    while (found := _next_frame(data, at)) is not None:
        at, stream = found
        layout, frames = None, list[bytes]()
        while length := stream.lengths.get(data[at : at + 3]):
            frame = data[at : at + length]
            at += length
            if len(frame) < length or stream.layer != 3 or (is_first and read_length_claim(frame)):
                is_first = False
                continue
            is_first = False
            if (own := Layout.of(stream, frame)) != layout:
                if layout is not None:
                    yield stream, layout, frames
                layout, frames = own, []
            frames.append(frame)
        if layout is not None:
            yield stream, layout, frames


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

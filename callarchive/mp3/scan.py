"""Walks from frame to frame through bytes that arrive in chunks, and records gaps.

Tags before and after the audio are handled in `walk`, and what the result means in `verdict`.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from callarchive.mp3.frames import LONGEST_FRAME_BYTES, LengthClaim, Stream, channels_of, read_length_claim, stream_of
from callarchive.mp3.main_data import main_data_of
from callarchive.mp3.silence import SilenceMeter
from callarchive.mp3.tags import headless_tag_length_bytes, tag_length_bytes

# Any valid version and layer; a bitrate that is neither free nor forbidden.
_SYNC = re.compile(rb"\xff(?=[\xe2-\xe7\xf2-\xf7\xfa-\xff][\x10-\xef])")
# In other data, the three bytes above occur about once in 4,000 bytes, a second header where the first one predicts it once
# in 2**28 bytes, a third once in 2**45. A known stream is resumed after two.
_HEADERS_TO_BEGIN = 3
_HEADERS_TO_RESUME = 2
# Three frames and the header of a fourth: no decision depends on later bytes.
_LOOKAHEAD_BYTES = 3 * LONGEST_FRAME_BYTES + 64
_HEADER_BYTES = 4
# A constant bitrate produces runs of hundreds of equal headers, which are counted at once.
_SHORTEST_RUN = 16
# A search of all data for headers costs as much as a hundred frames in a loop, so it begins only behind some frames.
_FIRST_FRAMES = 32


@dataclass(frozen=True, slots=True)
class Gap:
    """`size_bytes` bytes at `offset` between frames that are neither frames nor tags."""

    offset: int
    at_s: float
    size_bytes: int


@dataclass(slots=True)
class ScanResult:
    """What a scan found. Offsets are relative to the file.

    Attributes:
        samples: the samples of all frames, by sampling frequency in Hz.
        audio_bytes: the bytes of all frames.
        begin: the offset of the first frame (the header frame if there is one); None if there is none.
        end: the offset after the last complete frame.
        claim: what the header frame declares.
        first_gap, gap_count, gap_bytes: gaps between frames, not before the first or after the last.
        cut_frame_bytes: the existing and the expected bytes of the last frame if it is incomplete.
        rest_offset: the offset after the last frame and the tags that follow it.
        rest_is_zero: whether only zero bytes follow (the first three may belong to a frame header).
        last_bytes: the last bytes of the last complete frame, and of those before it.
    """

    sample_rate_hz: int = 0
    channels: int = 0
    silent_channels: tuple[int, ...] | None = None
    frame_count: int = 0
    samples: Counter[int] = field(default_factory=Counter)
    audio_bytes: int = 0
    begin: int | None = None
    end: int = 0
    claim: LengthClaim | None = None
    samples_per_frame: int = 0
    first_gap: Gap | None = None
    gap_count: int = 0
    gap_bytes: int = 0
    cut_frame_bytes: tuple[int, int] | None = None
    rest_offset: int = 0
    rest_is_zero: bool = True
    last_bytes: bytes = b""

    @property
    def raw_duration_s(self) -> float:
        """The duration of all frames, encoder delay and padding included."""
        return sum(samples / rate for rate, samples in self.samples.items())


class FrameScan:
    """A scan of bytes in chunks of any size. It holds back at most `_LOOKAHEAD_BYTES` of them.

    Attributes:
        begin, offset: the offsets of the first byte fed and of the first byte not scanned yet.
        free_format: the stream of free-format frames that may be there besides others.
    """

    def __init__(self, *, offset: int, free_format: Stream | None = None) -> None:
        self.begin = self.offset = offset
        self.result = ScanResult(end=offset, rest_offset=offset)
        self._held = b""
        self._stream: Stream | None = None
        self._in_sync = self._in_tags = False
        self._free_format = free_format
        headers = (*map(re.escape, free_format.lengths), _SYNC.pattern) if free_format is not None else ()
        self._sync = re.compile(b"|".join(headers)) if headers else _SYNC
        self._silence = SilenceMeter()

    def feed(self, chunk: bytes) -> None:
        """Scan the chunk, except its last bytes."""
        self._walk(self._held + chunk, is_last=False)

    def finish(self) -> ScanResult:
        """Scan the bytes held back and return the result."""
        self._walk(self._held, is_last=True)
        self.result.silent_channels = self._silence.silent_channels(self.result.channels)
        return self.result

    def _walk(self, data: bytes, *, is_last: bool) -> None:
        at = 0
        while True:
            if self._in_sync and self._stream is not None:
                at = self._walk_frames(data, at, self._stream)
            if is_last:
                limit = len(data)
                if self._in_sync and self._note_cut_frame(data, at):
                    break
            else:
                limit = len(data) - _LOOKAHEAD_BYTES
                if at >= limit:
                    break
            if self._in_sync:
                self._lose_sync(at)
            if self._in_tags:
                self._pass_tags(data, limit)
            found = self._find_frame(data, at, limit)
            self._look_for_zeros(data, at, limit if found is None else found)
            if found is None:
                at = max(at, limit)
                break
            at = self._enter(data, found)
        self._held = b"" if is_last else data[at:]
        self.offset += len(data) if is_last else at

    def _walk_frames(self, data: bytes, at: int, stream: Stream) -> int:
        """Count the complete frames of this stream and return where they end. The speed of the walk depends on this loop."""
        begin = at
        frame_count = 0
        is_long = False
        while length := stream.lengths.get(data[at : at + 3]):
            run = _frames_alike(data, at, length)
            if run:
                starts: Sequence[int] | NDArray[np.intp] = range(at, at + run * length, length)
            else:
                starts = (_all_frames if is_long else _first_frames)(data, at, stream)
                is_long = not is_long  # where frames are few, the loop is faster
            at = int(starts[-1])
            end = at + stream.lengths[data[at : at + 3]]
            if end > len(data):
                starts = starts[:-1]
            frame_count += len(starts)
            self._silence.add(data, starts, stream)
            if end > len(data):
                break
            at = end
        if frame_count:
            self._count(data, begin, at, frame_count, stream)
        return at

    def _count(self, data: bytes, begin: int, end: int, frame_count: int, stream: Stream) -> None:
        result = self.result
        self._note_first(data, begin, stream)
        result.frame_count += frame_count
        result.samples[stream.sample_rate_hz] += frame_count * stream.samples
        result.audio_bytes += end - begin
        result.end = result.rest_offset = self.offset + end
        result.last_bytes = data[max(begin, end - 2 * LONGEST_FRAME_BYTES) : end]

    def _note_first(self, data: bytes, at: int, stream: Stream) -> None:
        """Record the properties of the first frame."""
        if not self.result.frame_count:
            self.result.sample_rate_hz = stream.sample_rate_hz
            self.result.channels = channels_of(data[at : at + _HEADER_BYTES])
            self.result.samples_per_frame = stream.samples

    def _note_cut_frame(self, data: bytes, at: int) -> bool:
        """Return whether the data end in or after a frame. Half a frame counts as one, because decoders complete it."""
        left = data[at:]
        if len(left) < _HEADER_BYTES:
            header_begins = bool(left) and any(header.startswith(left[:3]) for header in self._known_lengths)
            if header_begins:
                self.result.cut_frame_bytes = (len(left), _HEADER_BYTES)
            return header_begins or not left
        length = self._known_lengths.get(left[:3])
        if length is None:
            return False
        self.result.cut_frame_bytes = (len(left), length)
        if 2 * len(left) >= length and self._stream is not None:
            self._note_first(data, at, self._stream)
            self.result.frame_count += 1
            self.result.samples[self._stream.sample_rate_hz] += self._stream.samples
            self.result.audio_bytes += length
        return True

    @property
    def _known_lengths(self) -> dict[bytes, int]:
        return self._stream.lengths if self._stream is not None else {}

    def _lose_sync(self, at: int) -> None:
        """Record where the frames end."""
        self._in_sync, self._in_tags = False, True
        self.result.end = self.result.rest_offset = self.offset + at
        self.result.rest_is_zero = True

    def _pass_tags(self, data: bytes, limit: int) -> None:
        """Skip tags behind the frames by their declared lengths."""
        after = self.result.rest_offset - self.offset
        while after < limit and (length := tag_length_bytes(data, after) or headless_tag_length_bytes(data, after)):
            after += length
        self.result.rest_offset = self.offset + after
        self._in_tags = after >= limit  # the next tag may not be there yet

    def _stream_of(self, header: bytes) -> Stream | None:
        return self._free_format if self._free_format and header in self._free_format.lengths else stream_of(header)

    def _look_for_zeros(self, data: bytes, begin: int, end: int) -> None:
        begin = max(begin, self.result.rest_offset + 3 - self.offset)
        if self.result.rest_is_zero and begin < end:
            self.result.rest_is_zero = not data[begin:end].strip(b"\0")

    def _find_frame(self, data: bytes, at: int, limit: int) -> int | None:
        """Return where the first frame from `at` on begins that others follow, None if there is none before `limit`."""
        for match in self._sync.finditer(data, at, max(at, limit) + _HEADER_BYTES):
            if match.start() < limit and self._is_followed(data, match.start()):
                return match.start()
        return None

    def _is_followed(self, data: bytes, at: int) -> bool:
        """Return whether enough headers of one stream follow at the predicted positions to rule out coincidence."""
        stream = self._stream_of(data[at : at + 3])
        if stream is None:
            return False
        for number in range(_HEADERS_TO_RESUME if stream is self._stream else _HEADERS_TO_BEGIN):
            if at + 3 > len(data):
                return number >= _HEADERS_TO_RESUME
            length = stream.lengths.get(data[at : at + 3])
            if length is None:
                return False
            at += length
        return True

    def _enter(self, data: bytes, at: int) -> int:
        """Begin or resume at the frame found, and return where counting begins: at that frame or after it."""
        result = self.result
        offset = self.offset + at
        stream = self._stream = self._stream_of(data[at : at + 3])
        self._in_sync, self._in_tags = True, False
        after = at + (stream.lengths[data[at : at + 3]] if stream is not None else 0)
        if result.begin is None:
            result.begin = result.end = result.rest_offset = offset
            result.claim = read_length_claim(data[at:after], stream)
            return at if result.claim is None else after
        if offset == result.end:
            return at
        gap_bytes = offset - result.rest_offset
        if gap_bytes <= 0:  # only tags, which leave the decoder's state as it is
            return at
        result.gap_count += 1
        result.gap_bytes += gap_bytes
        result.first_gap = result.first_gap or Gap(result.rest_offset, result.raw_duration_s, gap_bytes)
        main_data = main_data_of(data[at:after])
        # Decoders that have lost the earlier frames, where the data of this one begin, output nothing for it.
        return after if main_data is not None and main_data.borrowed_bytes else at


def _frames_alike(data: bytes, at: int, length: int) -> int:
    """Return how many complete frames of this length and with equal headers follow from `at` on; 0 for a short run."""
    last_bytes = data[at + 2 : at + _SHORTEST_RUN * length : length]
    if len(last_bytes) < _SHORTEST_RUN or last_bytes.count(last_bytes[0]) < _SHORTEST_RUN:
        return 0
    run = (len(data) - at) // length
    end = at + run * length
    for number in range(3):
        column = data[at + number : end : length]  # byte `number` of each header
        run = min(run, len(column) - len(column.lstrip(column[:1])))
    return run


def _first_frames(data: bytes, at: int, stream: Stream) -> list[int]:
    """Return where some frames that follow each other from `at` on begin."""
    starts: list[int] = []
    while len(starts) < _FIRST_FRAMES and (length := stream.lengths.get(data[at : at + 3])):
        starts.append(at)
        at += length
    return starts


def _all_frames(data: bytes, at: int, stream: Stream) -> NDArray[np.intp]:
    """Return where the frames that follow each other from `at` on begin; few of them where others seem to be inside."""
    count = len(data) - 2 - at
    starts = np.flatnonzero(np.frombuffer(data, np.uint8, count, at) == 0xFF)
    lengths = stream.length_table[np.ndarray(count, ">u2", data, at + 1, (1,))[starts]]
    starts = starts[lengths > 0]
    ends = starts + lengths[lengths > 0]
    inside = starts[1:] < ends[:-1]
    if inside.any():  # bytes like a header; what follows them at once is the next frame
        kept = np.ones(len(starts), bool)
        kept[1:] = ~inside
        kept[2:] |= inside[:-1]
        starts, ends = starts[kept], ends[kept]
    follow = starts[1:] == ends[:-1]
    followed = len(starts) if follow.all() else int(follow.argmin()) + 1
    found: NDArray[np.intp] = starts[:followed] + at
    return found

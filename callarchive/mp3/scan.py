"""The walk from frame to frame through bytes that come in pieces: what was heard, and where the walk lost its step.

Tags before and after the audio are not known here (see `walk`), nor whether what was found amounts to an issue.
"""

import re
from collections import Counter
from dataclasses import dataclass, field

from callarchive.mp3.frames import LONGEST_FRAME_BYTES, LengthClaim, Stream, channels_of, read_length_claim, stream_of
from callarchive.mp3.tags import tag_length_bytes

# Any valid version and layer; a bitrate that is neither free nor forbidden.
_SYNC = re.compile(rb"\xff(?=[\xe2-\xe7\xf2-\xf7\xfa-\xff][\x10-\xef])")
# In data that is no audio, the three bytes above occur about every 4,000 bytes, a second header at the place that the
# first one tells about once in 2**28 bytes, a third once in 2**45. A stream that is known already is taken up again
# after two.
_HEADERS_TO_BEGIN = 3
_HEADERS_TO_RESUME = 2
# Enough for three frames and the header of a fourth: with so many bytes at hand no decision depends on later ones.
_LOOKAHEAD_BYTES = 3 * LONGEST_FRAME_BYTES + 64
_HEADER_BYTES = 4
# A constant bitrate gives runs of hundreds of equal headers, which are counted at once. Looking for one that is not there
# costs as much as walking three frames.
_WORTH_A_LOOK = 16
_FRAMES_BETWEEN_LOOKS = 48


@dataclass(frozen=True, slots=True)
class Gap:
    """A place where no frame followed the last: `size_bytes` from `offset` on that are neither frames nor tags."""

    offset: int
    at_s: float
    size_bytes: int


@dataclass(slots=True)
class Heard:
    """What a scan found. Offsets are in the file.

    Attributes:
        samples: heard, by sampling frequency in Hz.
        audio_bytes: of the frames heard.
        begin: offset of the first frame (the header frame if there is one); null if there is none.
        end: offset behind the last whole frame.
        claim: of the header frame.
        first_gap, gap_count, gap_bytes: between frames, not before the first or after the last.
        cut_frame_bytes: of the last frame, how many bytes are there and how many there should be; null if it is whole.
        rest_offset: where what follows the last frame (and tags behind it) begins.
        rest_is_zero: whether it is nothing but zero bytes (the first three may belong to the header of a frame).
        last_frame_zeroed: whether the last whole frame ends in zero bytes, as it does where zeros were written over it.
    """

    sample_rate_hz: int = 0
    channels: int = 0
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
    last_frame_zeroed: bool = False

    @property
    def raw_duration_s(self) -> float:
        """Of all frames heard, before encoder delay and padding are taken off."""
        return sum(samples / rate for rate, samples in self.samples.items())


class FrameScan:
    """Walks bytes that are fed in pieces of any size; it holds back at most `_LOOKAHEAD_BYTES` of them.

    Attributes:
        begin, offset: in the file, of the first byte fed and of the first byte not walked yet.
    """

    def __init__(self, *, offset: int) -> None:
        self.begin = self.offset = offset
        self.heard = Heard(end=offset, rest_offset=offset)
        self._held = b""
        self._stream: Stream | None = None
        self._in_step = False

    def feed(self, piece: bytes) -> None:
        """The piece has been walked, but for its last bytes."""
        self._walk(self._held + piece, is_last=False)

    def finish(self) -> Heard:
        """All bytes have been walked."""
        self._walk(self._held, is_last=True)
        return self.heard

    def _walk(self, data: bytes, *, is_last: bool) -> None:
        at = 0
        while True:
            if self._in_step and self._stream is not None:
                at = self._step(data, at, self._stream)
            if is_last:
                limit = len(data)
                if self._in_step and self._note_cut_frame(data, at):
                    break
            else:
                limit = len(data) - _LOOKAHEAD_BYTES
                if at >= limit:
                    break
            if self._in_step:
                self._in_step = False
                self._lose_step(data, at)
            found = self._find_frame(data, at, limit)
            self._look_for_zeros(data, at, limit if found is None else found)
            if found is None:
                at = max(at, limit)
                break
            at = self._enter(data, found)
        self._held = b"" if is_last else data[at:]
        self.offset += len(data) if is_last else at

    def _step(self, data: bytes, at: int, stream: Stream) -> int:
        """The place behind the last whole frame of this stream, all of them counted. This loop is the walk's speed."""
        begin = at
        length = frame_count = 0
        length_by_header = stream.lengths.get
        while next_length := length_by_header(data[at : at + 3]):
            length = next_length
            run = _frames_alike(data, at, length)
            at += run * length
            frame_count += run
            for _ in range(_FRAMES_BETWEEN_LOOKS):
                next_length = length_by_header(data[at : at + 3])
                if not next_length:
                    break
                length = next_length
                at += length
                frame_count += 1
        if at > len(data):
            at -= length
            frame_count -= 1
        if frame_count:
            self._count(data, begin, at, frame_count, stream)
        return at

    def _count(self, data: bytes, begin: int, end: int, frame_count: int, stream: Stream) -> None:
        heard = self.heard
        self._note_first(data, begin, stream)
        heard.frame_count += frame_count
        heard.samples[stream.sample_rate_hz] += frame_count * stream.samples
        heard.audio_bytes += end - begin
        heard.end = heard.rest_offset = self.offset + end
        heard.last_frame_zeroed = not any(data[end - 4 : end])

    def _note_first(self, data: bytes, at: int, stream: Stream) -> None:
        """What the first frame that is heard tells of all."""
        if not self.heard.frame_count:
            self.heard.sample_rate_hz = stream.sample_rate_hz
            self.heard.channels = channels_of(data[at : at + _HEADER_BYTES])
            self.heard.samples_per_frame = stream.samples

    def _note_cut_frame(self, data: bytes, at: int) -> bool:
        """Whether the data end within a frame, or with it. Half a frame is heard as a frame: decoders fill it up."""
        left = data[at:]
        if len(left) < _HEADER_BYTES:
            header_begins = bool(left) and any(header.startswith(left[:3]) for header in self._known_lengths)
            if header_begins:
                self.heard.cut_frame_bytes = (len(left), _HEADER_BYTES)
            return header_begins or not left
        length = self._known_lengths.get(left[:3])
        if length is None:
            return False
        self.heard.cut_frame_bytes = (len(left), length)
        if 2 * len(left) >= length and self._stream is not None:
            self._note_first(data, at, self._stream)
            self.heard.frame_count += 1
            self.heard.samples[self._stream.sample_rate_hz] += self._stream.samples
            self.heard.audio_bytes += length
        return True

    @property
    def _known_lengths(self) -> dict[bytes, int]:
        return self._stream.lengths if self._stream is not None else {}

    def _lose_step(self, data: bytes, at: int) -> None:
        """What follows the last frame is open: tags that begin there are told from damage by the length they claim."""
        behind = at
        while length := tag_length_bytes(data, behind):
            behind += length
        self.heard.end = self.offset + at
        self.heard.rest_offset = self.offset + behind
        self.heard.rest_is_zero = True

    def _look_for_zeros(self, data: bytes, begin: int, end: int) -> None:
        begin = max(begin, self.heard.rest_offset + 3 - self.offset)
        if self.heard.rest_is_zero and begin < end:
            self.heard.rest_is_zero = not data[begin:end].strip(b"\0")

    def _find_frame(self, data: bytes, at: int, limit: int) -> int | None:
        """The place of the first frame from `at` on that others follow, or null if none begins before `limit`."""
        for match in _SYNC.finditer(data, at, max(at, limit) + _HEADER_BYTES):
            if match.start() < limit and self._is_followed(data, match.start()):
                return match.start()
        return None

    def _is_followed(self, data: bytes, at: int) -> bool:
        """Whether headers of one stream stand where the first one says, so many that it is no accident."""
        stream = stream_of(data[at : at + 3])
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
        """The place from which frames are heard: that of the found frame, or behind it."""
        heard = self.heard
        offset = self.offset + at
        stream = self._stream = stream_of(data[at : at + 3])
        self._in_step = True
        behind = at + (stream.lengths[data[at : at + 3]] if stream is not None else 0)
        if heard.begin is None:
            heard.begin = heard.end = heard.rest_offset = offset
            heard.claim = read_length_claim(data[at:behind])
            return at if heard.claim is None else behind
        if offset == heard.end:
            return at
        gap_bytes = offset - heard.rest_offset
        if gap_bytes > 0:
            heard.gap_count += 1
            heard.gap_bytes += gap_bytes
            heard.first_gap = heard.first_gap or Gap(heard.rest_offset, heard.raw_duration_s, gap_bytes)
        # What a frame plays begins in the bytes of the frames before it (the bit reservoir): decoders that have lost
        # those, behind damage or a tag, give out nothing for the first frame.
        return behind


def _frames_alike(data: bytes, at: int, length: int) -> int:
    """How many whole frames of this length follow one another from `at` on whose headers begin with the same three bytes.

    0 if that is fewer than are worth counting so.
    """
    last_bytes = data[at + 2 : at + _WORTH_A_LOOK * length : length]
    if len(last_bytes) < _WORTH_A_LOOK or last_bytes.count(last_bytes[0]) < _WORTH_A_LOOK:
        return 0
    run = (len(data) - at) // length
    end = at + run * length
    for number in range(3):
        column = data[at + number : end : length]  # the headers' bytes of this number, one after the other
        run = min(run, len(column) - len(column.lstrip(column[:1])))
    return run

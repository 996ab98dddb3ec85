"""Recordings for the simulator: valid mp3 files of any length in the shapes of several encoders, and ways to break them.

No encoder is needed. Frames of the clips in `clips/` (made by `tools/make_clips.py`, speech-like, without a bit reservoir) are
arranged by a seed, and header frames and tags are added like those of the encoders.
"""

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import accumulate

from callarchive.mp3.frames import Stream, channels_of, stream_of
from callarchive.mp3.tags import tag_length_bytes

# LAME's encoder delay, to which the decoder's is added.
_ENCODER_DELAY = 576
_DECODER_DELAY = 529
# A few syllables, so that the result still sounds like speech and short recordings differ.
_PIECE_FRAMES = (8, 30)


@dataclass(frozen=True, slots=True)
class _Shape:
    clip: str
    header: str | None = None
    tag: str | None = None


_SHAPES = {
    "lame_cbr_8k_mono": _Shape("lame_8k_mono_cbr16"),
    "lame_cbr_16k_mono": _Shape("lame_16k_mono_cbr32", header="Info"),
    "lame_vbr_16k_mono": _Shape("lame_16k_mono_vbr", header="Xing"),
    "vbr_11k_no_header": _Shape("lame_11k_mono_vbr"),
    "vbri_16k_mono": _Shape("lame_16k_mono_vbr", header="VBRI"),
    "ffmpeg_cbr_22k_no_xing": _Shape("ffmpeg_22k_mono_cbr32"),
    "mpeg1_44k_stereo": _Shape("lame_44k_stereo_cbr64", header="Info"),
    "id3v2_8k_mono": _Shape("lame_8k_mono_cbr16", tag="id3v2"),
    "id3v1_16k_mono": _Shape("lame_16k_mono_cbr32", header="Info", tag="id3v1"),
    "ape_22k_mono": _Shape("ffmpeg_22k_mono_cbr32", tag="ape"),
}

SHAPES: tuple[str, ...] = tuple(_SHAPES)
"""The shapes of `make_recording`."""


def make_recording(*, shape: str, duration_s: float, seed: int) -> bytes:
    """Return a valid mp3 of this shape and duration, to within a frame.

    The same arguments return the same bytes. Different seeds return different bytes, certainly if they have fewer bits than the
    file has frames.
    """
    made = _SHAPES[shape]
    stream, clip = _clip(made.clip)
    samples = round(duration_s * stream.sample_rate_hz)
    # Players skip the delays of encoder and decoder if a header frame has them.
    delay = _ENCODER_DELAY + _DECODER_DELAY if made.header in ("Info", "Xing") else 0
    frame_count = max(3, -(-(samples + delay) // stream.samples) if delay else round(samples / stream.samples))
    frames = _sign(_arrange(clip, frame_count, random.Random(seed)), seed)
    padding = max(0, frame_count * stream.samples - _ENCODER_DELAY - samples)
    if made.header == "VBRI":
        frames.insert(0, _vbri_frame(frames))
    elif made.header is not None:
        frames.insert(0, _xing_frame(made.header, frames, padding=padding))
    return _tag(b"".join(frames), made.tag, seed)


def break_recording(data: bytes, how: str) -> bytes:
    """Return the recording with a fault, or what replaced it.

    `how` is one of `FAULTS`. Cuts, zeros and holes begin and end within a frame.
    """
    return _FAULTS[how](data)


@cache
def _clip(name: str) -> tuple[Stream, tuple[bytes, ...]]:
    data = (files("callarchive.simulator") / "clips" / f"{name}.mp3").read_bytes()
    stream = stream_of(data)
    if stream is None:
        raise ValueError(f"the clip {name} does not begin with a frame")
    return stream, tuple(data[begin:end] for begin, end in _frame_spans(data))


def _frame_spans(data: bytes) -> list[tuple[int, int]]:
    """Return the start and end of each frame of a valid file."""
    at = tag_length_bytes(data, 0)
    spans = []
    while (stream := stream_of(data[at : at + 3])) is not None:
        end = at + stream.lengths[data[at : at + 3]]
        spans.append((at, end))
        at = end
    return spans


def _arrange(clip: tuple[bytes, ...], frame_count: int, rng: random.Random) -> list[bytes]:
    """Return random pieces of the clip in sequence."""
    frames: list[bytes] = []
    while len(frames) < frame_count:
        length = rng.randint(*_PIECE_FRAMES)
        begin = rng.randrange(max(1, len(clip) - length))
        frames += clip[begin : begin + length]
    return frames[:frame_count]


def _sign(frames: list[bytes], seed: int) -> list[bytes]:
    """Return the frames with the bits of the seed in their private bits.

    Decoders ignore these. ffmpeg does not ignore the copyright and original bits: it starts only where they are constant.
    """
    return [
        frame[:2] + bytes((frame[2] & 0xFE | seed >> number & 1,)) + frame[3:] for number, frame in enumerate(frames)
    ]


def _silent_frame(like: bytes, room_bytes: int) -> bytearray:
    """Return a frame of zeros for the same stream, at the lowest bitrate that is long enough."""
    stream = stream_of(like)
    if stream is None:
        raise ValueError("not a frame")
    for bitrate_index in range(1, 15):
        header = bytes((like[0], like[1], bitrate_index << 4 | like[2] & 0x0C, like[3]))
        length = stream.lengths[header[:3]]
        if length >= room_bytes:
            return bytearray(header + bytes(length - 4))
    raise ValueError(f"no frame of this stream has {room_bytes} bytes")


def _xing_frame(kind: str, frames: list[bytes], *, padding: int) -> bytes:
    """Return LAME's header frame (see `mp3.frames.read_length_claim`) with the right counts and table of contents."""
    mono, mpeg1 = channels_of(frames[0]) == 1, frames[0][1] & 0x08
    name_at = 4 + ((17 if mono else 32) if mpeg1 else (9 if mono else 17))
    header = _silent_frame(frames[0], name_at + 156)
    size_bytes = len(header) + sum(map(len, frames))
    ends = [len(header), *accumulate(map(len, frames), initial=len(header))]
    contents = bytes(min(255, 256 * ends[len(frames) * percent // 100] // size_bytes) for percent in range(100))
    delays = (_ENCODER_DELAY << 12 | min(padding, 0xFFF)).to_bytes(3, "big")
    body = kind.encode() + (15).to_bytes(4, "big") + len(frames).to_bytes(4, "big") + size_bytes.to_bytes(4, "big")
    body += contents + (57).to_bytes(4, "big") + b"LAME3.100" + bytes(12) + delays
    header[name_at : name_at + len(body)] = body
    return bytes(header)


def _vbri_frame(frames: list[bytes]) -> bytes:
    """Return Fraunhofer's header frame, with a table of contents of one entry."""
    header = _silent_frame(frames[0], 36 + 26 + 4)
    size_bytes = len(header) + sum(map(len, frames))
    body = b"VBRI" + (1).to_bytes(2, "big") + (4096).to_bytes(2, "big") + (75).to_bytes(2, "big")
    body += size_bytes.to_bytes(4, "big") + len(frames).to_bytes(4, "big")
    # Entries, scale, bytes per entry, frames per entry.
    body += b"".join(number.to_bytes(2, "big") for number in (1, 1, 4, min(len(frames), 0xFFFF)))
    body += size_bytes.to_bytes(4, "big")
    header[36 : 36 + len(body)] = body
    return bytes(header)


def _tag(audio: bytes, tag: str | None, seed: int) -> bytes:
    title = f"Recording {seed}".encode()
    if tag == "id3v2":
        private = b"recorder\0" + random.Random(seed).randbytes(1500)
        body = _id3v2_frame(b"TIT2", b"\0" + title) + _id3v2_frame(b"PRIV", private) + bytes(256)
        return b"ID3\x03\x00\x00" + bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0)) + body + audio
    if tag == "id3v1":
        return audio + b"TAG" + title.ljust(30, b"\0")[:30] + bytes(94) + b"\x0c"
    if tag == "ape":
        item = len(title).to_bytes(4, "little") + bytes(4) + b"Title\0" + title
        fields = b"".join(number.to_bytes(4, "little") for number in (2000, len(item) + 32, 1))
        begin, end = (
            b"APETAGEX" + fields + flags.to_bytes(4, "little") + bytes(8) for flags in (0xA0000000, 0x80000000)
        )
        return audio + begin + item + end
    return audio


def _id3v2_frame(name: bytes, content: bytes) -> bytes:
    return name + len(content).to_bytes(4, "big") + b"\0\0" + content


def _middle_of_frame(data: bytes, share: float) -> int:
    """Return the position of the middle of the frame at this share of the frames."""
    spans = _frame_spans(data)
    begin, end = spans[min(int(len(spans) * share), len(spans) - 1)]
    return (begin + end) // 2


def _zero_tail(data: bytes) -> bytes:
    begin = _middle_of_frame(data, 0.75)
    return data[:begin] + bytes(len(data) - begin)


def _hole(data: bytes) -> bytes:
    begin, end = _middle_of_frame(data, 0.5), _middle_of_frame(data, 0.56)
    # Without 0xFF no decoder mistakes the noise for a frame, so all agree on the duration.
    noise = random.Random(zlib.crc32(data)).randbytes(end - begin).replace(b"\xff", b"\0")
    return data[:begin] + noise + data[end:]


def _html(data: bytes) -> bytes:
    return (
        b"<!DOCTYPE html>\n<html><head><title>503 Service Unavailable</title></head>\n<body><h1>Service Unavailable</h1>\n"
        b"<p>No server is available to handle this request. Reference %08x.</p></body></html>\n" % zlib.crc32(data)
    )


_FAULTS: dict[str, Callable[[bytes], bytes]] = {
    "cut_half": lambda data: data[: _middle_of_frame(data, 0.5)],
    "cut_mid_frame": lambda data: data[: _middle_of_frame(data, 1.0)],
    "zero_tail": _zero_tail,
    "hole": _hole,
    "html": _html,
    "empty": lambda _: b"",
}

FAULTS: tuple[str, ...] = tuple(_FAULTS)
"""The faults of `break_recording`."""

"""Determines where the data of a layer III frame begin and end.

They ("main data") begin up to 511 bytes before the frame's header, in space that earlier frames left, and may end before
the frame does. What follows is data of the next frames, or stuffing: zeros, or LAME's name and then zeros. Source: ISO/IEC
11172-3, 2.4.1.7 and 2.4.2.7; the lower sampling frequencies 13818-3, 2.4.1.7.
"""

from dataclasses import dataclass

from callarchive.mp3.frames import LONGEST_FRAME_BYTES, channels_of, stream_of

# Coded values end in a few zero bytes at most.
_ZEROS_IN_DATA_BYTES = 4
# A frame's header, its CRC, and the first bytes of the side information: not all 0 even in a silent frame.
_LONGEST_HEADER_BYTES = 9


@dataclass(frozen=True, slots=True)
class MainData:
    """Where a frame's data are.

    Attributes:
        own: the bytes of the frame behind the side information.
        borrowed_bytes: the distance from the beginning of the frame's data to `own`, without headers between them.
        size_bits: of all granules and channels.
    """

    own: bytes
    borrowed_bytes: int
    size_bits: int


def main_data_of(frame: bytes) -> MainData | None:
    """Return where the frame's data are; None if it is not of layer III."""
    stream = stream_of(frame)
    if stream is None or stream.layer != 3:
        return None
    begin = 4 if frame[1] & 1 else 6  # a CRC precedes the side information
    channels = channels_of(frame)
    if stream.version == 1.0:
        side_bytes, borrowed_bits, at, step, granules = (17, 9, 18, 59, 2) if channels == 1 else (32, 9, 20, 59, 4)
    else:
        side_bytes, borrowed_bits, at, step, granules = (9, 8, 9, 63, 1) if channels == 1 else (17, 8, 10, 63, 2)
    side = int.from_bytes(frame[begin : begin + side_bytes].ljust(side_bytes, b"\0"), "big")
    bits = 8 * side_bytes
    return MainData(
        own=frame[begin + side_bytes :],
        borrowed_bytes=side >> (bits - borrowed_bits),
        size_bits=sum(side >> (bits - 12 - at - step * number) & 0xFFF for number in range(granules)),
    )


def ends_overwritten(data: bytes) -> bool:
    """Return whether the last frame of the data ends in zeros that replaced data, of this frame or of the next ones."""
    frame = _last_frame_in(data)
    main_data = main_data_of(frame)
    if main_data is None or frame[-1]:
        return False
    if not any(frame[_LONGEST_HEADER_BYTES:]):
        return True
    own = main_data.own
    kept_bytes = len(own.rstrip(b"\0"))
    end_bit = main_data.size_bits - 8 * main_data.borrowed_bytes
    if not kept_bytes and end_bit < 0:
        # The frame's data end in front of its header: if other data follow them there, they continued behind it.
        return any(data[-len(frame) + max(-_ZEROS_IN_DATA_BYTES, end_bit // 8) : -len(frame)])
    end_bit = max(0, end_bit)
    if 8 * kept_bytes < end_bit + 8:
        return 8 * (kept_bytes + _ZEROS_IN_DATA_BYTES) < end_bit
    behind = int.from_bytes(own, "big") << end_bit & ((1 << 8 * len(own)) - 1)
    return not behind.to_bytes(len(own), "big").startswith(b"LAME")


def _last_frame_in(data: bytes) -> bytes:
    """Return the frame that ends where the data end; empty if there is none."""
    at = len(data)
    while (at := data.rfind(b"\xff", max(0, len(data) - LONGEST_FRAME_BYTES), at)) >= 0:
        stream = stream_of(data[at : at + 3])
        if stream is not None and stream.lengths[data[at : at + 3]] == len(data) - at:
            return data[at:]
    return b""

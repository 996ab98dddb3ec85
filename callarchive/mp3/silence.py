"""Finds the channels of a recording with nothing to hear, from the levels of granules that are spread evenly over it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from callarchive.mp3.frames import Stream
from callarchive.mp3.levels import HEAD_BYTES, NOTHING_CODED_DB, Layout, Levels

AUDIBLE_DB = -52.0
"""Estimated level above which a granule is audible.

Over 37 settings of LAME, libshine and lamejs, the loudest estimates were at most -55 for comfort noise of -60 dBm0 (-66 dBFS)
and for idle lines, and at least -48 for speech of -46 dBFS, 20 dB below the usual level.
"""

_SPACING_S = 0.08
"""The longest time between two samples, unless a frame is longer: a short word has four."""
_FEWEST_PAIRS = 3
"""Two audible samples in a row, three times: a short word, not a click."""
_FEWEST_SINGLES, _SHARE_OF_SINGLES = 6, 0.05
"""Audible samples anywhere: quiet speech at a variable bit rate, whose estimates are low. Comfort noise has 2 % at most."""
_SAMPLES_AT_ONCE = 4096
_HEAD = np.dtype((np.void, HEAD_BYTES))
_SAME_ENERGY_DB = 12.0
_MONO, _JOINT, _INTENSITY, _SUM_AND_DIFFERENCE = 0xC0, 1, 0x10, 0x20
_LEFT, _RIGHT, _EITHER = range(3)


class SilenceMeter:
    """Collects the levels of the channels, from one frame about every 80 ms.

    A frame may code the sum and the difference of the channels. If one of these is far louder, it is the level of both
    channels. If not, one of the channels may be silent or not: such frames, and those with intensity stereo, say only that
    there is something to hear.
    """

    def __init__(self) -> None:
        self._layout: Layout | None = None
        self._frame_count = 0
        self._heads: list[bytes] = []
        self._waiting = 0
        self._was_audible = [False] * 3
        self._pair_counts = [0] * 3
        self._counts = [0] * 3
        self._sample_count = 0

    def add(self, data: bytes, starts: Sequence[int] | NDArray[np.intp], stream: Stream) -> None:
        """Add the complete frames that begin in `data` at these offsets, in order."""
        every = max(1, int(_SPACING_S * stream.sample_rate_hz / stream.samples))
        chosen = starts[-self._frame_count % every :: every]
        self._frame_count += len(starts)
        if stream.layer != 3 or not len(chosen):
            return
        layout = Layout.of(stream, data[chosen[0] : chosen[0] + 4])
        if layout != self._layout or self._waiting > _SAMPLES_AT_ONCE:
            self._measure()
            self._layout = layout
        self._waiting += len(chosen)
        if isinstance(chosen, range):
            heads = np.ndarray(len(chosen), _HEAD, data, chosen.start, (chosen.step,))
        else:
            heads = np.ndarray(len(data) - HEAD_BYTES + 1, _HEAD, data, 0, (1,))[np.asarray(chosen)]
        self._heads.append(heads.tobytes())

    def silent_channels(self, channel_count: int) -> tuple[int, ...] | None:
        """Return the channels with nothing to hear, counted from 1; None if that cannot be determined."""
        self._measure()
        needed = min(_FEWEST_PAIRS, self._sample_count - 1)
        if needed < 1:
            return None
        left, right, either = self._pair_counts
        often = max(_FEWEST_SINGLES, _SHARE_OF_SINGLES * self._sample_count)
        sounds = [pairs >= needed or n >= often for pairs, n in zip(self._pair_counts, self._counts, strict=True)]
        if channel_count == 1:
            return () if any(sounds) else (1,)
        silent = tuple(channel + 1 for channel in (_LEFT, _RIGHT) if not sounds[channel])
        return None if silent and either >= max(needed, left, right) else silent

    def _measure(self) -> None:
        """Measure the frames that wait, except those whose layout differs from that of their first."""
        layout = self._layout
        if layout is None or not self._heads:
            return
        joined, self._heads = b"".join(self._heads), []
        self._waiting = 0
        heads = np.frombuffer(joined, np.uint8).reshape(-1, HEAD_BYTES)
        modes = heads[:, 3]
        same = ((modes >= _MONO) == (layout.channel_count == 1)) & (heads[:, 1] == heads[0, 1])
        if not same.all():
            joined, modes = heads[same].tobytes(), modes[same]
        self._sample_count += len(modes)
        first, *others = (
            layout.levels(joined, frame_bytes=HEAD_BYTES, channel=channel) for channel in range(layout.channel_count)
        )
        if others:
            self._count_stereo(modes, first, others[0])
        else:
            self._count(first, first)

    def _count_stereo(self, modes: Any, first: Levels, second: Levels) -> None:
        is_joint = modes >> 6 == _JOINT
        if not is_joint.any():
            self._count(first, second)
            return
        louder = np.maximum(first, second)
        is_sum = is_joint & (modes & _SUM_AND_DIFFERENCE != 0)
        unclear = is_joint & (modes & _INTENSITY != 0) | is_sum & (abs(first - second) < _SAME_ENERGY_DB)
        both = louder - np.float32(3)
        first, second = (
            np.where(unclear, NOTHING_CODED_DB, np.where(is_sum, both, level)) for level in (first, second)
        )
        self._count(first, second, np.where(unclear, both, NOTHING_CODED_DB))

    def _count(self, *levels: Levels) -> None:
        """Count the pairs of audible samples in a row."""
        for place, of_place in enumerate(levels):
            audible = of_place > AUDIBLE_DB
            self._counts[place] += int(np.count_nonzero(audible))
            self._pair_counts[place] += int(np.count_nonzero(audible[1:] & audible[:-1]))
            if len(audible):
                self._pair_counts[place] += bool(self._was_audible[place] and audible[0])
                self._was_audible[place] = bool(audible[-1])

"""Finds the channels of a recording with nothing to hear, from the levels of granules that are spread evenly over it."""

from typing import Any

import numpy as np

from callarchive.mp3.frames import Stream
from callarchive.mp3.levels import NOTHING_CODED_DB, Layout, Levels, Words

AUDIBLE_DB = -52.0
"""Estimated level above which a granule is audible: 15 dB above comfort noise of -60 dBm0, 6 dB below quiet speech."""

_SPACING_S = 0.08
"""The longest time between two samples, unless a frame is longer: a short word has four."""
_FEWEST_PAIRS = 3
"""Two audible samples in a row, three times: a short word, not a click."""
_SAMPLES_AT_ONCE = 4096
_SAME_ENERGY_DB = 6.0
_MONO, _JOINT, _INTENSITY, _SUM_AND_DIFFERENCE = 0xC0, 0x40, 0x10, 0x20
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
        self._headers: list[Any] = []
        self._words: list[list[Words]] = []
        self._waiting = 0
        self._was_audible = [False] * 3
        self._pair_counts = [0] * 3
        self._sample_count = 0

    def add(self, data: bytes, starts: Any, stream: Stream) -> None:
        """Add the complete frames that begin in `data` at these offsets, in order."""
        if stream.layer != 3:
            return
        every = max(1, int(_SPACING_S * stream.sample_rate_hz / stream.samples))
        chosen = starts[-self._frame_count % every :: every]
        self._frame_count += len(starts)
        if not len(chosen):
            return
        layout = Layout.of(stream, data[chosen[0] : chosen[0] + 4])
        if layout != self._layout or self._waiting > _SAMPLES_AT_ONCE:
            self._measure()
            self._layout = layout
        headers: Any = np.ndarray((len(data) - 3,), ">u4", data, strides=(1,))
        self._headers.append(headers[chosen])
        self._words.append(
            [layout.words(data, chosen, granule=0, channel=channel) for channel in range(layout.channel_count)]
        )
        self._waiting += len(chosen)

    def silent_channels(self, channel_count: int) -> tuple[int, ...] | None:
        """Return the channels with nothing to hear, counted from 1; None if that cannot be determined."""
        self._measure()
        needed = min(_FEWEST_PAIRS, self._sample_count - 1)
        if needed < 1:
            return None
        left, right, either = self._pair_counts
        if channel_count == 1:
            return () if max(self._pair_counts) >= needed else (1,)
        silent = tuple(channel + 1 for channel in (_LEFT, _RIGHT) if self._pair_counts[channel] < needed)
        return None if silent and either >= max(needed, left, right) else silent

    def _measure(self) -> None:
        """Measure the frames that wait, except those whose layout differs from that of their first."""
        layout = self._layout
        if layout is None or not self._waiting:
            return
        headers = np.concatenate(self._headers)
        words = [np.concatenate(of_channel) for of_channel in zip(*self._words, strict=True)]
        self._headers, self._words, self._waiting = [], [], 0
        same = ((headers & _MONO == _MONO) == (layout.channel_count == 1)) & (
            (headers >> 16 & 1 == 0) == layout.has_crc
        )
        if not same.all():
            headers, words = headers[same], [of_channel[same] for of_channel in words]
        left, *others = (layout.levels(of_channel, granule=0, channel=n) for n, of_channel in enumerate(words))
        self._sample_count += len(left)
        if not others:
            self._count(left, left)
        else:
            self._count_stereo(headers, left, others[0])

    def _count_stereo(self, headers: Any, first: Levels, second: Levels) -> None:
        is_joint = headers & _MONO == _JOINT
        if not is_joint.any():
            self._count(first, second)
            return
        louder = np.maximum(first, second)
        is_sum = is_joint & (headers & _SUM_AND_DIFFERENCE != 0)
        unclear = is_joint & (headers & _INTENSITY != 0) | is_sum & (abs(first - second) < _SAME_ENERGY_DB)
        both = louder - np.float32(3)
        first, second = (
            np.where(unclear, NOTHING_CODED_DB, np.where(is_sum, both, level)) for level in (first, second)
        )
        self._count(first, second, np.where(unclear, both, NOTHING_CODED_DB))

    def _count(self, *levels: Levels) -> None:
        """Count the pairs of audible samples in a row."""
        for place, of_place in enumerate(levels):
            audible = of_place > AUDIBLE_DB
            self._pair_counts[place] += int(np.count_nonzero(audible[1:] & audible[:-1]))
            if len(audible):
                self._pair_counts[place] += bool(self._was_audible[place] and audible[0])
                self._was_audible[place] = bool(audible[-1])

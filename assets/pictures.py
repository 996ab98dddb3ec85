"""Charts for the UI: SVG images inside Markdown, a few kilobytes each.

They are written by hand: importing a library for charts would cost each run more CPU time than a day of calls.
"""

import base64
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from callarchive.domain.models import ArchiveStatus
from callarchive.monitoring.recent_days import RecentDays
from callarchive.monitoring.states import COLOURS

_BINS = 30
_WIDTH = 640  # Dagster's dialog shows no more
_LEFT, _RIGHT = 58, 608
_INK, _BLUE, _PALE = "#3a3f4b", COLOURS[ArchiveStatus.ARCHIVED], "#dfe2e8"
_HATCH = "url(#hatch)"
_DEFINITIONS = (
    '<defs><pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    f'<path d="M0 0v7" stroke="{_PALE}" stroke-width="2"/></pattern></defs>'
)


def duration_histogram(durations_s: Sequence[float] | np.ndarray) -> str:
    """Return a Markdown image: the distribution of durations.

    Args:
        durations_s: measured durations in seconds; at least one.
    """
    counts, edges = np.histogram(durations_s, bins=_BINS, range=(0.0, max(np.max(durations_s), 1.0)))
    plot = _Plot(30, 250, x_range=(0, edges[-1]), y_end=1.05 * max(counts))
    middle_s = np.sort(durations_s)[len(durations_s) // 2]
    x = plot.x(middle_s)
    parts = [
        plot.bars(edges, counts, _BLUE),
        f'<path d="M{x:.1f} {plot.bottom}V{plot.top}M500 16h22" stroke="{_INK}" stroke-dasharray="5 3"/>',
        _text(528, 20, f"median {middle_s:.0f} s"),
        *plot.axes("recordings"),
        *(plot.x_tick(value, f"{value:g}") for value in _ticks(edges[-1], 9)),
        _text((_LEFT + _RIGHT) / 2, plot.bottom + 38, "duration, seconds", "middle"),
    ]
    return _markdown(parts, 300, f"durations of {len(durations_s)} archived recordings")


def recent_days_chart(recent: RecentDays) -> str:
    """Return a Markdown image: recordings by archive_status, and hours of audio, by day. Days never archived are hatched."""
    count = len(recent.days)
    edges = np.arange(count + 1) - 0.5
    audio, unit = np.array(recent.audio_hours), "hours"
    if audio.max() < 1:
        audio, unit = 60 * audio, "minutes"
    stacked = np.cumsum([np.zeros(count), *recent.recording_counts.values()], axis=0)
    x_range = (edges[0], edges[-1])
    above = _Plot(40, 247, x_range=x_range, y_end=1.05 * stacked[-1].max() or 1)
    below = _Plot(264, 360, x_range=x_range, y_end=1.05 * audio.max() or 1)
    is_unknown = np.array([day in recent.unknown for day in recent.days])
    parts = [plot.bars(edges, is_unknown * plot.y_end, _HATCH, gap=0) for plot in (above, below)]
    states = [(_words(status), COLOURS[ArchiveStatus(status)]) for status in recent.recording_counts]
    parts += [
        above.bars(edges, tops, colour, bases)
        for (_, colour), bases, tops in zip(states, stacked, stacked[1:], strict=False)
    ]
    parts += [below.bars(edges, audio, _BLUE), *above.axes("recordings"), *below.axes(f"audio, {unit}")]
    # The last day and its weekday before.
    parts += [below.x_tick(number, f"{recent.days[number]:%a %d %b}") for number in range(count - 1, -1, -7)]
    at = 12
    for name, colour in [*states, *([("never archived", _HATCH)] if is_unknown.any() else [])]:
        parts += [f'<rect x="{at}" y="12" width="11" height="9" fill="{colour}"/>', _text(at + 16, 20, name)]
        at += 32 + 6 * len(name)
    return _markdown(parts, 400, f"the {count} days up to {recent.days[-1]}")


@dataclass(frozen=True)
class _Plot:
    """The area of a plot between two heights in pixels, and the values at its ends. The values of y begin with 0."""

    top: int
    bottom: int
    x_range: tuple[float, float]
    y_end: float

    def x(self, value: float) -> float:
        first, last = self.x_range
        return _LEFT + (value - first) / (last - first) * (_RIGHT - _LEFT)

    def y(self, value: float) -> float:
        return self.bottom - value / self.y_end * (self.bottom - self.top)

    def bars(
        self,
        edges: np.ndarray,
        tops: Iterable[float],
        fill: str,
        bases: Iterable[float] | None = None,
        *,
        gap: float = 1,
    ) -> str:
        """Return bars as one shape, with `gap` pixels between them."""
        lefts = [self.x(edge) for edge in edges]
        spans = zip(lefts, lefts[1:], tops, bases if bases is not None else [0.0] * len(lefts), strict=False)
        drawn = [
            f"M{left:.1f} {self.y(base):.1f}V{self.y(top):.1f}H{right - gap:.1f}V{self.y(base):.1f}z"
            for left, right, top, base in spans
            if top > base
        ]
        return f'<path d="{"".join(drawn)}" fill="{fill}"/>'

    def axes(self, label: str) -> list[str]:
        """Return both axes, and the ticks and the label of y."""
        middle = (self.top + self.bottom) / 2
        parts = [f'<path d="M{_LEFT} {self.top}V{self.bottom}H{_RIGHT}" fill="none" stroke="{_INK}"/>']
        for value in _ticks(self.y_end, 4):
            y = self.y(value)
            parts.append(
                f'<path d="M{_LEFT} {y:.1f}h-4" stroke="{_INK}"/>{_text(_LEFT - 7, y + 4, f"{value:g}", "end")}'
            )
        turned = f'<g transform="rotate(-90 16 {middle})">{_text(16, middle, label, "middle")}</g>'
        return [*parts, turned]

    def x_tick(self, value: float, label: str) -> str:
        x = self.x(value)
        return f'<path d="M{x:.1f} {self.bottom}v4" stroke="{_INK}"/>{_text(x, self.bottom + 17, label, "middle")}'


def _ticks(end: float, most: int) -> list[float]:
    """Return whole numbers from 0 to `end` with equal steps: at most `most` steps, each 1, 2 or 5 times a power of ten."""
    least = max(end / most, 1)
    power = 10 ** math.floor(math.log10(least))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= least)
    return [step * number for number in range(int(end / step) + 1)]


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _words(status: str) -> str:
    return status.replace("_", " ")


def _markdown(parts: Iterable[str], height: int, alternative: str) -> str:
    """Return the image. Every picture stays in Dagster's event log permanently."""
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif"'
        f' font-size="11" fill="{_INK}">{_DEFINITIONS}<rect width="{_WIDTH}" height="{height}" fill="#fff"/>'
        f"{''.join(parts)}</svg>"
    )
    image = base64.b64encode(svg.encode()).decode("ascii")
    return f"![{alternative}](data:image/svg+xml;base64,{image})"

"""Charts for the UI: PNGs inside Markdown, under ten kilobytes and a tenth of a second each.

Every day has its own, and a year's backfill draws them all: hence no layout engine, and one shape for a whole row of bars.
"""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from callarchive.domain.models import ArchiveStatus
from callarchive.monitoring.recent_days import RecentDays
from callarchive.monitoring.states import COLOURS

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BINS = 30
_DPI = 100
_COLOURS = 48
_WIDTH_INCHES = 6.4  # Dagster's dialog shows no more at this resolution
_SMALL = 8
_LEFT, _RIGHT = 0.09, 0.95
_INK, _BLUE, _PALE = "#3a3f4b", COLOURS[ArchiveStatus.ARCHIVED], "#dfe2e8"
_HATCHED: Any = {"fill": True, "facecolor": "none", "edgecolor": _PALE, "hatch": "///", "linewidth": 0}


def duration_histogram(durations_s: "Sequence[float] | np.ndarray") -> str:
    """Return a Markdown image: the distribution of durations.

    Args:
        durations_s: measured durations in seconds; at least one.
    """
    import numpy as np

    figure = _figure(height_inches=3.0)
    axes = figure.subplots()
    figure.subplots_adjust(left=_LEFT, right=_RIGHT, top=0.9, bottom=0.17)
    counts, edges = np.histogram(durations_s, bins=_BINS, range=(0.0, max(np.max(durations_s), 1.0)))
    axes.stairs(counts, edges, fill=True, color=_BLUE)
    middle_s = np.sort(durations_s)[len(durations_s) // 2]
    axes.axvline(middle_s, color=_INK, linewidth=1, linestyle="--", label=f"median {middle_s:.0f} s")
    axes.set_xlim(0, edges[-1])
    axes.set_xlabel("duration, seconds")
    axes.set_ylabel("recordings")
    _tidy(axes)
    figure.legend(frameon=False, loc="upper right", bbox_to_anchor=(_RIGHT, 1.0))
    return _markdown(figure, f"durations of {len(durations_s)} archived recordings")


def recent_days_chart(recent: RecentDays) -> str:
    """Return a Markdown image: recordings by archive_status, and hours of audio, by day. Days never archived are hatched."""
    import numpy as np

    figure = _figure(height_inches=4.0)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    figure.subplots_adjust(left=_LEFT, right=_RIGHT, top=0.9, bottom=0.1, hspace=0.14)
    count = len(recent.days)
    edges = np.arange(count + 1) - 0.5
    height = np.zeros(count)
    for status, by_day in recent.recording_counts.items():
        top = height + np.array(by_day)
        above.stairs(top, edges, baseline=height, fill=True, color=COLOURS[ArchiveStatus(status)], label=_words(status))
        height = top
    audio, unit = np.array(recent.audio_hours), "hours"
    if audio.max() < 1:
        audio, unit = 60 * audio, "minutes"
    below.stairs(audio, edges, fill=True, color=_BLUE)
    is_unknown = np.array([day in recent.unknown for day in recent.days])
    for axes in (above, below):
        # In units of the axes' height, because the height of these days is not known.
        axes.stairs(is_unknown, edges, transform=axes.get_xaxis_transform(), zorder=0, **_HATCHED)
        axes.vlines(edges[1:-1], 0, 1, transform=axes.get_xaxis_transform(), color="white", linewidth=1)
        _tidy(axes)
    if is_unknown.any():
        above.stairs([0], [0, 0], label="never archived", **_HATCHED)
    above.set_ylabel("recordings")
    below.set_ylabel(f"audio, {unit}")
    below.set_xlim(edges[0], edges[-1])
    shown = range(count - 1, -1, -7)  # the last day and its weekday before
    below.set_xticks(list(shown), [f"{recent.days[number]:%a %d %b}" for number in shown])
    figure.legend(
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(0.01, 1.0),
        ncols=8,
        fontsize=_SMALL,
        columnspacing=0.9,
        handlelength=1,
        handletextpad=0.5,
    )
    return _markdown(figure, f"the {count} days up to {recent.days[-1]}")


def _figure(*, height_inches: float) -> "Figure":
    # 0.4 s of import. A bare Figure avoids pyplot, whose global state is not thread-safe.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_INCHES, height_inches), dpi=_DPI)
    FigureCanvasAgg(figure)
    return figure


def _tidy(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=_SMALL)


def _words(status: str) -> str:
    return status.replace("_", " ")


def _markdown(figure: "Figure", alternative: str) -> str:
    import numpy as np
    from PIL import Image  # matplotlib depends on it

    canvas: Any = figure.canvas
    canvas.draw()
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    buffer = io.BytesIO()
    # A palette: a third of the bytes in half of the time. Every picture stays in Dagster's event log permanently.
    pixels.quantize(_COLOURS, method=Image.Quantize.FASTOCTREE).save(buffer, "png")
    image = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"![{alternative}](data:image/png;base64,{image})"

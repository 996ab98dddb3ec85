"""A picture of a day's durations for the UI: a PNG inside Markdown, a few kilobytes."""

import base64
import io
from collections.abc import Sequence

_BINS = 30
_DPI = 80


def duration_histogram(durations_s: Sequence[float]) -> str:
    """A Markdown image: how many recordings last how long.

    Args:
        durations_s: measured durations in seconds; at least one.
    """
    # 0.4 s of import. A bare Figure keeps clear of pyplot, whose global state is not made for threads.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6.4, 3.0), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.hist(durations_s, bins=_BINS, range=(0.0, max(max(durations_s), 1.0)), color="#4f6bed", edgecolor="white")
    middle_s = sorted(durations_s)[len(durations_s) // 2]
    axes.axvline(middle_s, color="#333333", linewidth=1, linestyle="--", label=f"half last at least {middle_s:.0f} s")
    axes.set_xlabel("duration, seconds")
    axes.set_ylabel("recordings")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    image = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"![durations of {len(durations_s)} archived recordings](data:image/png;base64,{image})"

import base64
import re
from datetime import date, timedelta
from xml.etree import ElementTree as ET

import pytest

from assets.pictures import duration_histogram, recent_days_chart
from callarchive.monitoring.recent_days import RecentDays

DAYS = tuple(date(2026, 3, 1) + timedelta(days=number) for number in range(30))
ALTERNATIVE = "the 30 days up to 2026-03-30"
BLUE, RED, HATCH = "#4f6bed", "#d1495b", "url(#hatch)"


def picture(text: str, alternative: str) -> ET.Element:
    """The SVG inside the Markdown image with that alternative text."""
    head = f"![{alternative}](data:image/svg+xml;base64,"
    assert text.startswith(head)
    assert len(text) < 15_000, "it stays in Dagster's event log permanently"
    return ET.fromstring(base64.b64decode(text.removeprefix(head).removesuffix(")"), validate=True))


def bars(svg: ET.Element, fill: str) -> list[tuple[float, float, float, float]]:
    """Left, right, top and bottom of the bars of that colour."""
    drawn = "".join(path.get("d", "") for path in svg.findall(".//{*}path") if path.get("fill") == fill)
    found = re.findall(r"M(\S+) (\S+)V(\S+)H(\S+)V(\S+)z", drawn)
    assert len(found) == drawn.count("M")
    assert all(bottom == again for _, bottom, _, _, again in found)
    return [(float(left), float(right), float(top), float(bottom)) for left, bottom, top, right, _ in found]


def area(svg: ET.Element, fill: str) -> float:
    return sum((right - left) * (bottom - top) for left, right, top, bottom in bars(svg, fill))


def texts(svg: ET.Element) -> list[str]:
    return [text.text or "" for text in svg.findall(".//{*}text")]


def days(recording_counts: dict[str, tuple[int, ...]], *, unknown: frozenset[date] = frozenset()) -> RecentDays:
    hours = tuple(count / 20 for count in recording_counts.get("archived", (0,) * 30))
    return RecentDays(DAYS, unknown, recording_counts, hours)


@pytest.mark.parametrize("durations_s", [[12.5], [0.0], [1.0, 2.0, 400.0] * 2000])
def test_a_histogram_is_a_small_picture_with_bars(durations_s: list[float]) -> None:
    svg = picture(duration_histogram(durations_s), f"durations of {len(durations_s)} archived recordings")
    assert 300 < int(svg.get("width", 0)) < 800
    assert 150 < int(svg.get("height", 0)) < 500
    assert area(svg, BLUE) > 1000
    for left, right, top, bottom in bars(svg, BLUE):
        assert 0 < left < right < 640
        assert 0 < top < bottom < 300


def test_a_histogram_names_the_median_and_counts_the_recordings() -> None:
    svg = picture(duration_histogram([10.0, 30.0, 300.0]), "durations of 3 archived recordings")
    assert {"median 30 s", "recordings", "duration, seconds", "0", "1", "50", "300"} <= {*texts(svg)}
    assert len({round(bottom - top) for _, _, top, bottom in bars(svg, BLUE)}) == 1, "one recording each"


def test_a_bar_is_as_high_as_its_day_has_recordings() -> None:
    low = picture(recent_days_chart(days({"archived": (50,) * 15 + (25,) * 15})), ALTERNATIVE)
    high = picture(recent_days_chart(days({"archived": (50,) * 30})), ALTERNATIVE)
    assert len(bars(low, BLUE)) == len(bars(high, BLUE)) == 60, "recordings above, audio below"
    assert area(low, BLUE) == pytest.approx(0.75 * area(high, BLUE), rel=0.01)


def test_states_have_their_colours_and_days_never_archived_are_hatched() -> None:
    sound = picture(recent_days_chart(days({"archived": (20,) * 30})), ALTERNATIVE)
    assert not bars(sound, RED)
    assert not bars(sound, HATCH)
    assert "never archived" not in texts(sound)
    poor = days({"archived": (0,) * 10 + (20,) * 20, "missing": (0,) * 10 + (9,) * 20}, unknown=frozenset(DAYS[:10]))
    troubled = picture(recent_days_chart(poor), ALTERNATIVE)
    assert {"archived", "missing", "never archived"} <= {*texts(troubled)}
    above = min(top for _, _, top, _ in bars(troubled, HATCH))
    hatched = [bar for bar in bars(troubled, HATCH) if bar[2] == above]
    reds = bars(troubled, RED)
    assert (len(hatched), len(reds)) == (10, 20)
    assert max(right for _, right, _, _ in hatched) <= min(left for left, _, _, _ in reds)
    blue_tops = {left: top for left, _, top, _ in bars(troubled, BLUE) if top < 250}
    assert all(blue_tops[left] == bottom for left, _, _, bottom in reds), "stacked"


def test_thirty_days_without_audio_or_without_anything_can_be_drawn() -> None:
    svg = picture(recent_days_chart(days({"missing": (1,) + (0,) * 29})), ALTERNATIVE)
    assert area(svg, RED) > 1000
    nothing = picture(recent_days_chart(days({}, unknown=frozenset(DAYS))), ALTERNATIVE)
    assert len(bars(nothing, HATCH)) == 60

import base64
import io
from datetime import date, timedelta

import pytest
from PIL import Image

from assets.pictures import duration_histogram, recent_days_chart
from callarchive.monitoring.recent_days import RecentDays

DAYS = tuple(date(2026, 3, 1) + timedelta(days=number) for number in range(30))
BLUE, RED, PALE = (79, 109, 237), (209, 73, 91), (223, 226, 232)


def picture(text: str, alternative: str) -> Image.Image:
    """The PNG inside the Markdown image with that alternative text."""
    head = f"![{alternative}](data:image/png;base64,"
    assert text.startswith(head)
    png = base64.b64decode(text.removeprefix(head).removesuffix(")"), validate=True)
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(png) < 15_000, "it stays in Dagster's event log permanently"
    return Image.open(io.BytesIO(png)).convert("RGB")


def area(image: Image.Image, colour: tuple[int, int, int]) -> int:
    """How many pixels are of that colour, or nearly: a palette shifts it a little."""
    pixels = image.getcolors(maxcolors=1 << 20) or []
    near: list[int] = []
    for count, seen in pixels:
        assert isinstance(seen, tuple)
        if all(abs(a - b) < 12 for a, b in zip(seen, colour, strict=True)):
            near.append(count)
    return sum(near)


def days(recording_counts: dict[str, tuple[int, ...]], *, unknown: frozenset[date] = frozenset()) -> RecentDays:
    hours = tuple(count / 20 for count in recording_counts.get("archived", (0,) * 30))
    return RecentDays(DAYS, unknown, recording_counts, hours)


@pytest.mark.parametrize("durations_s", [[12.5], [0.0], [1.0, 2.0, 400.0] * 2000])
def test_a_histogram_is_a_small_picture_with_bars(durations_s: list[float]) -> None:
    image = picture(duration_histogram(durations_s), f"durations of {len(durations_s)} archived recordings")
    assert 300 < image.width < 800
    assert 150 < image.height < 500
    assert area(image, BLUE) > 1000


def test_a_bar_is_as_high_as_its_day_has_recordings() -> None:
    low = recent_days_chart(days({"archived": (50,) * 15 + (25,) * 15}))
    high = recent_days_chart(days({"archived": (50,) * 30}))
    alternative = "the 30 days up to 2026-03-30"
    assert area(picture(low, alternative), BLUE) == pytest.approx(
        0.75 * area(picture(high, alternative), BLUE), rel=0.03
    )


def test_states_have_their_colours_and_days_never_archived_are_a_thin_hatch() -> None:
    alternative = "the 30 days up to 2026-03-30"
    sound = picture(recent_days_chart(days({"archived": (20,) * 30})), alternative)
    assert area(sound, RED) == 0
    assert area(sound, PALE) < 500
    poor = days({"archived": (0,) * 10 + (20,) * 20, "missing": (0,) * 10 + (9,) * 20}, unknown=frozenset(DAYS[:10]))
    troubled = picture(recent_days_chart(poor), alternative)
    assert area(troubled, RED) > 5000
    assert 1000 < area(troubled, PALE) < 15_000, "less than a third of the 60,000 pixels of ten days"


def test_thirty_days_without_audio_can_be_drawn() -> None:
    image = picture(recent_days_chart(days({"missing": (1,) + (0,) * 29})), "the 30 days up to 2026-03-30")
    assert area(image, RED) > 1000

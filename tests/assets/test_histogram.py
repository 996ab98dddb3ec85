import base64
import struct

import pytest

from assets.histogram import duration_histogram


@pytest.mark.parametrize("durations_s", [[12.5], [0.0], [1.0, 2.0, 400.0] * 2000])
def test_a_histogram_is_a_small_png_inside_markdown(durations_s: list[float]) -> None:
    text = duration_histogram(durations_s)
    assert text.startswith(f"![durations of {len(durations_s)} archived recordings](data:image/png;base64,")
    png = base64.b64decode(text.partition("base64,")[2].removesuffix(")"), validate=True)
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    assert 300 < width < 800
    assert 150 < height < 500
    assert len(png) < 40_000

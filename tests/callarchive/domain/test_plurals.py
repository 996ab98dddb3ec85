import pytest

from callarchive.domain.plurals import size_text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1_234_000_000, "1.2 GB"),
        (5 * 10**18, "5000.0 PB"),
    ],
)
def test_a_size_has_the_unit_that_people_read(size_bytes: int, text: str) -> None:
    assert size_text(size_bytes) == text

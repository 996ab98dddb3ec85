"""When an object in a landing is the one that was archived before."""

from datetime import UTC, datetime, timedelta

import pytest

from callarchive.domain.landing_objects import LandingObject

AT = datetime(2026, 11, 1, 10, 0, 0, 789_000, tzinfo=UTC)
SECOND = AT.replace(microsecond=0)
DAY_LATER = AT + timedelta(days=1)


@pytest.mark.parametrize(
    ("etag", "modified_at", "etag_before", "modified_before", "same"),
    [
        ("a", AT, "a", DAY_LATER, True),
        ("a", AT, "b", AT, False),
        ("a", AT, None, SECOND, True),
        (None, AT, None, SECOND, True),
        (None, SECOND + timedelta(seconds=1), None, AT, True),
        (None, SECOND + timedelta(seconds=1), None, SECOND, False),
        (None, AT, "a", DAY_LATER, False),
        (None, None, "a", AT, True),
    ],
)
def test_the_etag_decides_else_the_time_to_the_second(
    etag: str | None, modified_at: datetime | None, etag_before: str | None, modified_before: datetime, same: bool
) -> None:
    now = LandingObject("a.mp3", "s3://b/a.mp3", 5, etag, modified_at)
    assert now.same_as(size_bytes=5, etag=etag_before, modified_at=modified_before) is same
    assert not now.same_as(size_bytes=6, etag=etag_before, modified_at=modified_before)

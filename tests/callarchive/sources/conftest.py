"""Ids with a known time."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

Uuid1At = Callable[..., str]


@pytest.fixture
def uuid1_at() -> Uuid1At:
    """Return a version-1 UUID of a time, composed field by field as in RFC 9562."""

    def make(at: datetime, number: int = 0) -> str:
        # 0x01B21DD213814000 is the RFC's own number of 100 ns between 1582-10-15 and 1970-01-01.
        ticks = round((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 10_000_000 + 0x01B21DD213814000
        text = f"{ticks & 0xFFFFFFFF:08x}-{ticks >> 32 & 0xFFFF:04x}-1{ticks >> 48:03x}-8000-{number:012x}"
        assert uuid.UUID(text).version == 1
        return text

    return make

"""A rerun compares with what the bucket reports, and buckets differ in ETags and times."""

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest

from callarchive.simulator.world import AccountPlan

S3 = (AccountPlan("acme_s3", "s3", "acme-recordings/calls"),)


@pytest.fixture
def archive_again(start_trial: Callable[..., Any], meddling_server: Callable[..., str]) -> Callable[..., Any]:
    """Archives a day twice through a server that changes answers. Returns the second run's summary."""

    def twice(answered: Callable[[Any], None]) -> Any:
        trial = start_trial(sessions_per_day=8, accounts=S3)
        endpoint = trial.simulator.s3.endpoint_url
        trial.config.write_text(
            trial.config.read_text().replace(endpoint, meddling_server(endpoint, answered=answered))
        )
        (first,) = trial.archive()
        assert first.fetched_count > 0
        files = trial.files()
        (second,) = trial.archive()
        assert trial.files() == files
        return second

    return twice


def without_etags(exchange: Any) -> None:
    exchange.drop("etag")
    exchange.body = re.sub(rb"<ETag>.*?</ETag>", b"", exchange.body)


def test_nothing_is_downloaded_again_from_a_store_without_etags_whose_listings_have_milliseconds(
    archive_again: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    def like_juicefs(exchange: Any) -> None:
        without_etags(exchange)
        exchange.body = exchange.body.replace(b".000Z</LastModified>", b".789Z</LastModified>")

    again = archive_again(like_juicefs)
    assert again.fetched_count == 0
    assert "downloaded again" not in caplog.text


def test_a_landing_whose_etags_change_by_themselves_is_reported(
    archive_again: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    numbers = itertools.count()

    def other_etags(exchange: Any) -> None:
        exchange.body = re.sub(rb"<ETag>.*?</ETag>", b"<ETag>v%d</ETag>" % next(numbers), exchange.body)

    again = archive_again(other_etags)
    assert again.fetched_count > 1
    (line,) = [line for line in caplog.messages if "downloaded again" in line]
    assert line.startswith(
        f"acme_s3, 2026-01-05: {again.fetched_count} recordings were downloaded again and have the same bytes"
    )
    assert "compare two listings" in line

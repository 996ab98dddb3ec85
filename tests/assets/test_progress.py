import logging

import pytest

from assets import progress
from assets.progress import LoggedProgress


def test_a_line_is_written_when_it_is_time_and_not_for_every_item(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    told = LoggedProgress(logging.getLogger("told"))
    with caplog.at_level(logging.INFO, logger="told"):
        told.begin("acme_sg look-ups", 40)
        for _ in range(40):
            now[0] += 1.0
            told.advance()
    assert caplog.messages == ["acme_sg look-ups: 15 of 40", "acme_sg look-ups: 30 of 40"]

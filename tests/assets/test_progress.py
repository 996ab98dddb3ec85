import logging

import pytest

from assets.progress import LoggedProgress


def test_a_line_is_logged_every_15_seconds_and_not_for_every_item(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1000.0]
    monkeypatch.setattr("assets.progress.time.monotonic", lambda: now[0])
    progress_log = LoggedProgress(logging.getLogger("progress"))
    with caplog.at_level(logging.INFO, logger="progress"):
        progress_log.begin("acme_sg lookups", 40)
        for _ in range(40):
            now[0] += 1.0
            progress_log.advance()
    assert caplog.messages == ["acme_sg lookups: 15 of 40", "acme_sg lookups: 30 of 40"]

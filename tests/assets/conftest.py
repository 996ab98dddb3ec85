"""An empty archive and catalog on disk, without any server, for tests of what the assets do around a step."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from callarchive.archiving.connections import Connections
from callarchive.settings import load_settings

CONFIGURATION = """
start_date = 2026-01-01
archive.url = "archive"
catalog.url = "catalog"
[[accounts]]
subaccount_id = "acme_sg"
api_url = "http://127.0.0.1:9"
api_key = { env = "ACME_API_KEY" }
landing = "s3://acme-recordings/pushed"
session_sources = [{ kind = "files", path = "sessions-{day}.csv" }]
"""


@pytest.fixture
def connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connections]:
    """Connections to a catalog in `tmp_path`. Nothing answers where the API should be."""
    monkeypatch.setenv("ACME_API_KEY", "key-that-is-not-used")
    file = tmp_path / "callarchive.toml"
    file.write_text(CONFIGURATION, encoding="utf-8")
    with Connections(load_settings(file)) as opened:
        yield opened


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that keeps its events in memory."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral

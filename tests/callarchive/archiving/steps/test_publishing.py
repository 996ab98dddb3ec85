"""A long day's `recordings` are computed in parts, with the same rows as at once."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from callarchive.archiving.connections import Connections
from callarchive.archiving.steps.publishing import write_recordings
from callarchive.archiving.transforms.public_tables import recordings_table
from callarchive.catalog import parquet_files, schemas, stored_rows
from callarchive.catalog.arrow_columns import pc
from callarchive.catalog.parquet_files import to_arrow
from callarchive.domain.errors import AccountFailure, UnavailableError
from callarchive.settings import load_settings

DAY = date(2026, 11, 1)
NOW = datetime(2026, 11, 3, tzinfo=UTC)
ROOT = "file:///archive/"
FETCHED, ERASED, NAMED = range(0, 30, 2), (1, 13, 27, 33, 34), [*range(0, 30, 3), 31]
"""Numbers of recordings: those with a file, tombstones (also before, between and after all others), those 8x8 names."""


@pytest.fixture
def connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connections]:
    for module in (parquet_files, stored_rows):
        monkeypatch.setattr(module, "ROWS_AT_ONCE", 4)
    (tmp_path / "key").write_text("a key that is not used", encoding="utf-8")
    accounts = "".join(
        f'[[accounts]]\nsubaccount_id = "{name}"\napi_key = {{ file = "key" }}\nlanding = "s3://calls/{name}"\n'
        'session_sources = [{ kind = "log_export" }]\n'
        for name in ("acme_0", "acme_1")
    )
    file = tmp_path / "callarchive.toml"
    file.write_text(
        f'timezone = "UTC"\nstart_date = 2026-01-01\narchive.url = "archive"\ncatalog.url = "catalog"\n{accounts}',
        encoding="utf-8",
    )
    with Connections(load_settings(file), clock=lambda: NOW) as opened:
        yield opened


def ids(number: int) -> dict[str, Any]:
    session_id, recording_id = (f"{number:08x}-0668-41ec-{part}-fd3f1c2a9a11" for part in ("8c5e", "9ae2"))
    return {"subaccount_id": f"acme_{number // 16}", "session_id": session_id, "recording_id": recording_id}


def metadata_row(number: int) -> dict[str, Any]:
    return ids(number) | {"api_status": "UPLOAD_COMPLETED", "duration_api_s": float(number)}


def file_row(number: int) -> dict[str, Any]:
    path = f"{number}.mp3"
    kept = {"archive_status": "archived", "archive_path": path, "duration_s": 4.0, "versions": [path, f"v{path}"]}
    return ids(number) | ({"archive_status": "erased", "error": "erased"} if number in ERASED else kept)


def test_recordings_in_parts_equal_those_computed_at_once(connections: Connections) -> None:
    day, catalog = connections.catalog_day(DAY), connections.catalog
    catalog.replace_partition(schemas.RECORDING_METADATA, DAY, map(metadata_row, NAMED))
    catalog.replace_partition(schemas.RECORDING_FILES, DAY, map(file_row, sorted([*FETCHED, *ERASED])))
    whole = recordings_table(
        metadata=catalog.partition(schemas.RECORDING_METADATA, DAY),
        files=catalog.partition(schemas.RECORDING_FILES, DAY),
        events=catalog.partition(schemas.RECORDING_EVENTS, DAY),
        call_date=DAY,
        now=NOW,
        archive_root=ROOT,
        tolerance_s=day.settings.transfer.duration_tolerance_s,
    )
    report = write_recordings(day, archive_root=ROOT, failures=())
    found = catalog.partition(schemas.RECORDINGS, DAY)
    assert found.equals(to_arrow(schemas.RECORDINGS, whole))
    assert report.row_count == len(found) == len({*NAMED, *ERASED})
    failure = AccountFailure.of("acme_1", schemas.RECORDING_FILES.name, UnavailableError("down"))
    catalog.replace_partition(schemas.RECORDING_METADATA, DAY, [])
    write_recordings(day, archive_root=ROOT, failures=(failure,))
    of_failed = found.filter(pc.equal(found["subaccount_id"], "acme_1"))
    now = catalog.partition(schemas.RECORDINGS, DAY)
    assert now.filter(pc.equal(now["subaccount_id"], "acme_1")).equals(of_failed)
    assert len(now) == len(of_failed) + sum(number // 16 != 1 for number in ERASED)


def test_a_day_without_recordings_has_an_empty_partition(connections: Connections) -> None:
    for table in (schemas.RECORDING_METADATA, schemas.RECORDING_FILES):
        connections.catalog.replace_partition(table, DAY, [])
    assert write_recordings(connections.catalog_day(DAY), archive_root=ROOT, failures=()).row_count == 0
    assert connections.catalog.has(schemas.RECORDINGS, DAY)

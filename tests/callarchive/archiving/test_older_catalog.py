"""A catalog with a day written by an older version, without columns added later, and a day of this version."""

import io
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import pyarrow.parquet as pq

from callarchive.archiving.connections import Connections
from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.models import NEGATIVE
from callarchive.monitoring.status import read_status
from callarchive.monitoring.trace import find
from callarchive.monitoring.verification import Defect, verify_days
from callarchive.planning.forecast.forecasting import forecast
from callarchive.runtime.worker_pool import NoProgress

OLD, NEW = date(2026, 1, 5), date(2026, 1, 6)
ADDED_LATER: Mapping[schemas.Table, Sequence[str]] = {
    schemas.RECORDINGS: ("duration_event_s", "audio_issue_detail", "versions"),
    schemas.RECORDING_FILES: ("frame_count", "versions_sha256"),
    schemas.RECORDING_METADATA: ("only_by_event",),
    schemas.LOOKUPS: ("unreachable", "negative_since"),
    schemas.RECONCILIATION: ("place",),
}


def write_as_an_older_version_did(
    catalog: Catalog, day: date, without: Mapping[schemas.Table, Sequence[str]] = ADDED_LATER
) -> None:
    for table, later in without.items():
        path = table.partition_path(day)
        rows = pq.ParquetFile(io.BytesIO(catalog.store.read(path))).read()
        buffer = io.BytesIO()
        pq.write_table(rows.drop_columns(list(later)), buffer, compression="snappy")
        catalog.store.replace(path, buffer.getvalue())


def results(connections: Connections) -> dict[str, Any]:
    """Return the results of every command that reads the catalog, without timestamps."""
    overview = read_status(connections, [OLD, NEW])
    made = forecast(connections, OLD, NEW)
    recordings = connections.catalog.arrow("recordings").to_pylist()
    archived = next(row for row in recordings if row["archive_status"] == "archived" and row["call_date"] == OLD)
    with connections.catalog.duckdb() as db:
        counted = db.execute(
            "select call_date, count(*), sum(duration_s) from recordings group by all order by 1"
        ).fetchall()
    return {
        "status": (overview.days, overview.failing, overview.open_rows),
        "forecast": (made.total.figures["recordings"], made.total.figures["audio_s"]),
        "look_ups": made.total.figures["look_ups"],
        "verify": [
            (day.day, day.file_count, day.defects)
            for day in verify_days(connections, [OLD, NEW], progress=NoProgress())
        ],
        "find": [
            (p.session["session_id"], [r["file_state"] for r in p.recordings])
            for p in find(connections, archived["recording_id"])
        ],
        "duckdb": counted,
        "pandas": connections.catalog.pandas("sessions")["session_id"].to_list(),
    }


def test_every_reader_agrees_on_old_and_new_files_and_a_rerun_rewrites_the_old_ones(
    start_trial: Callable[..., Any],
) -> None:
    trial = start_trial(days=2, sessions_per_day=8)
    trial.archive()
    tables = trial.tables()
    with trial.connections() as connections:
        before = results(connections)
        write_as_an_older_version_did(connections.catalog, OLD)
        old = connections.catalog.arrow(schemas.RECORDINGS, OLD, OLD)
        assert old["versions"].null_count == len(old) > 0
        of_old = results(connections)
        # A session that an older version settled on one negative response is looked up once more.
        none = [s for s in tables["sessions"] if s["call_date"] == OLD and s["lookup_status"] in NEGATIVE]
        assert of_old.pop("look_ups").value - before.pop("look_ups").value == len(none) > 0
        assert of_old == before
    (again,) = trial.archive(OLD)
    assert again.fetched_count == 0, "archived recordings are known from old files too"
    after = trial.tables()
    for table in schemas.PUBLIC_TABLES:
        if table is not schemas.RECONCILIATION:
            assert after[table.name] == tables[table.name], table.name
    schema = pq.read_schema(trial.config.parent / "catalog" / schemas.RECORDINGS.partition_path(OLD))
    assert schema.names == schemas.RECORDINGS.schema.names


def test_a_file_without_a_known_hash_is_not_reported_as_intact(start_trial: Callable[..., Any]) -> None:
    trial = start_trial(days=1, sessions_per_day=4)
    trial.archive()
    with trial.connections() as connections:
        (before,) = verify_days(connections, [OLD], progress=NoProgress())
        without = {schemas.RECORDING_FILES: ("sha256", "versions_sha256")}
        write_as_an_older_version_did(connections.catalog, OLD, without)
        (verified,) = verify_days(connections, [OLD], progress=NoProgress())
    assert not before.defects
    assert verified.file_count == before.file_count > 0
    assert [defect for defect, _ in verified.defects] == [Defect.UNREADABLE] * before.file_count

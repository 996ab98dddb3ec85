"""A catalog of which one day was written by an older version, without the columns that came later, beside a day of this one."""

import io
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import pyarrow.parquet as pq

from callarchive.archiving.connections import Connections
from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.models import NEGATIVE
from callarchive.monitoring.status import look_over
from callarchive.monitoring.trace import find
from callarchive.monitoring.verification import Defect, verify_days
from callarchive.planning.forecast.forecasting import forecast
from callarchive.runtime.worker_pool import NoProgress

OLD, NEW = date(2026, 1, 5), date(2026, 1, 6)
CAME_LATER: Mapping[schemas.Table, Sequence[str]] = {
    schemas.RECORDINGS: ("duration_event_s", "audio_issue_detail", "versions"),
    schemas.RECORDING_FILES: ("frame_count", "versions_sha256"),
    schemas.RECORDING_METADATA: ("only_by_event",),
    schemas.LOOKUPS: ("unreachable", "negative_since"),
    schemas.RECONCILIATION: ("place",),
}


def write_as_an_older_version_did(
    catalog: Catalog, day: date, without: Mapping[schemas.Table, Sequence[str]] = CAME_LATER
) -> None:
    for table, later in without.items():
        path = table.partition_path(day)
        rows = pq.ParquetFile(io.BytesIO(catalog.store.read(path))).read()
        buffer = io.BytesIO()
        pq.write_table(rows.drop_columns(list(later)), buffer, compression="snappy")
        catalog.store.replace(path, buffer.getvalue())


def told(connections: Connections) -> dict[str, Any]:
    """What every command that reads the catalog makes of both days, without the times of telling."""
    overview = look_over(connections, [OLD, NEW])
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


def test_every_reader_tells_the_same_of_old_and_new_files_and_a_rerun_makes_the_old_ones_new(
    start_trial: Callable[..., Any],
) -> None:
    trial = start_trial(days=2, sessions_per_day=8)
    trial.archive()
    tables = trial.tables()
    with trial.connections() as connections:
        before = told(connections)
        write_as_an_older_version_did(connections.catalog, OLD)
        old = connections.catalog.arrow(schemas.RECORDINGS, OLD, OLD)
        assert old["versions"].null_count == len(old) > 0
        of_old = told(connections)
        # What an older version took for "no recording" on one answer is looked up once more.
        none = [s for s in tables["sessions"] if s["call_date"] == OLD and s["lookup_status"] in NEGATIVE]
        assert of_old.pop("look_ups").value - before.pop("look_ups").value == len(none) > 0
        assert of_old == before
    (again,) = trial.archive(OLD)
    assert again.fetched_count == 0, "what is archived is known from old files too"
    after = trial.tables()
    for table in schemas.PUBLIC_TABLES:
        if table is not schemas.RECONCILIATION:
            assert after[table.name] == tables[table.name], table.name
    schema = pq.read_schema(trial.config.parent / "catalog" / schemas.RECORDINGS.partition_path(OLD))
    assert schema.names == schemas.RECORDINGS.schema.names


def test_a_file_of_which_no_hash_is_known_is_not_said_to_be_whole(start_trial: Callable[..., Any]) -> None:
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

"""Column lineage between the tables that are assets. Dagster draws it on the asset's page.

It covers values and what selects them, not the keys by which tables are joined. Columns from outside (8x8, a landing) or from a
table that is no asset (lookups, events) are not listed.
"""

from collections.abc import Iterable, Mapping

import dagster as dg

from callarchive.catalog import schemas
from callarchive.catalog.schemas import Table

_Sources = tuple[tuple[Table, str], ...]
_IDS, _METADATA, _FILES = schemas.SESSION_IDS, schemas.RECORDING_METADATA, schemas.RECORDING_FILES
_SESSIONS, _RECORDINGS = schemas.SESSIONS, schemas.RECORDINGS


def column_lineage(table: Table) -> dg.TableColumnLineage:
    """Return the table's columns and what each is made of, for Dagster. Empty for a table that is no asset."""
    return dg.TableColumnLineage(
        {
            column: [dg.TableColumnDep(dg.AssetKey(source.name), name) for source, name in sources]
            for column, sources in _LINEAGE.get(table.name, {}).items()
        }
    )


def _same(source: Table, names: Iterable[str]) -> dict[str, _Sources]:
    """Return columns that are copied unchanged."""
    return {name: ((source, name),) for name in names}


def _shared(table: Table, source: Table) -> list[str]:
    theirs = {column.name for column in source.columns}
    return [column.name for column in table.columns if column.name in theirs]


_RECORDING = ("subaccount_id", "session_id", "recording_id")
_DURATIONS = tuple(column.name for column in schemas.DURATION_STATS.columns if column.name.endswith("_s"))
_OF_ARCHIVED: _Sources = ((_RECORDINGS, "archive_status"), (_RECORDINGS, "duration_s"))
_START: _Sources = (
    (_METADATA, "started_at_api"),
    (_FILES, "source_path"),
    (_METADATA, "external_file_url"),
    (_METADATA, "recording_id"),
)

_LINEAGE: Mapping[str, Mapping[str, _Sources]] = {
    schemas.SESSION_IDS.name: {},
    schemas.RECORDING_METADATA.name: _same(_IDS, ("subaccount_id", "session_id")),
    schemas.RECORDING_FILES.name: {
        **_same(_METADATA, _RECORDING),
        "archive_status": ((_METADATA, "api_status"),),
        "source_path": ((_METADATA, "external_file_url"), (_METADATA, "session_id"), (_METADATA, "recording_id")),
        "archive_path": tuple((_METADATA, name) for name in _RECORDING),
    },
    schemas.SESSIONS.name: {
        **_same(_IDS, _shared(_SESSIONS, _IDS)),
        "recording_count": ((_METADATA, "recording_id"),),
    },
    schemas.RECORDINGS.name: {
        **_same(_FILES, _shared(_RECORDINGS, _FILES)),
        **_same(_METADATA, _shared(_RECORDINGS, _METADATA)),
        "started_at": _START,
        "started_at_source": _START,
        "archive_uri": ((_FILES, "archive_path"),),
        "duration_mismatch": ((_FILES, "duration_s"), (_METADATA, "duration_api_s")),
    },
    schemas.STATUS_STATS.name: {
        **_same(_RECORDINGS, ("subaccount_id", "api_status", "archive_status", "size_bytes", "duration_s")),
        "recording_count": ((_RECORDINGS, "recording_id"),),
    },
    schemas.DURATION_STATS.name: {
        **_same(_RECORDINGS, ("subaccount_id",)),
        **dict.fromkeys(("recording_count", *_DURATIONS), _OF_ARCHIVED),
    },
    schemas.RECONCILIATION.name: {
        "subaccount_id": tuple((source, "subaccount_id") for source in (_SESSIONS, _RECORDINGS, _FILES)),
        "subject": (
            (_SESSIONS, "session_id"),
            (_RECORDINGS, "recording_id"),
            (_FILES, "archive_path"),
        ),
        "session_id": ((_SESSIONS, "session_id"), (_RECORDINGS, "session_id")),
        "recording_id": ((_RECORDINGS, "recording_id"),),
        "place": ((_RECORDINGS, "source_uri"), (_RECORDINGS, "archive_uri"), (_FILES, "archive_path")),
        "reason": (
            (_SESSIONS, "lookup_status"),
            (_RECORDINGS, "archive_status"),
            (_RECORDINGS, "error"),
            (_RECORDINGS, "duration_s"),
            (_RECORDINGS, "duration_api_s"),
            (_RECORDINGS, "duration_event_s"),
            (_SESSIONS, "call_duration_s"),
        ),
    },
}

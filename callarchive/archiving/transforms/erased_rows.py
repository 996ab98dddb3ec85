"""The rows of a day's tables without what was erased. A tombstone stays of each recording: its ids, and when it was erased."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pyarrow as pa

from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import Column, key_counts, keys_of, pc, rows_in, rows_where
from callarchive.catalog.schemas import RECORDING_FILES, RECORDINGS, Table
from callarchive.custody.erasures import Erased
from callarchive.domain.erased_ids import ErasedIds
from callarchive.domain.models import ApiStatus, ArchiveStatus, LookupStatus

_SESSION = schemas.SESSION_IDS.key
_IDS = ("subaccount_id", "session_id", "recording_id")
_PROSE = (schemas.SESSION_PROBLEMS, schemas.UNKNOWNS, schemas.RECONCILIATION)
"""Tables whose rows go with any text that has an id, whatever their account: landings may be shared."""
_HASHES = ("sha256", "tz_sha256", "versions_sha256", "source_etag")


def without_erased(table: Table, rows: pa.Table, ids: ErasedIds, *, on: date) -> pa.Table:
    """Return the rows of a table, except of `status_stats` and `duration_stats`, without the erased ids.

    Rows of `recording_files` and `recordings` become tombstones, erased on that day, unless they are. Where an id is only part
    of a text, the text is cut.
    """
    if table in _PROSE:
        return rows_where(rows, pc.invert(_any_text(rows, ids.in_text)))
    named = _are_named(rows, ids)
    if "subaccount_id" in rows.column_names:  # another account may have the same ids: its rows stay whole
        gone = pc.and_(named, pc.equal(rows["subaccount_id"], ids.subaccount_id))
        others = rows_where(rows, pc.and_(named, pc.invert(gone)))
        kept = pa.concat_tables([_cut(rows_where(rows, pc.invert(named)), ids), others])
    else:
        gone, kept = named, _cut(rows, ids)
    if table not in (RECORDING_FILES, RECORDINGS):
        return kept
    erased = rows.filter(gone)
    is_new = pc.not_equal(erased["archive_status"], ArchiveStatus.ERASED.value)
    return pa.concat_tables(
        [kept, erased.filter(pc.invert(is_new)), tombstones(table, erased.filter(is_new), error=f"erased on {on}")]
    )


def not_erased(rows: pa.Table, erased: Erased) -> pa.Table:
    """Return the rows whose session and recording, as far as they name them, were not erased."""
    if not erased or not len(rows):
        return rows
    names = [name for name in _IDS if name in rows.column_names]
    stays = [
        not erased.has_session(row["subaccount_id"], row["session_id"])
        and not erased.has_recording(row["subaccount_id"], row.get("recording_id", ""))
        for row in rows_in(rows.select(names))
    ]
    return rows_where(rows, pa.array(stays, pa.bool_()))


def not_mentioning(rows: pa.Table, erased: Erased) -> pa.Table:
    """Return the rows without a text that names something erased of their account."""
    if not erased or not len(rows):
        return rows
    texts = (" ".join(str(value) for value in row.values()) for row in rows_in(rows.select(_texts(rows))))
    accounts: list[Any] = rows["subaccount_id"].to_pylist()
    stays = [not erased.ids_in(account, text).all for account, text in zip(accounts, texts, strict=True)]
    return rows_where(rows, pa.array(stays, pa.bool_()))


def tombstones(table: Table, rows: pa.Table, *, error: str | None = None) -> pa.Table:
    """Return what stays in the table of erased recordings; `error` is by default that of the rows."""
    values: dict[str, Any] = {name: rows[name] for name in _IDS} | {
        "api_status": pa.repeat(ApiStatus.UNKNOWN.value, len(rows)),
        "archive_status": pa.repeat(ArchiveStatus.ERASED.value, len(rows)),
        "error": rows["error"] if error is None else pa.repeat(error, len(rows)),
        "versions": pa.array([[]] * len(rows), pa.list_(pa.string())),
    }
    return pa.table(
        [values.get(field.name, pa.nulls(len(rows), field.type)) for field in table.schema], schema=table.schema
    )


def with_tombstones(recordings: pa.Table, files: pa.Table) -> pa.Table:
    """Return `recordings` with a tombstone for each erased row of `recording_files`, in place of a row that it may have."""
    erased = files.filter(pc.equal(files["archive_status"], ArchiveStatus.ERASED.value))
    if not len(erased):
        return recordings
    is_erased = pc.is_in(keys_of(recordings, RECORDINGS.key), value_set=keys_of(erased, RECORDINGS.key))
    return pa.concat_tables([recordings.filter(pc.invert(is_erased)), tombstones(RECORDINGS, erased)])


def recounted(sessions: pa.Table, recordings: pa.Table) -> pa.Table:
    """Return `sessions` or `lookups` as they are with the rows that stay in `recordings`.

    If all recordings of a session were erased, it is as if 8x8 listed none.
    """
    is_erased = pc.equal(recordings["archive_status"], ArchiveStatus.ERASED.value)
    keys, left = keys_of(sessions, _SESSION), keys_of(recordings.filter(pc.invert(is_erased)), _SESSION)
    changed = pc.is_in(keys, value_set=keys_of(recordings.filter(is_erased), _SESSION))
    columns: dict[str, Any] = {name: sessions[name] for name in sessions.column_names}
    counts = key_counts(keys, among=left)
    is_empty = pc.and_(
        pc.and_(changed, pc.equal(counts, 0)), pc.equal(sessions["lookup_status"], LookupStatus.OK.value)
    )
    columns["lookup_status"] = pc.if_else(is_empty, LookupStatus.NO_RECORDINGS.value, sessions["lookup_status"])
    if "recording_count" in columns:
        columns["recording_count"] = pc.if_else(changed, counts, columns["recording_count"])
    return pa.table(columns, schema=sessions.schema)


def _are_named(rows: pa.Table, ids: ErasedIds) -> Column:
    """Return whether each row is of a session or recording with one of the ids, whatever its account."""
    named: Column = pa.array([False] * len(rows), pa.bool_())
    if "subaccount_id" not in rows.column_names:
        return named
    for name, erased in (("session_id", ids.session_ids), ("recording_id", ids.recording_ids)):
        if name in rows.column_names:
            named = pc.or_(named, pc.is_in(rows[name], value_set=pa.array(sorted(erased), pa.string())))
    return pc.fill_null(named, False)


def _texts(rows: pa.Table) -> list[str]:
    """Return the names of the columns that may have an id as part of a text."""
    text = (pa.string(), pa.list_(pa.string()))
    return [field.name for field in rows.schema if field.type in text and field.name not in _HASHES]


def _any_text(rows: pa.Table, has_id: Callable[[str | None], bool]) -> Column:
    found = [False] * len(rows)
    for name in _texts(rows):
        for number, value in enumerate(rows[name].to_pylist()):
            found[number] |= any(map(has_id, value)) if isinstance(value, list) else has_id(value)
    return pa.array(found, pa.bool_())


def _cut(rows: pa.Table, ids: ErasedIds) -> pa.Table:
    """Return the rows with ids cut from texts that are no ids themselves."""
    for name in _texts(rows):
        column = rows[name]
        if name in (*_IDS, "archive_path", "archive_uri") or column.type != pa.string():
            continue
        values: list[Any] = column.unique().to_pylist()
        if any(map(ids.in_text, values)):
            texts = [None if text is None else ids.cut_from(text) for text in column.to_pylist()]
            rows = rows.set_column(
                rows.schema.get_field_index(name), rows.schema.field(name), pa.array(texts, pa.string())
            )
    return rows

"""The entries of the ledger about a day's files: what `recording_files` has of them and had not before."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import pyarrow as pa

from callarchive.archiving.recording_archive import QUARANTINE
from callarchive.catalog.arrow_columns import Column, joined_lists, pc, rows_in, rows_where
from callarchive.ledger.batches import Facts

FILE_COLUMNS = (
    *("subaccount_id", "recording_id", "archive_path", "quarantine_uri", "sha256", "size_bytes", "duration_s"),
    *("source_uri", "source_evidence", "archived_at", "versions", "versions_sha256"),
)
_NAMES = ("subaccount_id", "recording_id", "archive_path", "quarantine_uri", "sha256")


def new_files(before: pa.Table, after: pa.Table, *, call_date: date, event: str = "archived") -> Iterator[Facts]:
    """Yield an entry for each file that a row of `after` names and none of `before` does with the same hash.

    The event of a recording's file is `event`, of its other versions "version", of bytes that are not audio "quarantined".
    """
    changed = after
    if before.num_rows:
        changed = rows_where(after, pc.invert(pc.is_in(_contents(after), value_set=_contents(before))))
    named = pc.or_(pc.is_valid(changed["archive_path"]), pc.is_valid(changed["quarantine_uri"]))
    changed = rows_where(changed, named).select(list(FILE_COLUMNS))
    recordings = changed["recording_id"]
    earlier = rows_where(before, pc.is_in(before["recording_id"], value_set=recordings)).select(list(FILE_COLUMNS))
    known = {(path, sha256) for row in rows_in(earlier) for path, sha256, _ in files_of(row)}
    for row in rows_in(changed):
        for path, sha256, what in files_of(row, event):
            if (path, sha256) not in known:
                yield _entry(row, path, sha256, what, call_date)


def files_of(row: dict[str, Any], event: str = "archived") -> Iterator[tuple[str, str | None, str]]:
    """Yield the path, the hash and the event of each file that the row names."""
    if row["archive_path"] is not None:
        yield row["archive_path"], row["sha256"], event
    for path, sha256 in zip(row["versions"] or (), row["versions_sha256"] or (), strict=False):
        if path != row["archive_path"]:
            yield path, sha256, "version"
    if row["quarantine_uri"] is not None:
        _, found, path = row["quarantine_uri"].rpartition(f"{QUARANTINE}/")
        yield f"{found}{path}", None, "quarantined"


def _contents(files: pa.Table) -> Column:
    texts = [pc.fill_null(files[name], "") for name in _NAMES]
    lists = [joined_lists(files[name]) for name in ("versions", "versions_sha256")]
    return pc.binary_join_element_wise(*texts, *lists, "\x1f").combine_chunks()


def _entry(row: dict[str, Any], path: str, sha256: str | None, event: str, call_date: date) -> Facts:
    facts: dict[str, Any] = {
        "event": event,
        "subaccount_id": row["subaccount_id"],
        "call_date": str(call_date),
        "recording_id": row["recording_id"],
        "archive_path": path,
        "sha256": sha256,
    }
    if path == row["archive_path"]:
        facts |= {name: row[name] for name in ("size_bytes", "duration_s", "source_uri", "source_evidence")}
        archived_at = row["archived_at"]
        facts["archived_at"] = None if archived_at is None else archived_at.isoformat()
    return facts

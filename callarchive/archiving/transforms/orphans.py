"""Objects, files and events without a row, and rows without a file, found by pure functions. For I/O, see `steps.reconciling`.

Names in landings and in the archive may be arbitrary: control characters and possible phone numbers are removed from paths.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from callarchive.archiving.transforms.reconciliation import FOUND
from callarchive.catalog.arrow_columns import Column, matching_rows, pc, rows_where
from callarchive.catalog.rows import Row
from callarchive.domain.foreign_text import cleaned_path
from callarchive.domain.models import ArchiveStatus, Discrepancy
from callarchive.settings import AccountSettings
from callarchive.storage.landing.contents import recording_id_in, session_id_in
from callarchive.storage.stores import StoredObject

FILE_COLUMNS = (
    "subaccount_id",
    "session_id",
    "recording_id",
    "archive_status",
    "archive_path",
    "size_bytes",
    "versions",
)
"""The columns of `recording_files` that this module needs."""


@dataclass(frozen=True, slots=True)
class SuspectFile:
    """A file of a row (which has no size for versions) that the archive's listing lacks or has with another size."""

    subaccount_id: str
    session_id: str
    recording_id: str
    path: str
    size_bytes: int | None
    listed_size_bytes: int | None


def accounts_sharing(account: AccountSettings, accounts: Sequence[AccountSettings]) -> list[str]:
    """Return the accounts whose landings overlap with that of the given account, including itself."""
    scheme, server, parts = _location(account)
    found = []
    for other in accounts:
        other_scheme, other_server, other_parts = _location(other)
        length = min(len(parts), len(other_parts))
        if (scheme, server) == (other_scheme, other_server) and parts[:length] == other_parts[:length]:
            found.append(other.subaccount_id)
    return found


def orphan_rows(subaccount_id: str, objects: Iterable[tuple[str, str]], *, landing_uri: str) -> list[Row]:
    """Return findings for objects, given as path and URI, that belong to no known recording."""
    root, reason = landing_uri.rstrip("/"), "the catalog has no recording for this object on the days around it"
    places = [
        (subaccount_id, path, uri if cleaned_path(path) == path else f"{root}/{cleaned_path(path)}")
        for path, uri in objects
    ]
    return _rows_of_paths(Discrepancy.ORPHAN_OBJECT, places, reason=reason)


def orphan_keys(subaccount_id: str, paths: Iterable[str]) -> list[str]:
    """Return the keys of these objects' rows in `reconciliation`, in the form of `reconciliation_keys`."""
    return [f"{subaccount_id}/{Discrepancy.ORPHAN_OBJECT.value}/{cleaned_path(path)}" for path in paths]


def stored_table(objects: Iterable[StoredObject]) -> pa.Table:
    """Return the archive's objects as a table: `path` as bytes, because it may not be UTF-8, and `size_bytes`."""
    pairs = [(item.path.encode(errors="surrogateescape"), item.size_bytes) for item in objects]
    return pa.table(
        {
            "path": pa.array((path for path, _ in pairs), pa.binary(), size=len(pairs)),
            "size_bytes": pa.array((size_bytes for _, size_bytes in pairs), pa.int64(), size=len(pairs)),
        }
    )


def are_named(stored: pa.Table, files: pa.Table) -> Column:
    """Return for each file in `stored_table` whether one of these rows of `recording_files` has it, also as a version."""
    return pc.or_(*(pc.is_in(stored["path"], value_set=paths) for paths in _named_paths(files)))


def files_without_row(unnamed: pa.Table, *, archive_root: str) -> list[Row]:
    """Return findings for files of the day, in `stored_table`, that are not named."""
    paths = sorted(path.decode(errors="surrogateescape") for path in list[Any](unnamed["path"].to_pylist()))
    places = [(_account_in(path), path, archive_root + cleaned_path(path)) for path in paths]
    return _rows_of_paths(Discrepancy.FILE_WITHOUT_ROW, places, reason="no row has this file")


def suspect_files(stored: pa.Table, files: pa.Table) -> list[SuspectFile]:
    """Return files of rows of `recording_files`, including versions, that the listing lacks or has with another size.

    Of the listing, `stored` has at least the files that the rows name.
    """
    kept = rows_where(files, pc.not_equal(files["archive_status"], ArchiveStatus.ERASED.value))
    is_archived = pc.equal(kept["archive_status"], ArchiveStatus.ARCHIVED.value)
    archived_paths, versions = _named_paths(kept)
    lost = pc.invert(pc.is_in(versions, value_set=stored["path"]))
    with_lost = pc.unique(pc.filter(pc.list_parent_indices(kept["versions"].combine_chunks()), lost))
    sizes_now = stored["size_bytes"].take(matching_rows(archived_paths, among=stored["path"]))
    changed = pc.and_(is_archived, pc.fill_null(pc.not_equal(sizes_now, kept["size_bytes"]), True))
    numbers = pa.array(np.arange(len(kept))).cast(with_lost.type)
    suspect = kept.filter(pc.or_(changed, pc.is_in(numbers, value_set=with_lost)))
    present = _sizes_of(suspect, stored)
    found: dict[str, SuspectFile] = {}
    for row in suspect.to_pylist():
        expected = dict.fromkeys(row["versions"] or ())
        if row["archive_status"] == ArchiveStatus.ARCHIVED and row["archive_path"] is not None:
            expected[row["archive_path"]] = row["size_bytes"]
        for path, size_bytes in expected.items():
            listed = present.get(path)
            if listed is None or size_bytes not in (None, listed):
                ids = row["subaccount_id"], row["session_id"], row["recording_id"]
                found[path] = SuspectFile(*ids, path, size_bytes, listed)
    return list(found.values())


def row_without_file(suspect: SuspectFile, *, reason: str, archive_root: str) -> Row:
    """Return the finding that the file is missing or has another size."""
    ids, place = (suspect.session_id, suspect.recording_id), archive_root + suspect.path
    return _row(Discrepancy.ROW_WITHOUT_FILE, suspect.subaccount_id, suspect.path, *ids, place, reason)


def event_row(subaccount_id: str, *, session_id: str, recording_id: str | None) -> Row:
    """Return the finding that only events name this session, or this recording of it."""
    reason = "a webhook event names the recording, but 8x8's API does not list it for the session"
    if recording_id is None:
        reason = "a webhook event names the session, but no session source lists it on the days around it"
    subject = recording_id or session_id
    return _row(Discrepancy.EVENT_WITHOUT_SESSION, subaccount_id, subject, session_id, recording_id, None, reason)


def found_table(rows: Sequence[Row]) -> pa.Table:
    """Return the findings as a table for `reconciliation.reconciled`."""
    return pa.Table.from_pylist(list(rows), schema=FOUND)


def _rows_of_paths(kind: Discrepancy, places: Sequence[tuple[str, str, str]], *, reason: str) -> list[Row]:
    """Return a row for each (account, path, URI). Paths that become equal when cleaned share a row, which has their count."""
    rows: dict[tuple[str, str], Row] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for subaccount_id, path, uri in places:
        key = subaccount_id, cleaned_path(path)
        counts[key] += 1
        if key not in rows:
            rows[key] = _row(kind, *key, session_id_in(path), recording_id_in(path), uri, reason)
    for key, count in counts.items():
        if count > 1:
            rows[key]["reason"] += f"; {count} paths with this name after masking"
    return list(rows.values())


def _row(kind: Discrepancy, subaccount_id: str, *values: str | None) -> Row:
    """Return a finding; `values` are subject, session_id, recording_id, place and reason."""
    return dict(zip(FOUND.names, (subaccount_id, kind.value, *values), strict=True))


def _named_paths(files: pa.Table) -> tuple[Column, Column]:
    """Return, as bytes, the paths of the archived files, one per row, and those of all versions."""
    versions = pc.list_flatten(files["versions"].combine_chunks())
    return files["archive_path"].combine_chunks().cast(pa.binary()), versions.cast(pa.binary())


def _sizes_of(rows: pa.Table, stored: pa.Table) -> dict[str, int]:
    """Return the sizes of the files of these rows that are stored, by path."""
    there: list[Row] = stored.filter(are_named(stored, rows)).to_pylist()
    return {row["path"].decode(): row["size_bytes"] for row in there}


def _account_in(path: str) -> str:
    """Return the account of the path's first folder: the inverse of `identifiers.path_segment`."""
    segment = path.partition("/")[0]
    return cleaned_path(re.sub(r"^%(2E|5F)", lambda match: chr(int(match[1], 16)), segment))


def _location(account: AccountSettings) -> tuple[str, Any, list[str]]:
    """Return the scheme, server and path of the landing, which determine whether two landings overlap."""
    url = urlsplit(account.landing)
    server = (account.s3.endpoint_url, url.hostname) if url.scheme == "s3" else (url.hostname, url.port or 22)
    return url.scheme, server, [part for part in url.path.split("/") if part]

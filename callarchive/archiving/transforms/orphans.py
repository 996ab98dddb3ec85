"""What lies or is told somewhere and belongs to nothing: objects in a landing, files in the archive, webhook events; and rows
whose file is gone. Pure functions; reading landings, the archive, the inbox and the catalog is in `steps.reconciling`.

Names in landings and in the archive may be anybody's: what is written of them has no control character and no digits that
look like a phone number.
"""

import re
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
"""What is looked at in `recording_files`."""


@dataclass(frozen=True, slots=True)
class SuspectFile:
    """A file of the archive that a row names, and that a listing lacks or shows with another size.

    Attributes:
        size_bytes: by the row; None where the row names the file as a version.
        listed_size_bytes: by the listing; None where it lacks the file.
    """

    subaccount_id: str
    session_id: str
    recording_id: str
    path: str
    size_bytes: int | None
    listed_size_bytes: int | None


def accounts_sharing(account: AccountSettings, accounts: Sequence[AccountSettings]) -> list[str]:
    """The accounts, the given one among them, whose landings hold some of the same objects as its landing."""
    scheme, server, parts = _place(account)
    found = []
    for other in accounts:
        other_scheme, other_server, other_parts = _place(other)
        length = min(len(parts), len(other_parts))
        if (scheme, server) == (other_scheme, other_server) and parts[:length] == other_parts[:length]:
            found.append(other.subaccount_id)
    return found


def orphan_rows(subaccount_id: str, objects: Iterable[tuple[str, str]], *, landing_uri: str) -> list[Row]:
    """Findings: these objects, paths with URIs, are no known recording's."""
    places = [
        (subaccount_id, path, uri if cleaned_path(path) == path else f"{landing_uri.rstrip('/')}/{cleaned_path(path)}")
        for path, uri in objects
    ]
    return _of_places(
        Discrepancy.ORPHAN_OBJECT, places, reason="the catalog names no recording of the days around that it belongs to"
    )


def orphan_keys(subaccount_id: str, paths: Iterable[str]) -> list[str]:
    """The keys that rows of these objects have in `reconciliation`, as `reconciliation.reconciled` takes them."""
    return [f"{subaccount_id}/{Discrepancy.ORPHAN_OBJECT.value}/{cleaned_path(path)}" for path in paths]


def stored_table(objects: Iterable[StoredObject]) -> pa.Table:
    """What the archive holds: `path` as bytes, which need not be UTF-8, and `size_bytes`."""
    pairs = [(item.path.encode(errors="surrogateescape"), item.size_bytes) for item in objects]
    return pa.table(
        {
            "path": pa.array((path for path, _ in pairs), pa.binary(), size=len(pairs)),
            "size_bytes": pa.array((size_bytes for _, size_bytes in pairs), pa.int64(), size=len(pairs)),
        }
    )


def files_without_row(stored: pa.Table, files: pa.Table, *, archive_root: str) -> list[Row]:
    """Findings: files of the day in the archive that no row of `recording_files` names, not even as a version.

    Args:
        stored: see `stored_table`.
    """
    is_named = [pc.is_in(stored["path"], value_set=paths) for paths in _named_paths(files)]
    unnamed_bytes: list[Any] = stored["path"].filter(pc.invert(pc.or_(*is_named))).to_pylist()
    unnamed = sorted(path.decode(errors="surrogateescape") for path in unnamed_bytes)
    places = [(_account_in(path), path, archive_root + cleaned_path(path)) for path in unnamed]
    return _of_places(Discrepancy.FILE_WITHOUT_ROW, places, reason="no row names the file")


def suspect_files(stored: pa.Table, files: pa.Table) -> list[SuspectFile]:
    """Return files that rows of `recording_files` name, versions too, and that the listing lacks or has with another size.

    Args:
        stored: see `stored_table`.
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
                account_id, session_id, recording_id = row["subaccount_id"], row["session_id"], row["recording_id"]
                found[path] = SuspectFile(account_id, session_id, recording_id, path, size_bytes, listed)
    return list(found.values())


def row_without_file(suspect: SuspectFile, *, reason: str, archive_root: str) -> Row:
    """Return the finding that the file is gone or has another size."""
    return {
        "subaccount_id": suspect.subaccount_id,
        "kind": Discrepancy.ROW_WITHOUT_FILE.value,
        "subject": suspect.path,
        "session_id": suspect.session_id,
        "recording_id": suspect.recording_id,
        "place": archive_root + suspect.path,
        "reason": reason,
    }


def event_row(subaccount_id: str, *, session_id: str, recording_id: str | None) -> Row:
    """A finding: events tell of this session, or of this recording of it, and no source or answer of 8x8's does."""
    return {
        "subaccount_id": subaccount_id,
        "kind": Discrepancy.EVENT_WITHOUT_SESSION.value,
        "subject": recording_id or session_id,
        "session_id": session_id,
        "recording_id": recording_id,
        "place": None,
        "reason": "a webhook event tells of the session, and no session source of the days around it does"
        if recording_id is None
        else "a webhook event tells of the recording, and 8x8's answers for its session do not",
    }


def found_table(rows: Sequence[Row]) -> pa.Table:
    """The findings as `reconciliation.reconciled` takes them."""
    return pa.Table.from_pylist(list(rows), schema=FOUND)


def _of_places(kind: Discrepancy, places: Sequence[tuple[str, str, str]], *, reason: str) -> list[Row]:
    """A row for each place: account, path, URI as it is shown. Paths that are shown alike are one row, which says so."""
    rows: dict[tuple[str, str], Row] = {}
    counts: dict[tuple[str, str], int] = {}
    for subaccount_id, path, uri in places:
        key = subaccount_id, cleaned_path(path)
        counts[key] = counts.get(key, 0) + 1
        rows.setdefault(
            key,
            {
                "subaccount_id": subaccount_id,
                "kind": kind.value,
                "subject": key[1],
                "session_id": session_id_in(path),
                "recording_id": recording_id_in(path),
                "place": uri,
                "reason": reason,
            },
        )
    for key, count in counts.items():
        if count > 1:
            rows[key]["reason"] += f"; {count} that are written alike here"
    return list(rows.values())


def _named_paths(files: pa.Table) -> tuple[Column, Column]:
    """The paths of the kept files, one for each row, and those of all of their versions; as bytes."""
    versions = pc.list_flatten(files["versions"].combine_chunks())
    return files["archive_path"].combine_chunks().cast(pa.binary()), versions.cast(pa.binary())


def _sizes_of(rows: pa.Table, stored: pa.Table) -> dict[str, int]:
    """The sizes in bytes of those files that these rows name and that are there, by path."""
    named = [pc.is_in(stored["path"], value_set=paths) for paths in _named_paths(rows)]
    there: list[Row] = stored.filter(pc.or_(*named)).to_pylist()
    return {row["path"].decode(): row["size_bytes"] for row in there}


def _account_in(path: str) -> str:
    """The account whose folder the path begins with: see `identifiers.path_segment`."""
    segment = path.partition("/")[0]
    return cleaned_path(re.sub(r"^%(2E|5F)", lambda match: chr(int(match[1], 16)), segment))


def _place(account: AccountSettings) -> tuple[str, Any, list[str]]:
    """Scheme, server and path of the landing, as far as they tell whether two landings overlap."""
    url = urlsplit(account.landing)
    server = (account.s3.endpoint_url, url.hostname) if url.scheme == "s3" else (url.hostname, url.port or 22)
    return url.scheme, server, [part for part in url.path.split("/") if part]

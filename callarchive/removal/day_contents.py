"""What there is of an account's day: its sessions and recordings by tables and paths, and its files."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from callarchive.archiving.connections import Connections
from callarchive.archiving.recording_archive import QUARANTINE
from callarchive.archiving.transfer_journal import TransferJournal
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import pc
from callarchive.domain.identifiers import is_uuid
from callarchive.domain.models import ArchiveStatus
from callarchive.storage.stores import StoredObject

TABLES = (*schemas.STEP_TABLES, *schemas.PUBLIC_TABLES)


@dataclass
class DayContents:
    """What there is of an account's day: the recordings of each session, without what was erased.

    Attributes:
        sources: the path in the landing of each recording whose object is known.
    """

    sessions: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    sources: dict[str, str] = field(default_factory=dict)


def contents_of(connections: Connections, subaccount_id: str, day: date) -> DayContents:
    """Return the sessions and recordings that tables, journals and files of the day name. The day's lock is held."""
    found, catalog = DayContents(), connections.catalog
    for table in TABLES:
        names = table.schema.names
        if "session_id" not in names or table is schemas.RECONCILIATION:
            continue
        wanted = ["session_id", *(name for name in ("recording_id", "archive_status", "source_path") if name in names)]
        columns = ["subaccount_id", *wanted]
        is_files = table is schemas.RECORDING_FILES
        rows = (
            TransferJournal(catalog, day).known(columns) if is_files else catalog.partition(table, day, columns=columns)
        )
        rows = rows.filter(pc.equal(rows["subaccount_id"], subaccount_id))
        if "archive_status" in names:
            rows = rows.filter(pc.not_equal(rows["archive_status"], ArchiveStatus.ERASED.value))
        sessions: list[Any] = rows["session_id"].to_pylist()
        if "recording_id" not in names:
            for session_id in sessions:
                found.sessions[session_id].update(())
            continue
        recordings: list[Any] = rows["recording_id"].to_pylist()
        for session_id, recording_id in zip(sessions, recordings, strict=True):
            found.sessions[session_id].add(recording_id)
        if is_files:
            paths = zip(recordings, rows["source_path"].to_pylist(), strict=True)
            found.sources |= {recording_id: path for recording_id, path in paths if path is not None}
    for _, session_id, recording_id in files_of_day(connections, subaccount_id, day):
        if is_uuid(session_id):
            found.sessions[session_id].update({recording_id} if is_uuid(recording_id) else set())
    return found


def files_of_day(connections: Connections, subaccount_id: str, day: date) -> Iterator[tuple[StoredObject, str, str]]:
    """Yield each file of the account's day, archived or in quarantine, with its session and recording id by its path."""
    for folder in day_folders(connections, subaccount_id, day):
        for item in connections.archive.store.list(folder):
            session_id, _, name = item.path.removeprefix(f"{folder}/").partition("/")
            yield item, session_id, name.partition(".")[0]


def day_folders(connections: Connections, subaccount_id: str, day: date) -> tuple[str, str]:
    """Return the account's folders of the day: of archived files, and of quarantined ones."""
    folder = connections.archive.day_folder(subaccount_id, day)
    return folder, f"{QUARANTINE}/{folder}"

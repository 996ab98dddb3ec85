"""The recordings that somebody wants to hear: which ones an id means, and where their verified files are."""

from collections.abc import Callable

from callarchive.archiving.connections import Connections
from callarchive.catalog import schemas
from callarchive.catalog.rows import Row
from callarchive.domain.errors import ArchiveError, ObjectNotFoundError
from callarchive.domain.identifiers import parse_id, plain_id
from callarchive.monitoring.trace import rows_with


def recordings_of(connections: Connections, text: str) -> list[Row]:
    """Return the rows of `recordings` of the recording or session with this id, the earliest first.

    Each has its `call_date` and its `archive_path`, None without a file. Raises InvalidIdError if the text is no id,
    StoreError or UnavailableError if the catalog cannot be read.
    """
    wanted = parse_id(plain_id(text), kind="session or recording id")
    found = rows_with(connections, schemas.RECORDINGS, recording_id=wanted)
    found = found or rows_with(connections, schemas.RECORDINGS, session_id=wanted)
    found.sort(key=lambda row: (row["started_at"] is None, row["started_at"], row["recording_id"]))
    for row in found:
        key = {name: row[name] for name in schemas.RECORDING_FILES.key}
        files = rows_with(connections, schemas.RECORDING_FILES, day=row["call_date"], **key)
        row["archive_path"] = files[0]["archive_path"] if files else None
    return found


def require_archived(row: Row) -> None:
    """Raise ArchiveError, with the reason and the next step, unless the row of `recordings_of` has a file."""
    if row["archive_status"] != "archived" or row["archive_path"] is None:
        status, error = row["archive_status"], row["error"] or "no reason is known"
        reason = error if error.startswith(f"{status} ") else f"{status}: {error}"
        day = f"callarchive archive --day {row['call_date']}"
        step = "it cannot be restored" if status == "erased" else f"to try again: {day}"
        raise ArchiveError(f"recording {row['recording_id']} is not archived ({reason}): {step}")


def copy_verified(connections: Connections, row: Row, write: Callable[[bytes], object]) -> None:
    """Pass the archived file of a row of `recordings_of` to `write`, and compare its SHA-256 with the catalog's.

    Raises ArchiveError if there is no file, or its bytes differ, which is known only after all of them were written;
    UnavailableError, AccessDeniedError.
    """
    import hashlib

    name = f"recording {row['recording_id']}"
    require_archived(row)
    uri = connections.archive.store.uri(row["archive_path"])
    digest = hashlib.sha256()
    try:
        for chunk in connections.archive.store.open(row["archive_path"]):
            digest.update(chunk)
            write(chunk)
    except ObjectNotFoundError as err:
        raise ArchiveError(
            f"{name}: its file {uri} is gone: restore it from a backup; callarchive verify lists all"
        ) from err
    if digest.hexdigest() != row["sha256"]:
        raise ArchiveError(f"{name}: the bytes of {uri} are not those that were archived: restore it from a backup")

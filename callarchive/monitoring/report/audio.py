"""The audio of the report: archived files, verified against the catalog and encoded as base64, in one temporary file.

A file is read once. It is hashed while it is encoded, and what was encoded is dropped if its bytes are not those of the
catalog. Nothing but one chunk is in memory.
"""

import base64
import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import BinaryIO

from callarchive.archiving.connections import Connections
from callarchive.catalog import schemas
from callarchive.domain.errors import ObjectNotFoundError, StoreError
from callarchive.domain.plurals import size_text
from callarchive.monitoring.report.calls import Recording, Report
from callarchive.runtime.worker_pool import Progress
from callarchive.storage.landing.places import PlaceRefusedError

LARGEST_BYTES = 24_000_000
"""Of a recording: Firefox opens embedded data of up to 32 MiB, and base64 adds a third."""
_GROUP = 3  # bytes that base64 encodes together
_CHUNK_BYTES = 1024 * 1024


@dataclass
class EmbeddedAudio:
    """What was encoded into `file`, and how many recordings are in it."""

    file: BinaryIO
    count: int = 0
    size_bytes: int = 0
    not_intact: int = 0
    unreadable: int = 0

    def text_of(self, recording: Recording) -> Iterator[str]:
        """Yield the base64 text of an embedded recording."""
        if recording.audio is not None:
            offset, left = recording.audio
            self.file.seek(offset)
            while left:
                data = self.file.read(min(left, _CHUNK_BYTES))
                left -= len(data)
                yield data.decode("ascii")


class _ChangedError(Exception):
    """The bytes are not those of the catalog."""


def embed_audio(
    connections: Connections, report: Report, file: BinaryIO, *, limit_bytes: int, progress: Progress
) -> EmbeddedAudio:
    """Encode the archived recordings of the listed calls into `file`, the newest first, until `limit_bytes` are reached.

    A file that is gone or changed is never embedded, and changes the state of its call. Raises UnavailableError or
    AccessDeniedError if the archive cannot be read, OSError if `file` cannot be written.
    """
    embedded = EmbeddedAudio(file)
    paths: dict[date, dict[tuple[str, str], str]] = {}
    wanted = [(call, item) for call in report.calls for item in call.recordings if _is_archived(item)]
    progress.begin("reading recordings", len(wanted))
    for call, recording in wanted:
        progress.advance()
        size_bytes = recording.row["size_bytes"]
        if size_bytes is not None and size_bytes > LARGEST_BYTES:
            recording.not_embedded = f"not in this page: larger than {size_text(LARGEST_BYTES)}"
            continue
        if embedded.size_bytes + (size_bytes or 0) > limit_bytes:
            recording.not_embedded = f"not in this page: its limit of {size_text(limit_bytes)} of audio was reached"
            continue
        if call.day not in paths:
            paths = {call.day: _paths(connections, call.day)}
        path = paths[call.day].get((call.subaccount_id, recording.row["recording_id"]), "")
        start = file.tell()
        try:
            size_bytes = _encode(connections, path, recording, file)
            recording.audio = (start, file.tell() - start)
            embedded.count += 1
            embedded.size_bytes += size_bytes
        except (_ChangedError, ObjectNotFoundError, PlaceRefusedError) as err:
            reason = str(err) if isinstance(err, _ChangedError) else "its file is missing in the archive"
            recording.not_embedded = f"not in this page: {reason}"
            embedded.not_intact += 1
            report.mark_not_intact(call)
        except StoreError as err:
            recording.not_embedded = f"not in this page: its file cannot be read: {err}"
            embedded.unreadable += 1
        if recording.audio is None:
            with suppress(ValueError):
                file.seek(start)
                file.truncate()
    return embedded


def _is_archived(recording: Recording) -> bool:
    return bool(recording.row["archive_status"] == "archived")


def _paths(connections: Connections, day: date) -> dict[tuple[str, str], str]:
    columns = ("subaccount_id", "recording_id", "archive_path")
    rows = connections.catalog.partition(schemas.RECORDING_FILES, day, columns=columns).to_pylist()
    return {(row["subaccount_id"], row["recording_id"]): row["archive_path"] for row in rows if row["archive_path"]}


def _encode(connections: Connections, path: str, recording: Recording, file: BinaryIO) -> int:
    """Append the file's base64 and return its size. Raises _ChangedError if it is not the file of the catalog."""
    digest, size_bytes, rest = hashlib.sha256(), 0, b""
    most_bytes = LARGEST_BYTES if recording.row["size_bytes"] is None else recording.row["size_bytes"]
    for chunk in connections.archive.store.open(path):
        digest.update(chunk)
        size_bytes += len(chunk)
        if size_bytes > most_bytes:
            raise _ChangedError("its file is larger than the one that was archived")
        data = rest + chunk
        whole = len(data) - len(data) % _GROUP
        file.write(base64.b64encode(data[:whole]))
        rest = data[whole:]
    file.write(base64.b64encode(rest))
    if not size_bytes:
        raise _ChangedError("its file is empty")
    if digest.hexdigest() != recording.row["sha256"]:
        raise _ChangedError("its bytes are not those that were archived (SHA-256 differs)")
    return size_bytes

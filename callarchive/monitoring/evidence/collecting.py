"""What is known of a recording, compared with the catalog and the ledger before any of it is given away."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import PurePosixPath
from typing import Any

from callarchive.archiving.connections import Connections
from callarchive.archiving.transforms.ledger_entries import FILE_COLUMNS, files_of
from callarchive.catalog import schemas
from callarchive.catalog.rows import Row
from callarchive.custody.holds import Item, Scope
from callarchive.domain.errors import ArchiveError, ConfigurationError, LedgerError
from callarchive.domain.phone_numbers import HASH_PREFIX
from callarchive.ledger.checking import CheckedLedger, Entry
from callarchive.monitoring.listening import require_archived
from callarchive.monitoring.trace import find, rows_with
from callarchive.monitoring.verification.witnessed import compare_with_ledger, read_ledger
from callarchive.removal.holds import ADDED, EVENTS

_TABLES = (schemas.SESSIONS, schemas.RECORDINGS)
_NUMBERS = ("source_number", "destination_number")


@dataclass(frozen=True)
class RecordedFile:
    """A file of the recording, and the last entry of the ledger about it."""

    path: str
    sha256: str
    entry: Entry

    @property
    def name(self) -> str:
        """Its name without folders."""
        return PurePosixPath(self.path).name

    @property
    def is_adopted(self) -> bool:
        """Whether the file was there before the ledger, so that no run recorded its arrival."""
        return bool(self.entry.facts.get("event") == "adopted")


@dataclass(frozen=True)
class Known:
    """What is known of an archived recording.

    Attributes:
        row: its row of `recordings_of`.
        files: its file, then its other versions, oldest first; most recordings have none.
        facts: what the file `facts.json` has.
        is_replaced: whether the ledger has different hashes for the same path.
    """

    row: Row
    files: Sequence[RecordedFile]
    facts: dict[str, Any]
    is_replaced: bool


def collect(connections: Connections, row: Row, *, with_numbers: bool) -> Known:
    """Return what is known of a row of `recordings_of`.

    Raises ArchiveError if it is not archived, if catalog and ledger disagree about it or about the tables of its day, or if the
    ledger is not intact; ConfigurationError if `with_numbers` is set and no numbers are kept, or the ledger cannot be signed
    here; StoreError, UnavailableError.
    """
    require_archived(row)
    numbers = _numbers(connections, row) if with_numbers else {}
    checked = read_ledger(connections)
    if checked.problems:
        more = f" (and {len(checked.problems) - 1} more)" if len(checked.problems) > 1 else ""
        raise LedgerError(
            f"the ledger proves nothing: {checked.problems[0]}{more}: callarchive ledger verify lists all"
        )
    if "\n\n" in checked.note and not connections.ledger.can_sign:
        raise ConfigurationError(
            "evidence is recorded in the ledger, which is signed, and ledger.signing_key is not set here: run it where"
            " recordings are archived"
        )
    day: date = row["call_date"]
    with connections.day_lock_for_reading(day):
        _require_recorded_tables(connections, checked, day)
        entries = [entry for entry in checked.entries(str(day)) if _is_about(entry, row)]
        files = _files(connections, row, entries)
        facts = _facts(connections, row, numbers)
    facts["holds"] = [{"number": entry.number, **entry.facts} for entry in _hold_entries(checked.noted, row)]
    facts["ledger_entries"] = [{"number": entry.number, **entry.facts} for entry in entries]
    paths = {file.path for file in files}
    contents = {(_path(entry), entry.facts.get("sha256")) for entry in entries if _path(entry) in paths}
    return Known(row, files, facts, is_replaced=len(contents) > len(paths))


def _require_recorded_tables(connections: Connections, checked: CheckedLedger, day: date) -> None:
    findings, unfinished = compare_with_ledger(connections, checked, day, None)
    for what in (*(finding.what for finding in findings), *unfinished):
        raise LedgerError(f"the tables of {day} are not those in the ledger: {what}: callarchive verify lists all")


def _is_about(entry: Entry, row: Row) -> bool:
    return all(entry.facts.get(name) == row[name] for name in schemas.RECORDINGS.key)


def _hold_entries(noted: Sequence[Entry], row: Row) -> list[Entry]:
    """Return the entries about holds that cover the recording."""
    item = Item(row["subaccount_id"], row["call_date"], row["session_id"], row["recording_id"])
    of_holds = [entry for entry in noted if entry.facts["event"] in EVENTS]
    added = [entry.facts for entry in of_holds if entry.facts["event"] == ADDED]
    covering = {facts.get("hold") for facts in added if Scope.of(facts).covers(item)}
    return [entry for entry in of_holds if entry.facts.get("hold") in covering]


def _path(entry: Entry) -> str | None:
    return entry.facts.get("archive_path")


def _files(connections: Connections, row: Row, entries: Sequence[Entry]) -> list[RecordedFile]:
    """Return the files of the recording. Raises ArchiveError if the ledger lacks one, or has another hash."""
    key = {name: row[name] for name in schemas.RECORDING_FILES.key}
    [kept] = rows_with(connections, schemas.RECORDING_FILES, day=row["call_date"], **key)
    named = {
        path: sha256 for path, sha256, event in files_of({n: kept[n] for n in FILE_COLUMNS}) if event != "quarantined"
    }
    if named[row["archive_path"]] != row["sha256"]:
        raise ArchiveError(f"recording {row['recording_id']}: the tables disagree about its hash: callarchive verify")
    recorded = {
        _path(entry): entry for entry in entries if entry.facts.get("event") in ("archived", "adopted", "version")
    }
    files = []
    for path, sha256 in named.items():
        uri = connections.archive.store.uri(path)
        entry = recorded.get(path)
        if entry is None or sha256 is None:
            raise LedgerError(
                f"no run recorded {uri} in the ledger, so nothing proves it: callarchive verify lists all"
            )
        if entry.facts.get("sha256") != sha256:
            raise LedgerError(
                f"the hash of {uri} in the catalog is {sha256}, but {entry.facts.get('sha256')} in the ledger"
                f" (entry {entry.number}): callarchive verify lists all"
            )
        files.append(RecordedFile(path, sha256, entry))
    return files


def _numbers(connections: Connections, row: Row) -> dict[str, str]:
    """Return the phone numbers of the call. Raises ConfigurationError if the catalog does not keep them."""
    key = {name: row[name] for name in schemas.SESSIONS.key}
    [session] = rows_with(connections, schemas.SESSIONS, day=row["call_date"], **key)
    numbers = {name: session[name] for name in _NUMBERS if session[name] is not None}
    if not numbers or any(number.startswith(HASH_PREFIX) for number in numbers.values()):
        raise ConfigurationError(
            f"--with-numbers: the catalog has no phone numbers of session {row['session_id']} (accounts.phone_numbers):"
            " leave the option out"
        )
    return numbers


def _facts(connections: Connections, row: Row, numbers: dict[str, str]) -> dict[str, Any]:
    """Return the rows of the recording and its session, the meaning of their columns, and the steps of the trace."""
    key = {name: row[name] for name in schemas.SESSIONS.key}
    traces = find(connections, row["recording_id"])
    trace = next(trace for trace in traces if {name: trace.session[name] for name in key} == key)
    recording = next(found for found in trace.recordings if found["recording_id"] == row["recording_id"])
    rows = {"sessions": {**trace.session, **numbers}, "recordings": recording}
    return {
        "call_date": row["call_date"],
        "time_zone": connections.settings.timezone,
        **{table.name: {name: rows[table.name][name] for name in table.schema.names} for table in _TABLES},
        "columns": {table.name: {column.name: column.meaning for column in table.columns} for table in _TABLES},
        "life": {
            "session": [step.document() for step in trace.links],
            "recording": [step.document() for step in recording["links"]],
        },
    }

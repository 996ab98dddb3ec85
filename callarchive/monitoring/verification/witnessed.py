"""Verification against the ledger: what runs recorded of a day's files and public tables, and what is there now."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

import pyarrow as pa

from callarchive.archiving.connections import Connections
from callarchive.archiving.transforms.ledger_entries import FILE_COLUMNS, files_of
from callarchive.catalog.arrow_columns import rows_in
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.schemas import PUBLIC_TABLES, RECORDING_FILES, Table
from callarchive.domain.errors import ArchiveError, ObjectNotFoundError
from callarchive.domain.evidence import Absent
from callarchive.domain.foreign_text import cleaned_path
from callarchive.domain.models import ArchiveStatus
from callarchive.ledger.checking import CheckedLedger, Entry, check_ledger, witness_in
from callarchive.monitoring.verification.custody import erasures_in
from callarchive.monitoring.verification.findings import Defect, Finding

_FILES = ("archived", "adopted", "version", "quarantined")
_PARTITIONS = ("published", "adopted_partition")
_MEASURED = ("size_bytes", "duration_s")
"""Facts that never change while the bytes do not."""


@dataclass
class _Recorded:
    """What the ledger says of a day: the last entry of each file, and the entries of each table with their state."""

    files: dict[str, Entry] = field(default_factory=dict)
    partitions: dict[str, list[Entry]] = field(default_factory=dict)
    completed: dict[str, int] = field(default_factory=dict)
    """The index in `partitions` of the last file that is known to have been in place, by path."""


def read_ledger(connections: Connections, *, since: tuple[str, str] | None = None) -> CheckedLedger:
    """Read and check the whole ledger, also against the anchor and a checkpoint: the name and the text of its file.

    Raises ArchiveError if one of them is no checkpoint, StoreError.
    """
    witnesses = []
    if since is not None:
        place, note = since
        witnesses.append(witness_in(note, place, connections.ledger))
    if connections.anchor is not None and (anchored := connections.anchor.last()) is not None:
        witnesses.append(anchored)
    return check_ledger(connections.ledger, witnesses)


def days_since(checked: CheckedLedger, days: Iterable[date]) -> list[date]:
    """Return the days with entries after the checkpoint that the ledger was compared with first, or without any entry."""
    size = checked.witnesses[0].checkpoint.size
    return [day for day in days if max(checked.days.get(str(day), [size])) >= size]


def compare_with_ledger(
    connections: Connections, checked: CheckedLedger, day: date, files: pa.Table | None
) -> tuple[list[Finding], list[str]]:
    """Return the findings of a day whose lock is held, and what could not be compared.

    Entries that were added after the ledger was read are read before anything is reported.

    Args:
        files: `recording_files` with the rows of a run in progress; None if it cannot be read.
    """
    found = _compare(connections, checked, day, files)
    if found != ([], []) and checked.extend():
        found = _compare(connections, checked, day, files)
    return found


def _compare(
    connections: Connections, checked: CheckedLedger, day: date, files: pa.Table | None
) -> tuple[list[Finding], list[str]]:
    try:
        recorded = _recorded(checked.entries(str(day)))
    except (ArchiveError, ValueError, TypeError, KeyError, AttributeError) as err:
        why = f"they have values that no run wrote ({type(err).__name__}: {err})"
        return [], [f"{day}: its entries in the ledger cannot be read: {err if isinstance(err, ArchiveError) else why}"]
    findings: list[Finding] = []
    unfinished: list[str] = []
    if files is not None:
        findings += _compare_files(connections, recorded, day, files)
        findings += _compare_erased(checked, files)
    for table in PUBLIC_TABLES:
        finding, doubt = _compare_partition(connections.catalog, table, day, recorded)
        findings += finding
        unfinished += doubt
    return findings, unfinished


def _recorded(entries: Iterable[Entry]) -> _Recorded:
    recorded = _Recorded()
    for entry in entries:
        facts = entry.facts
        event = facts.get("event")
        if event in _FILES:
            recorded.files[facts["archive_path"]] = entry
        elif event in _PARTITIONS:
            recorded.partitions.setdefault(facts["path"], []).append(entry)
            if event == "adopted_partition":
                recorded.completed[facts["path"]] = len(recorded.partitions[facts["path"]]) - 1
        elif event == "completed":
            for partition in facts["partitions"]:
                known = recorded.partitions.get(partition["path"], [])
                for index in range(len(known) - 1, -1, -1):
                    if known[index].facts["sha256"] == partition["sha256"]:
                        recorded.completed[partition["path"]] = index
                        break
    return recorded


def _compare_files(connections: Connections, recorded: _Recorded, day: date, files: pa.Table) -> Iterator[Finding]:
    root = connections.archive.root_uri
    named = _hashes(files)
    latest = {row["archive_path"]: row for row in rows_in(files.select(["archive_path", *_MEASURED]))}
    for path, entry in recorded.files.items():
        sha256, at = entry.facts["sha256"], entry.facts.get("at")
        if path not in named:
            if entry.facts["event"] == "quarantined" and not isinstance(connections.archive.store.stat(path), Absent):
                continue  # the recording has become audio, or is not named any more; its bytes stay in quarantine
            what = f"recording_files does not name it, but the ledger does ({_entry(entry)}, {at}): restore the catalog"
            yield Finding(Defect.REMOVED, f"{root}{path}: {what}")
        elif sha256 is not None and named[path] != sha256:
            shown = f"its hash in recording_files is {named[path]}, but was {sha256} when it was archived"
            yield Finding(Defect.EDITED, f"{root}{path}: {shown} ({_entry(entry)}, {at})")
        elif path in latest:
            for name in _MEASURED:
                now, was = latest[path][name], entry.facts.get(name)
                if was is not None and now != was:
                    shown = f"its {name} in recording_files is {now}, but was {was} when it was archived"
                    yield Finding(Defect.EDITED, f"{root}{path}: {shown} ({_entry(entry)}, {at})")
    # A run in progress has rows that it has not recorded yet.
    published = connections.catalog.partition(RECORDING_FILES, day, columns=FILE_COLUMNS)
    for path in sorted(_hashes(published).keys() - recorded.files.keys()):
        yield Finding(
            Defect.ADDED, f"{cleaned_path(path)}: recording_files names it, but no run recorded it in the ledger"
        )


def _compare_erased(checked: CheckedLedger, files: pa.Table) -> Iterator[Finding]:
    """Yield findings for recordings that are erased in the catalog or in the ledger only."""
    erased = {
        (entry.facts.get("subaccount_id"), recording_id): entry
        for entry in erasures_in(checked.noted).values()
        for recording_id in entry.facts.get("recording_ids", ())
    }
    for row in rows_in(files.select([*RECORDING_FILES.key, "archive_status"])):
        key, is_erased = (row["subaccount_id"], row["recording_id"]), row["archive_status"] == ArchiveStatus.ERASED
        name = f"recording_files {cleaned_path('/'.join(key))}"
        if is_erased and key not in erased:
            yield Finding(
                Defect.EDITED, f"{name}: it is erased, but the ledger has no erasure of it: restore the catalog"
            )
        elif key in erased and not is_erased:
            what = f"it is {row['archive_status']}, but it was erased ({_entry(erased[key])}): erase it again"
            yield Finding(Defect.ADDED, f"{name}: {what}")


def _compare_partition(
    catalog: Catalog, table: Table, day: date, recorded: _Recorded
) -> tuple[Sequence[Finding], Sequence[str]]:
    path = table.partition_path(day)
    entries = recorded.partitions.get(path, [])
    uri = catalog.store.uri(path)
    again = f"restore it from a backup, or remove it and archive {day} again"
    try:
        sha256 = hashlib.sha256(catalog.store.read(path)).hexdigest()
    except ObjectNotFoundError:
        if path not in recorded.completed:
            return (), [f"{uri}: a run was killed before it was in place: archive {day} again"] if entries else ()
        return [
            Finding(Defect.REMOVED, f"{uri}: it does not exist, but the ledger has it ({_entry(entries[-1])}): {again}")
        ], ()
    except ArchiveError as err:
        return [Finding(Defect.UNREADABLE, f"{uri}: not compared with the ledger: {err}")], ()
    if not entries:
        return [Finding(Defect.ADDED, f"{uri}: no run recorded it in the ledger: {again}")], ()
    if sha256 == entries[-1].facts["sha256"]:
        return (), ()
    since = recorded.completed.get(path, 0)
    earlier = [entry for entry in entries if entry.facts["sha256"] == sha256]
    if any(entry in entries[since:] for entry in earlier):
        return (), [f"{uri}: a run was killed before it replaced it ({_entry(entries[-1])}): archive {day} again"]
    if earlier:
        was = f"it was rolled back to the file of {earlier[-1].facts.get('at')} ({_entry(earlier[-1])})"
    else:
        was = "it is not a file that a run wrote"
    last = entries[-1]
    what = (
        f"{was}: its SHA-256 is {sha256}, but that of {last.facts.get('at')} is {last.facts['sha256']} ({_entry(last)})"
    )
    return [Finding(Defect.EDITED, f"{uri}: {what}: {again}")], ()


def _hashes(files: pa.Table) -> dict[str, str | None]:
    """Return the hash of each file that the rows name."""
    rows = rows_in(files.select(list(FILE_COLUMNS)))
    return {path: sha256 for row in rows for path, sha256, _ in files_of(row)}


def _entry(entry: Entry) -> str:
    return f"entry {entry.number}"

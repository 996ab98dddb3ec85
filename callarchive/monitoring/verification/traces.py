"""What else tells of a day's rows: later steps' tables, webhook events, and 8x8's answers as they were kept.

Whoever removes a row with everything that was computed from it leaves these.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import pyarrow as pa

from callarchive.archiving.connections import Connections
from callarchive.archiving.responses.journal import lookups_path, merged_lines
from callarchive.archiving.responses.lines import lookup_of, status_when_kept
from callarchive.archiving.responses.store import call_log_path
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import Column, keys_of, pc
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.rows import Key
from callarchive.catalog.schemas import Table
from callarchive.domain.errors import ArchiveError, StoreError
from callarchive.domain.evidence import Present
from callarchive.domain.foreign_text import cleaned_path
from callarchive.domain.models import ArchiveStatus, Lookup, LookupStatus
from callarchive.monitoring.verification.findings import Defect, Finding
from callarchive.monitoring.verification.partitions import DayTables

_SESSION, _RECORDING = schemas.SESSION_IDS.key, schemas.RECORDING_METADATA.key
_DAY = timedelta(days=1)


def removed_from_steps(tables: DayTables, files: pa.Table, *, accounts: Sequence[str]) -> list[Finding]:
    """Return rows of the step tables that are not there though a later step's table, or an event, names them.

    Args:
        files: `recording_files`, with what the journal has of it.
        accounts: those that are configured; of others recordings need not have been fetched.
    """
    findings: list[Finding] = []
    for table, names, by in (
        (schemas.SESSION_IDS, _SESSION, schemas.LOOKUPS),
        (schemas.SESSION_IDS, _SESSION, schemas.RECORDING_METADATA),
        (schemas.SESSION_IDS, _SESSION, schemas.RECORDING_EVENTS),
        (schemas.RECORDING_METADATA, _RECORDING, schemas.RECORDING_EVENTS),
    ):
        if tables.damaged(table, by) or not tables.present(table):
            continue
        lost = _lacking(keys_of(tables.rows(by), names), keys_of(tables.rows(table), names))
        findings += [_removed(table, key, f"{by.name} names it") for key in lost]
    if not tables.damaged(schemas.RECORDING_METADATA, schemas.RECORDINGS):
        metadata = tables.rows(schemas.RECORDING_METADATA)
        named = metadata.filter(pc.is_in(metadata["subaccount_id"], value_set=pa.array(accounts, pa.string())))
        public = tables.rows(schemas.RECORDINGS)
        waiting = public.filter(pc.equal(public["archive_status"], ArchiveStatus.PENDING.value))
        known = pa.concat_arrays([keys_of(files, _RECORDING), keys_of(waiting, _RECORDING)])
        shown_already = set(keys_of(public, _RECORDING).to_pylist())
        findings += [
            _removed(schemas.RECORDING_FILES, key, "recording_metadata names it")
            for key in _lacking(keys_of(named, _RECORDING), known)
            if key not in shown_already  # else comparing `recordings` finds it
        ]
    return list(dict.fromkeys(findings))


def removed_from_answers(catalog: Catalog, tables: DayTables) -> list[Finding]:
    """Return sessions and recordings that a kept answer of 8x8 names and that neither the day nor its neighbours have.

    Also look-ups that are older than the answer, or that read it as another status than the run that kept it.
    """
    if tables.damaged(schemas.SESSION_IDS, schemas.RECORDING_METADATA, schemas.LOOKUPS):
        return []
    around = (tables.day - _DAY, tables.day + _DAY)
    sessions = _keys(catalog, schemas.SESSION_IDS, around) | set(
        keys_of(tables.rows(schemas.SESSION_IDS), _SESSION).to_pylist()
    )
    recordings = _keys(catalog, schemas.RECORDING_METADATA, around) | set(
        keys_of(tables.rows(schemas.RECORDING_METADATA), _RECORDING).to_pylist()
    )
    lookups = tables.rows(schemas.LOOKUPS)
    columns = (lookups[name].to_pylist() for name in ("lookup_status", "looked_up_at"))
    told = dict(zip(keys_of(lookups, _SESSION).to_pylist(), zip(*columns, strict=True), strict=True))
    findings: list[Finding] = []
    try:
        for (account, session_id), lookup, status in _kept(catalog, tables.day):
            if account in tables.failed_accounts or status != LookupStatus.OK or not lookup.recordings:
                continue
            key = f"{account}/{session_id}"
            if key not in sessions:
                findings.append(_removed(schemas.SESSION_IDS, key, "a kept answer of 8x8 names its recordings"))
            findings += [
                _removed(schemas.RECORDING_METADATA, f"{account}/{recording.recording_id}", "a kept answer names it")
                for recording in lookup.recordings
                if f"{account}/{recording.recording_id}" not in recordings
            ]
            if key in told:
                findings += _edited(key, told[key], lookup)
    except StoreError as err:
        findings.append(
            Finding(Defect.UNREADABLE, f"{catalog.store.uri(lookups_path(tables.day))}: not checked: {err}")
        )
    return findings


def removed_from_call_logs(connections: Connections, tables: DayTables) -> list[Finding]:
    """Return sessions that a kept call log of 8x8's names and that neither the day nor its neighbours have."""
    if tables.damaged(schemas.SESSION_IDS):
        return []
    catalog = connections.catalog
    sessions: set[str] | None = None
    findings: list[Finding] = []
    for account in connections.settings.accounts:
        name = account.subaccount_id
        if name in tables.failed_accounts or not isinstance(
            catalog.store.stat(call_log_path(tables.day, name)), Present
        ):
            continue
        if sessions is None:
            sessions = _keys(catalog, schemas.SESSION_IDS, (tables.day - _DAY, tables.day, tables.day + _DAY))
        sources = [source for source in connections.sources(account, reread=True) if source.kind == "log_export"]
        try:
            named = {
                f"{name}/{session.session_id}" for source in sources for session in source.find(tables.day).sessions
            }
        except ArchiveError as err:
            place = catalog.store.uri(call_log_path(tables.day, name))
            findings.append(Finding(Defect.UNREADABLE, f"{place}: not checked: {err}"))
            continue
        lost = sorted(named - sessions)
        findings += [_removed(schemas.SESSION_IDS, key, "the kept call log names it") for key in lost]
    return findings


def _edited(key: str, row: tuple[str, object], lookup: Lookup) -> list[Finding]:
    status, looked_up_at = row
    if looked_up_at is None or looked_up_at < lookup.looked_up_at:  # type: ignore[operator]
        what = f"looked_up_at is {looked_up_at}, and a kept answer is of {lookup.looked_up_at}"
    elif looked_up_at == lookup.looked_up_at and status != LookupStatus.OK:
        what = f"lookup_status is {cleaned_path(str(status))}, and the kept answer of that moment names recordings"
    else:
        return []
    return [Finding(Defect.EDITED, f"lookups {cleaned_path(key)}: {what}")]


def _kept(catalog: Catalog, day: date) -> Iterator[tuple[Key, Lookup, str]]:
    """The kept answers of a day whose runs came to their end. Raises StoreError."""
    for line in merged_lines(catalog.store, day, {}):
        try:
            key, lookup = lookup_of(line)
            yield key, lookup, status_when_kept(line)
        except (ValueError, KeyError, TypeError) as err:
            raise StoreError(f"a line is damaged ({type(err).__name__})") from err


def _keys(catalog: Catalog, table: Table, days: Sequence[date]) -> set[str]:
    """Of neighbouring days. One that cannot be read is a finding of its own, and tells nothing here."""
    found: set[str] = set()
    for day in days:
        try:
            found.update(keys_of(catalog.partition(table, day, columns=table.key), table.key).to_pylist())
        except (ArchiveError, pa.ArrowException):
            continue
    return found


def _lacking(keys: Column, among: Column) -> list[str]:
    lost: list[str] = sorted(keys.filter(pc.invert(pc.is_in(keys, value_set=among))).unique().to_pylist())
    return lost


def _removed(table: Table, key: str, why: str) -> Finding:
    return Finding(Defect.REMOVED, f"{table.name} {cleaned_path(key)}: the row is not there, and {why}")

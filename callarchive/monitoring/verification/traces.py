"""Other traces of a day's rows, which remain if a row is removed together with everything computed from it."""

from collections.abc import Callable, Iterator, Sequence
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
from callarchive.custody.erasures import Erased
from callarchive.domain.errors import ArchiveError, StoreError
from callarchive.domain.evidence import Present
from callarchive.domain.foreign_text import cleaned_path
from callarchive.domain.models import ArchiveStatus, Lookup, LookupStatus
from callarchive.monitoring.verification.findings import Defect, Finding
from callarchive.monitoring.verification.partitions import DayTables

_SESSION, _RECORDING = schemas.SESSION_IDS.key, schemas.RECORDING_METADATA.key
_DAY = timedelta(days=1)


def removed_from_steps(tables: DayTables, files: pa.Table, *, accounts: Sequence[str]) -> list[Finding]:
    """Return findings for rows missing in the step tables that a later step's table or an event names.

    `files` has the rows of the journal. Recordings of accounts that are not configured need not have been fetched.
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


def removed_from_responses(catalog: Catalog, tables: DayTables, erased: Callable[[], Erased]) -> list[Finding]:
    """Return findings for sessions and recordings in a stored response that neither the day nor its neighbours have.

    Also for erased ones in it, and for lookups that are older than the response, or have another status.
    """
    if tables.damaged(schemas.SESSION_IDS, schemas.RECORDING_METADATA, schemas.LOOKUPS):
        return []
    sessions, recordings = (
        _keys(catalog, table, (tables.day - _DAY, tables.day + _DAY))
        | set(keys_of(tables.rows(table), table.key).to_pylist())
        for table in (schemas.SESSION_IDS, schemas.RECORDING_METADATA)
    )
    lookups = tables.rows(schemas.LOOKUPS)
    columns = (lookups[name].to_pylist() for name in ("lookup_status", "looked_up_at"))
    known = dict(zip(keys_of(lookups, _SESSION).to_pylist(), zip(*columns, strict=True), strict=True))
    findings: list[Finding] = []
    try:
        for (account, session_id), lookup, status in _kept(catalog, tables.day):
            if account in tables.failed_accounts or status != LookupStatus.OK or not lookup.recordings:
                continue
            key = f"{account}/{session_id}"
            if key not in sessions and erased().has_session(account, session_id):
                findings.append(_returned(key, "a stored response"))
                continue
            if key not in sessions:
                findings.append(_removed(schemas.SESSION_IDS, key, "a stored response of 8x8 names its recordings"))
            listed = {f"{account}/{recording.recording_id}": recording.recording_id for recording in lookup.recordings}
            findings += [
                _returned(lost, "a stored response")
                if erased().has_recording(account, recording_id)
                else _removed(schemas.RECORDING_METADATA, lost, "a stored response names it")
                for lost, recording_id in listed.items()
                if lost not in recordings
            ]
            if key in known:
                findings += _edited(key, known[key], lookup)
    except StoreError as err:
        place = catalog.store.uri(lookups_path(tables.day))
        findings.append(Finding(Defect.UNREADABLE, f"{place}: not checked: {err}"))
    return findings


def removed_from_call_logs(connections: Connections, tables: DayTables, erased: Callable[[], Erased]) -> list[Finding]:
    """Return findings for sessions in a stored call log of 8x8 that neither the day nor its neighbours have, or were erased."""
    if tables.damaged(schemas.SESSION_IDS):
        return []
    catalog = connections.catalog
    sessions: set[str] | None = None
    findings: list[Finding] = []
    for account in connections.settings.accounts:
        name, path = account.subaccount_id, call_log_path(tables.day, account.subaccount_id)
        if name in tables.failed_accounts or not isinstance(catalog.store.stat(path), Present):
            continue
        if sessions is None:
            sessions = _keys(catalog, schemas.SESSION_IDS, (tables.day - _DAY, tables.day, tables.day + _DAY))
        sources = [source for source in connections.sources(account, reread=True) if source.kind == "log_export"]
        try:
            found = [session for source in sources for session in source.find(tables.day).sessions]
        except ArchiveError as err:
            findings.append(Finding(Defect.UNREADABLE, f"{catalog.store.uri(path)}: not checked: {err}"))
            continue
        named = {f"{name}/{session.session_id}": session.session_id for session in found}
        findings += [
            _returned(key, "the stored call log")
            if erased().has_session(name, session_id)
            else _removed(schemas.SESSION_IDS, key, "the stored call log names it")
            for key, session_id in sorted(named.items())
            if key not in sessions
        ]
    return findings


def _edited(key: str, row: tuple[str, object], lookup: Lookup) -> list[Finding]:
    status, looked_up_at = row
    if looked_up_at is None or looked_up_at < lookup.looked_up_at:  # type: ignore[operator]
        what = f"looked_up_at is {looked_up_at}, but a stored response is from {lookup.looked_up_at}"
    elif looked_up_at == lookup.looked_up_at and status != LookupStatus.OK:
        what = f"lookup_status is {cleaned_path(str(status))}, but the stored response of that time names recordings"
    else:
        return []
    return [Finding(Defect.EDITED, f"lookups {cleaned_path(key)}: {what}")]


def _kept(catalog: Catalog, day: date) -> Iterator[tuple[Key, Lookup, str]]:
    """Yield the stored responses of a day whose runs are complete. Raise StoreError for a damaged line."""
    for line in merged_lines(catalog.store, day, {}):
        try:
            key, lookup = lookup_of(line)
            yield key, lookup, status_when_kept(line)
        except (ValueError, KeyError, TypeError) as err:
            raise StoreError(f"a line is damaged ({type(err).__name__})") from err


def _keys(catalog: Catalog, table: Table, days: Sequence[date]) -> set[str]:
    """Return the keys on these days. A day that cannot be read has a finding of its own."""
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


def _returned(key: str, by: str) -> Finding:
    return Finding(Defect.ADDED, f"{cleaned_path(key)}: it was erased, but {by} names it: erase it again")


def _removed(table: Table, key: str, why: str) -> Finding:
    return Finding(Defect.REMOVED, f"{table.name} {cleaned_path(key)}: the row is missing, but {why}")

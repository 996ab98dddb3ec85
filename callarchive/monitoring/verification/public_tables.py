"""The public tables of a day, computed again from the step tables and compared row by row."""

from collections import Counter
from datetime import datetime
from typing import Any

import pyarrow as pa

from callarchive.archiving.connections import Connections
from callarchive.archiving.transforms import public_tables
from callarchive.archiving.transforms.reconciliation import OPEN
from callarchive.catalog import parquet_files, schemas
from callarchive.catalog.arrow_columns import keys_of, matching_rows, pc
from callarchive.catalog.schemas import Table
from callarchive.domain.models import Discrepancy
from callarchive.monitoring.verification.comparing import Differences, differences
from callarchive.monitoring.verification.findings import Defect, Finding
from callarchive.monitoring.verification.partitions import DayTables

_RECORDING = schemas.RECORDINGS.key
_STEPS = (schemas.SESSION_IDS, schemas.LOOKUPS, schemas.RECORDING_METADATA, schemas.RECORDING_EVENTS)
_SOURCE = "the step tables"


class PublicTables:
    """Comparison of a day's public tables. `sessions` and `recordings` are None if a step table cannot be read."""

    def __init__(self, connections: Connections, day_tables: DayTables, files: pa.Table) -> None:
        self._tables = day_tables
        self._files = files
        self._root = connections.archive.root_uri
        self._tolerance_s = connections.settings.transfer.duration_tolerance_s
        self._now = connections.clock()
        self.sessions: pa.Table | None = None
        self.recordings: pa.Table | None = None

    def compare(self) -> list[Finding]:
        """Return the differences. Absent and unreadable tables are not compared here."""
        if self._tables.damaged(*_STEPS) or not all(self._tables.present(table) for table in _STEPS[:3]):
            return []
        session_ids, lookups, metadata = (self._tables.rows(table) for table in _STEPS[:3])
        sessions = public_tables.sessions_table(sessions=session_ids, lookups=lookups, metadata=metadata)
        self.sessions = _in_order(schemas.SESSIONS, sessions)
        findings = self._compare_sessions(self.sessions, lookups)
        archived_below = self._archive_root()
        self.recordings = self._computed(self._now, archived_below)
        findings += self._compare_recordings(self.recordings, archived_below)
        for table, computed in (
            (schemas.STATUS_STATS, public_tables.status_stats_table),
            (schemas.DURATION_STATS, public_tables.duration_stats_table),
        ):
            found = self._differences(table, _in_order(table, computed(self.recordings)))
            findings += [] if found is None else found.findings(source=_SOURCE)
        return findings

    def _differences(self, table: Table, expected: pa.Table) -> Differences | None:
        found = self._tables.partition(table)
        if found is None:
            return None
        return differences(table, found.rows, expected, columns=found.columns - self._unwritten())

    def _unwritten(self) -> set[str]:
        """Return the columns that step tables of an older version lack, and that cannot be computed."""
        tables = (*_STEPS, schemas.RECORDING_FILES)
        found = [(table, partition) for table in tables if (partition := self._tables.partition(table)) is not None]
        return {name for table, partition in found for name in table.schema.names if name not in partition.columns}

    def _compare_sessions(self, expected: pa.Table, lookups: pa.Table) -> list[Finding]:
        found = self._differences(schemas.SESSIONS, expected)
        if found is None:
            return []
        looked_up = set(keys_of(lookups, schemas.LOOKUPS.key).to_pylist())
        for key in [key for key in found.edited if key not in looked_up]:
            found.without(key, "lookup_error")  # its wording depends on the version that wrote it
        return found.findings(source=_SOURCE)

    def _compare_recordings(self, expected: pa.Table, archived_below: str) -> list[Finding]:
        found = self._differences(schemas.RECORDINGS, expected)
        if found is None:
            return []
        fetched = set(keys_of(self._files, _RECORDING).to_pylist())
        findings = []
        for key, cells in list(found.edited.items()):
            if key in fetched:
                continue
            if "archive_status" in cells:
                what = f"the row is missing, but recordings has {cells['archive_status'][0]}"
                findings.append(Finding(Defect.REMOVED, f"recording_files {key}: {what}"))
                del found.edited[key]
            else:
                found.without(key, "error")
        self._allow_earlier_clock(found, archived_below)
        self._allow_other_tolerance(found)
        return findings + found.findings(source=_SOURCE)

    def _computed(self, now: datetime, archived_below: str) -> pa.Table:
        recordings = public_tables.recordings_table(
            metadata=self._tables.rows(schemas.RECORDING_METADATA),
            files=self._files.select(list(public_tables.FILE_COLUMNS)),
            events=self._tables.rows(schemas.RECORDING_EVENTS).select(list(public_tables.EVENT_COLUMNS)),
            call_date=self._tables.day,
            now=now,
            archive_root=archived_below,
            tolerance_s=self._tolerance_s,
        )
        return _in_order(schemas.RECORDINGS, recordings)

    def _archive_root(self) -> str:
        """Return the common start of the URIs of archived files, which differs from today's if the archive was moved."""
        found = self._tables.rows(schemas.RECORDINGS)
        numbers = matching_rows(keys_of(found, _RECORDING), among=keys_of(self._files, _RECORDING))
        paths = self._files["archive_path"].take(numbers)
        roots: Counter[str | None] = Counter(
            uri.removesuffix(path) if uri.endswith(path) else None
            for uri, path in zip(found["archive_uri"].to_pylist(), paths.to_pylist(), strict=True)
            if uri is not None and path is not None
        )
        [root] = roots if len(roots) == 1 else [None]
        return root or self._root

    def _allow_earlier_clock(self, found: Differences, archived_below: str) -> None:
        """Drop differences in starts that were not plausible yet when the day was archived."""
        names = ("started_at", "started_at_source")
        affected = [key for key, cells in found.edited.items() if not cells.keys().isdisjoint(names)]
        looked_up_at = pc.max(self._tables.rows(schemas.LOOKUPS)["looked_up_at"]).as_py()
        if not affected or looked_up_at is None:
            return
        earlier = self._computed(looked_up_at, archived_below)
        numbers = matching_rows(pa.array(affected), among=keys_of(earlier, _RECORDING))
        for key, row in zip(affected, earlier.take(numbers).to_pylist(), strict=True):
            for name in names:
                if name in found.edited.get(key, {}) and found.edited[key][name][0] == row[name]:
                    found.without(key, name)

    def _allow_other_tolerance(self, found: Differences) -> None:
        """Drop differences in flags that `reconciliation` confirms: the tolerance was different when the day was archived."""
        rows = self._tables.rows(schemas.RECONCILIATION)
        is_open = pc.and_(pc.equal(rows["kind"], Discrepancy.DURATION_MISMATCH.value), pc.equal(rows["state"], OPEN))
        flagged = set(keys_of(rows.filter(is_open), _RECORDING).to_pylist())
        for key, cells in list(found.edited.items()):
            is_now, expected = cells.get("duration_mismatch", (None, None))
            if is_now is not None and expected is not None and is_now == (key in flagged):
                found.without(key, "duration_mismatch")


def _in_order(table: Table, rows: pa.Table) -> pa.Table:
    """Return the rows as they would be written. Rows with duplicate keys stay unchanged."""
    ordered: Any = rows.sort_by([(name, "ascending") for name in table.key])
    return ordered if len(rows) else parquet_files.to_arrow(table, rows)

"""A day's tables for verification, each with the columns of its file, and findings about files and folders."""

from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from callarchive.archiving.catalog_day import begun_path
from callarchive.archiving.responses.journal import pieces_folder
from callarchive.archiving.transfer_journal import journal_folder
from callarchive.catalog import parquet_files, schemas
from callarchive.catalog.arrow_columns import pc
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.schemas import Table
from callarchive.domain.errors import ArchiveError
from callarchive.domain.evidence import Absent, Unknown
from callarchive.domain.foreign_text import cleaned_path
from callarchive.monitoring.verification.findings import Defect, Finding
from callarchive.storage.landing.places import PlaceRefusedError

_ALWAYS_WRITTEN = (
    schemas.SESSION_IDS,
    schemas.LOOKUPS,
    schemas.RECORDING_METADATA,
    schemas.RECORDING_FILES,
    *schemas.PUBLIC_TABLES,
)


@dataclass(frozen=True)
class Partition:
    """Rows in the table's schema, and the columns of the file: one of an older version lacks some."""

    rows: pa.Table
    columns: frozenset[str]


class DayTables:
    """The tables of one day. A table that cannot be read is None and a finding.

    `unfinished` is why the tables need not agree, if so; tables of `failed_accounts` are from different runs.
    """

    def __init__(self, catalog: Catalog, day: date) -> None:
        self._catalog = catalog
        self.day = day
        self.findings: list[Finding] = []
        self._read: dict[str, Partition | None] = {}
        self._damaged: set[str] = set()
        self.unfinished = self._find_unfinished()
        self.failed_accounts: list[str] = []

    def present(self, table: Table) -> bool:
        """Return whether the day has a partition of the table, intact or damaged."""
        return self.partition(table) is not None or table.name in self._damaged

    def damaged(self, *tables: Table) -> bool:
        """Return whether one of the tables exists but cannot be read."""
        return any(self.partition(table) is None and table.name in self._damaged for table in tables)

    def partition(self, table: Table) -> Partition | None:
        """Return the table's partition without the rows of failed accounts; None if it is absent or damaged."""
        if table.name not in self._read:
            self._read[table.name] = self._load(table)
        return self._read[table.name]

    def rows(self, table: Table) -> pa.Table:
        """Return the rows of the partition; empty without a partition."""
        found = self.partition(table)
        return table.schema.empty_table() if found is None else found.rows

    def leave_out(self, accounts: list[str]) -> None:
        """Leave out these accounts' rows in every table."""
        self.failed_accounts = accounts
        self._read.clear()

    def without_failed(self, rows: pa.Table) -> pa.Table:
        """Return the rows without those of the accounts that are left out."""
        failed = pa.array(self.failed_accounts, pa.string())
        return rows.filter(pc.invert(pc.is_in(rows["subaccount_id"], value_set=failed))) if len(failed) else rows

    def check_presence(self) -> None:
        """Add findings for missing tables, and for files that belong to no table."""
        there = [table for table in _ALWAYS_WRITTEN if self.present(table)]
        gone = [
            f"{self._catalog.partition_uri(table, self.day)}: {table.name} has no partition of the day"
            for table in _ALWAYS_WRITTEN
            if table not in there
        ]
        if not there:
            but = "but there are files, responses or entries in the ledger"
            gone = [f"{self._catalog.store.url}: there is no table of {self.day}, {but}"]
        for what in () if self.unfinished else gone:
            self.findings.append(Finding(Defect.REMOVED, f"{what}: restore it, or archive {self.day} again"))
        for table in (*schemas.PUBLIC_TABLES, *schemas.STEP_TABLES):
            self._check_folder(table)

    def _check_folder(self, table: Table) -> None:
        path = table.partition_path(self.day)
        folder = path.rpartition("/")[0]
        store = self._catalog.store
        try:
            links = store.irregular(folder)
            extra = [item.path for item in store.list(folder) if item.path != path and item.path not in links]
        except (ArchiveError, PlaceRefusedError) as err:
            self.findings.append(Finding(Defect.UNREADABLE, f"{store.uri(folder)}: not listed: {err}"))
            return
        self.findings += [
            Finding(Defect.LINK, f"{store.url}/{cleaned_path(link)}: is a link or a special file") for link in links
        ]
        self.findings += [Finding(Defect.EXTRA, f"{store.url}/{cleaned_path(name)}") for name in extra]

    def _load(self, table: Table) -> Partition | None:
        path = table.partition_path(self.day)
        store = self._catalog.store
        try:
            if not self._catalog.has(table, self.day):
                return None
            data = store.read(path)
            columns = parquet_files.column_names(data)
            rows = parquet_files.decode(data, table, columns=None)
        except (ArchiveError, parquet_files.DamagedError, pa.ArrowException, PlaceRefusedError) as err:
            if table.name not in self._damaged:
                self.findings.append(Finding(Defect.UNREADABLE, f"{store.uri(path)}: not checked: {err}"))
            self._damaged.add(table.name)
            return None
        return Partition(self.without_failed(rows) if "subaccount_id" in columns else rows, columns)

    def _find_unfinished(self) -> str | None:
        store = self._catalog.store
        try:
            left = [*store.list(journal_folder(self.day)), *store.list(pieces_folder(self.day))]
            begun = store.stat(begun_path(self.day))
        except ArchiveError as err:
            return str(err)
        if isinstance(begun, Unknown):
            return begun.reason
        is_finished = not left and isinstance(begun, Absent)
        return None if is_finished else f"a run of {self.day} was interrupted: archive the day again"

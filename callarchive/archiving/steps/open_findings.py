"""Evidence on which findings of earlier runs are resolved: each is proven to fit now, or it stays open.

That this run did not make a finding again proves nothing: a listing may be incomplete. `reconciling` opens findings.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import reduce
from typing import Any

import pyarrow as pa

from callarchive.archiving.catalog_day import CatalogDay
from callarchive.archiving.transfer_journal import TransferJournal
from callarchive.archiving.transforms.neighbouring_days import NeighbouringDays
from callarchive.archiving.transforms.reconciliation import OPEN
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import pc
from callarchive.catalog.rows import Row
from callarchive.catalog.stored_rows import StoredRows
from callarchive.domain.errors import ArchiveError, ObjectNotFoundError
from callarchive.domain.evidence import Absent, Evidence, Present, Unknown
from callarchive.domain.foreign_text import PATH_CHARS
from callarchive.domain.landing_objects import LandingObject
from callarchive.domain.models import ArchiveStatus, Discrepancy
from callarchive.settings import AccountSettings
from callarchive.storage.landing import Landing
from callarchive.storage.landing.contents import LandingContents, is_of_other_days
from callarchive.storage.landing.places import PlaceRefusedError, check_path
from callarchive.storage.stores import Store

_SOURCES_ASKED = 5
"""How many of the objects that were read and that a listing lacks are looked up in the landing: the ones read last."""
_SLACK = timedelta(minutes=5)
"""How far the clocks of a store and of this machine may differ."""


class OpenFindings:
    """The rows of a day's `reconciliation` that earlier runs left open."""

    def __init__(self, day: CatalogDay, archive: Store, earlier: pa.Table) -> None:
        self._day = day
        self._archive = archive
        self._rows: list[Row] = earlier.filter(pc.equal(earlier["state"], OPEN)).to_pylist()

    def of(self, kind: Discrepancy, subaccount_id: str | None = None) -> list[Row]:
        """Return the open rows of the kind, of one account or of all."""
        return [
            row for row in self._rows if row["kind"] == kind.value and subaccount_id in (None, row["subaccount_id"])
        ]

    def not_named_now(self, sessions: pa.Table, recordings: pa.Table) -> list[str]:
        """Return the keys of rows about sessions and recordings that no table names any more: nothing proves that they fit.

        They include a recording whose durations disagreed and that no longer has two to compare.
        """
        calls = self.of(Discrepancy.CONNECTED_CALL_WITHOUT_RECORDING)
        differing = self.of(Discrepancy.DURATION_MISMATCH)
        lacking = [*self.of(Discrepancy.RECORDING_WITHOUT_FILE), *differing]
        kept = self._gone(calls, sessions, "session_id") + self._gone(lacking, recordings, "recording_id")
        if differing:
            alone = _pairs(recordings.filter(pc.less(_durations_known(recordings), 2)), "recording_id")
            kept += [_key(row) for row in differing if (row["subaccount_id"], row["recording_id"]) in alone]
        return kept

    def without_proof_in_archive(self, stored: pa.Table, rows: StoredRows) -> tuple[list[str], list[tuple[str, str]]]:
        """Return the keys of rows about the archive's files that nothing proves to fit, and why: (subaccount_id, reason).

        A file without a row fits if a row names it, or if the store reports its own path as absent; a row without a file if the
        file is listed, or its recording is erased.
        """
        kept, reasons = list[str](), list[tuple[str, str]]()
        unnamed = self.of(Discrepancy.FILE_WITHOUT_ROW)
        lost = self.of(Discrepancy.ROW_WITHOUT_FILE)
        if not unnamed and not lost:
            return kept, reasons
        files = rows.decoded(("subaccount_id", "recording_id", "archive_status", "archive_path", "versions"))
        named = {path for paths in files["versions"].to_pylist() for path in paths or ()}
        named |= set(files["archive_path"].drop_null().to_pylist())
        stored_paths: list[Any] = stored["path"].to_pylist()
        listed = {path.decode(errors="surrogateescape") for path in stored_paths}
        for row in unnamed:
            path = row["subject"]
            if path in named or path in listed or not _is_plain(path):
                continue  # a row names it, or it is found again, or its exact name is not known
            if (why := self._why_not_absent(path)) is not None:
                kept.append(_key(row))
                reasons.append((row["subaccount_id"], f"{row['place']}: {why}"))
        is_erased = pc.equal(files["archive_status"], ArchiveStatus.ERASED.value)
        erased = _pairs(files.filter(is_erased), "recording_id")
        kept += [
            _key(row)
            for row in lost
            if row["subject"] not in listed and (row["subaccount_id"], row["recording_id"]) not in erased
        ]
        return kept, reasons

    def orphans_without_proof(
        self, landing: Landing, left: Sequence[Row], *, doubt: str | None
    ) -> tuple[list[str], list[str]]:
        """Return the keys of those orphans in `left` that are not proven gone, and why. `doubt`: the listing is no evidence."""
        if doubt is not None:
            return [_key(row) for row in left], []
        kept, reasons = list[str](), list[str]()
        plain = [row for row in left if _is_plain(row["subject"])]  # for the others the listing is enough
        findings = _stated(landing, [row["subject"] for row in plain])
        for row in plain:
            finding = findings[row["subject"]]
            if isinstance(finding, Absent):
                continue
            kept.append(_key(row))
            there = f"the listing of {landing.uri} lacks {row['place']}, which is there"
            reasons.append(finding.reason if isinstance(finding, Unknown) else there)
        return kept, reasons

    def doubt_about(self, account: AccountSettings, landing: Landing, contents: LandingContents) -> str | None:
        """Return why the listing is no evidence, as the end of a sentence; None if nothing contradicts it.

        Objects that were read, that the landing still has, and that the listing lacks contradict it.
        """
        lacking = self._read_and_not_listed(account, contents)
        for path, finding in _stated(landing, lacking[:_SOURCES_ASKED]).items():
            if isinstance(finding, Present):
                arrived_at = finding.value.modified_at
                if arrived_at is not None and arrived_at <= contents.listed_at - _SLACK:
                    return f"the listing of {landing.uri} lacks {landing.uri_of(path)}, which this run has read or compared"
        if not contents.object_count and self.of(Discrepancy.ORPHAN_OBJECT, account.subaccount_id):
            return f"the listing of {landing.uri} shows no object at all"
        return None

    def _read_and_not_listed(self, account: AccountSettings, contents: LandingContents) -> list[str]:
        """Return the sources of the day's archived recordings that the listing should show and lacks, latest read first."""
        columns = ("subaccount_id", "archive_status", "source_path", "archived_at")
        files = TransferJournal(self._day.catalog, self._day.date).known(columns)
        unlisted = files.filter(
            (pc.field("subaccount_id") == account.subaccount_id)
            & (pc.field("archive_status") == ArchiveStatus.ARCHIVED.value)
            & pc.field("source_path").is_valid()
            & ~pc.field("source_path").isin(pa.array(contents.paths(self._day.date), pa.string()))
        )
        suspects = {
            row["source_path"]: row["archived_at"]
            for row in unlisted.to_pylist()
            if _is_listed_if_there(row["source_path"], contents)
        }
        if suspects:
            for path in contents.every_path():
                suspects.pop(path, None)
        return sorted(suspects, key=lambda path: (suspects[path] is not None, suspects[path]), reverse=True)

    def _gone(self, rows: Sequence[Row], known: pa.Table, column: str) -> list[str]:
        """Return the keys of the rows whose id neither `known` nor a neighbouring day has for the row's account."""
        here = _pairs(known, column) if rows else set()
        rows = [row for row in rows if (row["subaccount_id"], row[column]) not in here]
        kept: list[str] = []
        accounts = {account.subaccount_id for account in self._day.settings.accounts}
        for subaccount_id in sorted({row["subaccount_id"] for row in rows}):
            around = NeighbouringDays(self._day.catalog, self._day.date, ignored_accounts=accounts - {subaccount_id})
            own = [row for row in rows if row["subaccount_id"] == subaccount_id]
            unknown = around.unknown_ids(column, {row[column] for row in own})
            kept += [_key(row) for row in own if row[column] in unknown]
        return kept

    def _why_not_absent(self, path: str) -> str | None:
        """Return why the archive's file may still be there; None if the store reports that it is not."""
        try:
            next(iter(self._archive.open(path)), b"")
        except (ObjectNotFoundError, PlaceRefusedError):
            return None
        except ArchiveError as err:
            return str(err)
        return "it is there, and the archive's listing lacks it"


def _is_listed_if_there(path: str, contents: LandingContents) -> bool:
    if not path.lower().endswith(".mp3") or any(gap.may_hide(path) for gap in contents.gaps):
        return False
    parts = path.split("/")[:-1]
    folders = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    return not any(is_of_other_days(folder, first=contents.first, last=contents.last) for folder in folders)


def _stated(landing: Landing, paths: Sequence[str]) -> dict[str, Evidence[LandingObject]]:
    """Return what the landing reports for each path."""
    findings: dict[str, Evidence[LandingObject]] = {}
    asked = []
    for path in paths:
        try:
            asked.append(check_path(path))
        except PlaceRefusedError as err:
            findings[path] = Unknown(str(err))
    try:
        return findings | (landing.stat_many(asked) if asked else {})
    except ArchiveError as err:
        return findings | dict.fromkeys(asked, Unknown(str(err)))


def _is_plain(subject: str) -> bool:
    """Return whether the table has the path unchanged: see `foreign_text.cleaned_path`."""
    return "***" not in subject and "\\" not in subject and len(subject) < PATH_CHARS


def _durations_known(recordings: pa.Table) -> Any:
    """Return how many of a recording's three durations are known; an erased recording needs none."""
    durations = (recordings[name] for name in ("duration_s", "duration_api_s", "duration_event_s"))
    known = reduce(pc.add, (column.is_valid().cast(pa.int8()) for column in durations))
    return pc.if_else(pc.equal(recordings["archive_status"], ArchiveStatus.ERASED.value), 3, known)


def _pairs(rows: pa.Table, column: str) -> set[tuple[Any, Any]]:
    return set(zip(rows["subaccount_id"].to_pylist(), rows[column].to_pylist(), strict=True))


def _key(row: Row) -> str:
    return "/".join(row[name] for name in schemas.RECONCILIATION.key)

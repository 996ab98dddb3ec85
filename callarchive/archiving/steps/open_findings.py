"""Evidence on which findings of earlier runs are resolved: each is proven to fit now, or it stays open.

That this run did not make a finding again does not resolve it: a listing may be incomplete, a source may name fewer sessions.
`reconciling` opens findings.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pyarrow as pa

from callarchive.archiving.catalog_day import CatalogDay
from callarchive.archiving.transfer_journal import TransferJournal
from callarchive.archiving.transforms.neighbouring_days import NeighbouringDays
from callarchive.archiving.transforms.reconciliation import OPEN
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import pc
from callarchive.catalog.rows import Row
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
    """The rows of a day's `reconciliation` that earlier runs left open.

    Args:
        archive: the store of the archive.
        earlier: the table's rows.
    """

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

        Args:
            sessions, recordings: the day's rows, with the columns that `reconciliation` reads.
        """
        kept: list[str] = []
        calls = self.of(Discrepancy.CONNECTED_CALL_WITHOUT_RECORDING)
        if calls:
            here = _pairs(sessions, "session_id")
            gone = [row for row in calls if (row["subaccount_id"], row["session_id"]) not in here]
            kept += self._named_nowhere(gone, "session_id")
        lacking = [*self.of(Discrepancy.RECORDING_WITHOUT_FILE), *self.of(Discrepancy.DURATION_MISMATCH)]
        if lacking:
            here = _pairs(recordings, "recording_id")
            gone = [row for row in lacking if (row["subaccount_id"], row["recording_id"]) not in here]
            kept += self._named_nowhere(gone, "recording_id")
        differing = self.of(Discrepancy.DURATION_MISMATCH)
        if differing:
            alone = _pairs(recordings.filter(pc.less(_durations_known(recordings), 2)), "recording_id")
            kept += [_key(row) for row in differing if (row["subaccount_id"], row["recording_id"]) in alone]
        return kept

    def without_proof_in_archive(self, stored: pa.Table, files: pa.Table) -> tuple[list[str], list[tuple[str, str]]]:
        """Return the keys of rows about the archive's files that nothing proves to fit, and why: (subaccount_id, reason).

        A file without a row fits if a row names it, or if the store reports its own path as absent; a row without a file if the
        file is listed, or its recording is erased.

        Args:
            stored, files: see `orphans.stored_table` and `orphans.FILE_COLUMNS`.
        """
        kept, reasons = list[str](), list[tuple[str, str]]()
        unnamed = self.of(Discrepancy.FILE_WITHOUT_ROW)
        lost = self.of(Discrepancy.ROW_WITHOUT_FILE)
        if not unnamed and not lost:
            return kept, reasons
        named = {path for paths in files["versions"].to_pylist() for path in paths or ()}
        named |= set(files["archive_path"].drop_null().to_pylist())
        stored_paths: list[Any] = stored["path"].to_pylist()
        listed = {path.decode(errors="surrogateescape") for path in stored_paths}
        for row in unnamed:
            path = row["subject"]
            if path in named or path in listed or not _is_plain(path):
                continue  # a row names it, or it is found again, or its exact name is not known
            finding = self._archived(path)
            if not isinstance(finding, Absent):
                kept.append(_key(row))
                why = (
                    finding.reason
                    if isinstance(finding, Unknown)
                    else "it is there, and the archive's listing lacks it"
                )
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
        """Return the keys of these orphans that are not proven gone, and why.

        Args:
            left: open rows that no recording is known for and that the listing does not show.
            doubt: why the landing's listing is no evidence; None if it is.
        """
        if doubt is not None:
            return [_key(row) for row in left], []
        plain = [row for row in left if _is_plain(row["subject"])]  # for the others the listing is enough
        if not plain:
            return [], []
        findings = _stated(landing, [row["subject"] for row in plain])
        kept = [row for row in plain if not isinstance(findings[row["subject"]], Absent)]
        reasons = [
            finding.reason
            if isinstance(finding, Unknown)
            else f"the listing of {landing.uri} lacks {row['place']}, which is there"
            for row in kept
            if not isinstance(finding := findings[row["subject"]], Absent)
        ]
        return [_key(row) for row in kept], reasons

    def doubt_about(self, account: AccountSettings, landing: Landing, contents: LandingContents) -> str | None:
        """Return why the listing is no evidence, as the end of a sentence; None if nothing contradicts it.

        Objects that were read, that the landing still has, and that the listing lacks contradict it.
        """
        lacking = self._read_and_not_listed(account, contents)
        if lacking:
            findings = _stated(landing, [path for path, _ in lacking[:_SOURCES_ASKED]])
            for path, finding in findings.items():
                if isinstance(finding, Present) and not _is_newer(finding.value, contents):
                    return f"the listing of {landing.uri} lacks {landing.uri_of(path)}, which this run has read or compared"
        if not contents.object_count and self.of(Discrepancy.ORPHAN_OBJECT, account.subaccount_id):
            return f"the listing of {landing.uri} shows no object at all"
        return None

    def _read_and_not_listed(self, account: AccountSettings, contents: LandingContents) -> list[tuple[str, Any]]:
        """Return the sources of the day's archived recordings that the listing should show and lacks, latest read first."""
        columns = ("subaccount_id", "archive_status", "source_path", "archived_at")
        files = TransferJournal(self._day.catalog, self._day.date).known(columns)
        is_ours = pc.and_(
            pc.equal(files["subaccount_id"], account.subaccount_id),
            pc.equal(files["archive_status"], ArchiveStatus.ARCHIVED.value),
        )
        ours = files.filter(pc.and_(is_ours, files["source_path"].is_valid()))
        unlisted = pc.invert(
            pc.is_in(ours["source_path"], value_set=pa.array(contents.paths(self._day.date), pa.string()))
        )
        suspects = {row["source_path"]: row["archived_at"] for row in ours.filter(unlisted).to_pylist()}
        suspects = {path: at for path, at in suspects.items() if self._is_listed_if_there(path, contents)}
        if suspects:
            for path in contents.every_path():
                suspects.pop(path, None)
        return sorted(suspects.items(), key=lambda item: (item[1] is not None, item[1]), reverse=True)

    def _is_listed_if_there(self, path: str, contents: LandingContents) -> bool:
        if not path.lower().endswith(".mp3") or any(gap.may_hide(path) for gap in contents.gaps):
            return False
        parts = path.split("/")[:-1]
        folders = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
        return not any(is_of_other_days(folder, first=contents.first, last=contents.last) for folder in folders)

    def _named_nowhere(self, rows: Sequence[Row], column: str) -> list[str]:
        """Return the keys of the rows whose id no neighbouring day has for the row's account."""
        kept: list[str] = []
        accounts = {account.subaccount_id for account in self._day.settings.accounts}
        for subaccount_id in sorted({row["subaccount_id"] for row in rows}):
            around = NeighbouringDays(self._day.catalog, self._day.date, ignored_accounts=accounts - {subaccount_id})
            own = [row for row in rows if row["subaccount_id"] == subaccount_id]
            ids = {row[column] for row in own}
            unknown = around.unknown_sessions(ids) if column == "session_id" else around.unknown_recordings(ids)
            kept += [_key(row) for row in own if row[column] in unknown]
        return kept

    def _archived(self, path: str) -> Evidence[str]:
        try:
            for _ in self._archive.open(path):
                break
        except (ObjectNotFoundError, PlaceRefusedError) as err:
            return Absent(str(err))
        except ArchiveError as err:
            return Unknown(str(err))
        return Present(path)


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


def _is_newer(item: LandingObject, contents: LandingContents) -> bool:
    """Return whether the object may have arrived after the listing began."""
    return item.modified_at is None or item.modified_at > contents.listed_at - _SLACK


def _is_plain(subject: str) -> bool:
    """Return whether the table has the path unchanged: see `foreign_text.cleaned_path`."""
    return "***" not in subject and "\\" not in subject and len(subject) < PATH_CHARS


def _durations_known(recordings: pa.Table) -> Any:
    """Return how many of a recording's three durations are known; an erased recording needs none."""
    names = ("duration_s", "duration_api_s", "duration_event_s")
    known = [recordings[name].is_valid().cast(pa.int8()) for name in names]
    is_erased = pc.equal(recordings["archive_status"], ArchiveStatus.ERASED.value)
    return pc.if_else(is_erased, 3, pc.add(pc.add(known[0], known[1]), known[2]))


def _pairs(rows: pa.Table, column: str) -> set[tuple[Any, Any]]:
    return set(zip(rows["subaccount_id"].to_pylist(), rows[column].to_pylist(), strict=True))


def _key(row: Row) -> str:
    return "/".join(row[name] for name in schemas.RECONCILIATION.key)

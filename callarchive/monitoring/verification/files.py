"""The archive's files of a day against their rows. A file is missing only if the store confirms it for this file."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from callarchive.archiving.connections import Connections
from callarchive.archiving.recording_archive import QUARANTINE
from callarchive.catalog.rows import Row
from callarchive.domain.errors import AccessDeniedError, ArchiveError, ObjectNotFoundError, StoreError, UnavailableError
from callarchive.domain.evidence import Absent, Present
from callarchive.domain.foreign_text import cleaned_path
from callarchive.domain.identifiers import path_segment
from callarchive.domain.models import ArchiveStatus
from callarchive.monitoring.verification.findings import Defect, Finding
from callarchive.runtime.worker_pool import Progress, in_threads
from callarchive.storage.landing.places import PlaceRefusedError

_UNREADABLE = (StoreError, AccessDeniedError, UnavailableError, PlaceRefusedError)
_SHORT_HASH = 16


class ExpectedFile(NamedTuple):
    """A file that a row names: its SHA-256, or the first 16 digits of it, and its size in bytes, as far as known."""

    sha256: str | None
    size_bytes: int | None = None


@dataclass
class CheckedFiles:
    """The result of comparing a day's files. Counts are of expected files."""

    file_count: int = 0
    read_count: int = 0
    read_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)


class FileCheck:
    """Comparison of a day's files with the expected ones.

    `sample` is the share to read and hash, which `chance` chooses. `unfinished` is why files need not have a row, if so.
    """

    def __init__(
        self,
        connections: Connections,
        day: date,
        *,
        sample: float,
        chance: random.Random,
        unfinished: str | None,
        progress: Progress,
    ) -> None:
        self._archive, self._store = connections.archive, connections.archive.store
        self._day = day
        self._sample = sample
        self._chance = chance
        self._unfinished = unfinished
        self._progress = progress
        self._configured = [account.subaccount_id for account in connections.settings.accounts]
        self._checked = CheckedFiles()

    def compare(self, rows: Sequence[Row]) -> CheckedFiles:
        """Compare the day's files, in the archive and in quarantine, with rows of `recording_files`. Call it once."""
        self._checked.findings += [finding for row in rows for finding in self._contradictions(row)]
        segments = {path_segment(account) for account in [*self._configured, *(r["subaccount_id"] for r in rows)]}
        kept = {path: file for row in rows for path, file in _kept_files(row).items()}
        # Recordings whose old files may be in quarantine.
        known = {f"{path_segment(row['subaccount_id'])}/{row['recording_id']}" for row in rows}
        for prefix, expected in (("", kept), (f"{QUARANTINE}/", _quarantined_files(rows))):
            accounts = segments | set(self._account_folders(prefix))
            folders = [f"{prefix}{name}/call_date={self._day}" for name in sorted(accounts)]
            self._compare(folders, expected, known=known if prefix else set())
        return self._checked

    def _account_folders(self, prefix: str) -> list[str]:
        """Return the account folders that exist in the archive, or in the quarantine (if `prefix` is its folder)."""
        try:
            return [*self._store.folders(QUARANTINE)] if prefix else self._archive.account_folders()
        except _UNREADABLE as err:
            self._checked.not_checked.append(f"extra files of accounts that no row names: {err}")
            return []

    def _compare(self, folders: Iterable[str], expected: dict[str, ExpectedFile], *, known: set[str]) -> None:
        listed: dict[str, int] = {}
        links: set[str] = set()
        is_complete = True
        for folder in folders:
            try:
                links.update(self._store.irregular(folder))
                if not _behind(folder, links):
                    listed |= {item.path: item.size_bytes for item in self._store.list(folder)}
            except _UNREADABLE as err:
                is_complete = False
                why = f"not listed, so extra files are unknown: {err}"
                self._find(Defect.UNREADABLE, f"{self._store.uri(folder)}: {why}")
        for path in sorted(links):
            self._find(Defect.LINK, f"{self._uri(path)}: is a link or a special file, which is not followed")
        present = {path: file for path, file in expected.items() if not _behind(path, links)}
        for path in sorted(expected.keys() - present.keys() - links):
            self._find(Defect.MISSING, f"{self._store.uri(path)}: is behind a link")
        for path in sorted(listed.keys() - expected.keys() - links):
            # Quarantined files stay when the recording has audio later; their names have their hash.
            if known and (file := _quarantined(path, known)) is not None:
                present[path] = file
            elif self._unfinished is not None:
                self._checked.not_checked.append(f"{self._uri(path)}: no row names it, and {self._unfinished}")
            else:
                self._find(Defect.EXTRA, self._uri(path))
        self._checked.file_count += len(expected)
        self._check_files(present, listed, is_complete=is_complete)

    def _check_files(self, present: dict[str, ExpectedFile], listed: dict[str, int], *, is_complete: bool) -> None:
        paths = sorted(present.keys() & listed.keys())
        count = len(paths) if self._sample >= 1 else min(len(paths), -int(-len(paths) * self._sample // 1))
        chosen = set(self._chance.sample(paths, count)) if count < len(paths) else set(paths)
        not_listed = sorted(present.keys() - listed.keys())
        self._progress.begin(f"{self._day} files", len(paths) + len(not_listed))

        def check(path: str, _: object) -> tuple[Finding | None, int, bool]:
            try:
                size_bytes, unknown = self._size(path, listed)
                if size_bytes is None:
                    return unknown, 0, False
                read = path in chosen or path not in listed
                return (*self._check(path, present[path], size_bytes, read=read), path not in listed)
            finally:
                self._progress.advance()

        lacking_count = 0
        with in_threads(check, [*paths, *not_listed], concurrency=4, name="verify") as results:
            for finding, read_bytes, is_lacking in results:
                if finding is not None:
                    self._checked.findings.append(finding)
                self._checked.read_bytes += read_bytes
                lacking_count += is_lacking
        self._checked.read_count += len(chosen) + lacking_count
        if lacking_count and is_complete:
            self._checked.not_checked.append(
                f"extra files: the listing of {self._store.url} lacks {lacking_count} files of the day that exist when"
                " requested one by one: the store does not list like S3"
            )

    def _size(self, path: str, listed: dict[str, int]) -> tuple[int | None, Finding | None]:
        """Return the file's size, or the finding that it is missing or cannot be checked."""
        if path in listed:
            return listed[path], None
        evidence = self._store.stat(path)
        if isinstance(evidence, Present):
            return evidence.value.size_bytes, None
        if isinstance(evidence, Absent):
            return None, Finding(Defect.MISSING, self._uri(path))
        return None, self._unread(path, evidence.reason)

    def _check(self, path: str, file: ExpectedFile, size_bytes: int, *, read: bool) -> tuple[Finding | None, int]:
        """Return the finding about a file that exists, and how many bytes of it were read."""
        if file.size_bytes is not None and size_bytes != file.size_bytes:
            return Finding(Defect.CHANGED, self._uri(path)), 0
        if file.sha256 is None:
            return self._unread(path, f"recording_files of {self._day} has no hash of it: compare it with a backup"), 0
        if not read:
            return None, 0
        try:
            same = self._archive.sha256_of(path).startswith(file.sha256)
        except ObjectNotFoundError:
            return Finding(Defect.MISSING, self._uri(path)), 0
        except ArchiveError as err:
            return self._unread(path, str(err)), 0
        return None if same else Finding(Defect.CHANGED, self._uri(path)), size_bytes

    def _find(self, defect: Defect, what: str) -> None:
        self._checked.findings.append(Finding(defect, what))

    def _unread(self, path: str, why: str) -> Finding:
        return Finding(Defect.UNREADABLE, f"{self._uri(path)}: not checked: {why}")

    def _contradictions(self, row: Row) -> list[Finding]:
        """Return findings for a row of `recording_files` that no run would write."""
        wrong, hashes = [], _hashes(row)
        if row["archive_status"] == ArchiveStatus.ERASED:
            left = [path for path in (*hashes, row["quarantine_uri"]) if path is not None]
            key = f"recording_files {row['subaccount_id']}/{row['recording_id']}"
            return [Finding(Defect.EDITED, f"{key}: it is erased, but names {cleaned_path(path)}") for path in left]
        kept: str | None = row["archive_path"]
        folder = f"{path_segment(row['subaccount_id'])}/call_date={self._day}/{row['session_id']}/{row['recording_id']}"
        for path, sha256 in hashes.items():
            digits = path.removeprefix(folder).removesuffix(".mp3").removeprefix(".")
            if not path.startswith(f"{folder}.") or not path.endswith(".mp3"):
                wrong.append(f"{ascii(path)[1:-1]} is not a path of this recording")
            elif digits and sha256 is not None and sha256[:_SHORT_HASH] != digits:
                wrong.append(f"sha256 of {path} is {ascii(sha256)[1:17]}..., but its name has {digits}")
        if kept is not None and list(hashes)[-1:] != [kept]:
            wrong.append(f"archive_path is {ascii(kept)[1:-1]}, which is not its latest version")
        if kept is not None and row["sha256"] is not None and hashes.get(kept) not in (None, row["sha256"]):
            wrong.append("sha256 is not that of its version in versions_sha256")
        if (row["archive_status"] == ArchiveStatus.ARCHIVED) != (kept is not None):
            is_set = "is set" if kept else "is not"
            wrong.append(f"archive_status is {row['archive_status']}, but archive_path {is_set}")
        key = f"recording_files {row['subaccount_id']}/{row['recording_id']}"
        return [Finding(Defect.EDITED, f"{key}: {text}") for text in wrong]

    def _uri(self, path: str) -> str:
        try:
            return self._store.uri(path)
        except PlaceRefusedError:
            return f"{self._store.url}/{cleaned_path(path)}"


def _kept_files(row: Row) -> dict[str, ExpectedFile]:
    """Return the archived files of a row of `recording_files`, all versions, by path."""
    if row["archive_status"] == ArchiveStatus.ERASED:
        return {}
    return {
        path: ExpectedFile(sha256, row["size_bytes"] if path == row["archive_path"] else None)
        for path, sha256 in _hashes(row).items()
    }


def _quarantined_files(rows: Iterable[Row]) -> dict[str, ExpectedFile]:
    """Return the quarantined files of rows of `recording_files`. Their names have the first digits of their hashes."""
    found = {}
    for row in rows:
        # The archive may have been moved since: only the part after the quarantine's name is used.
        _, marker, rest = (row["quarantine_uri"] or "").rpartition(f"/{QUARANTINE}/")
        if marker and row["archive_status"] != ArchiveStatus.ERASED:
            found[f"{QUARANTINE}/{rest}"] = ExpectedFile(_hash_in(rest))
    return found


def _quarantined(path: str, known: set[str]) -> ExpectedFile | None:
    """Return the file if it can belong to a known recording."""
    parts, digits = path.split("/"), _hash_in(path)
    if len(parts) == 5 and digits is not None and f"{parts[1]}/{parts[4].partition('.')[0]}" in known:
        return ExpectedFile(digits)
    return None


def _hash_in(path: str) -> str | None:
    digits = path.rpartition("/")[2].removesuffix(".bin").rpartition(".")[2]
    return digits if len(digits) == _SHORT_HASH and set(digits) <= set("0123456789abcdef") else None


def _hashes(row: Row) -> dict[str, str | None]:
    """Return the SHA-256 of each file of the row; None if a row of an older version has none."""
    paths: list[str] = row["versions"] or []
    known: list[str | None] = row["versions_sha256"] or []
    hashes = dict(zip(paths, [*known, *[None] * len(paths)], strict=False))
    if row["archive_path"] is not None:
        hashes[row["archive_path"]] = hashes.get(row["archive_path"]) or row["sha256"]
    return hashes


def _behind(path: str, links: set[str]) -> bool:
    """Return whether the path or one of its parent folders is one of the links."""
    parts = path.split("/")
    return any("/".join(parts[:count]) in links for count in range(1, len(parts) + 1))

"""The archive's files of a day against their rows. A file is missing only if the store confirms it for this file."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date

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
from callarchive.storage.stores import Store

_UNREADABLE = (StoreError, AccessDeniedError, UnavailableError, PlaceRefusedError)
_SHORT_HASH = 16


@dataclass(frozen=True)
class ExpectedFile:
    """A file that a row names.

    Attributes:
        sha256: hex; only the first 16 digits if no more are known; None if unknown.
        size_bytes: None if unknown.
    """

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


@dataclass(frozen=True)
class _Read:
    finding: Finding | None
    read_bytes: int = 0
    listed_wrongly: bool = False


class FileCheck:
    """Comparison of the files in the accounts' folders of a day with the expected ones.

    Args:
        sample: the share of files to read and hash; presence, size and extra files are always compared.
        chance: chooses them.
    """

    def __init__(
        self, connections: Connections, day: date, *, sample: float, chance: random.Random, progress: Progress
    ) -> None:
        self._archive = connections.archive
        self._store: Store = connections.archive.store
        self._day = day
        self._sample = sample
        self._chance = chance
        self._progress = progress
        self._configured = [account.subaccount_id for account in connections.settings.accounts]

    def compare(self, rows: Sequence[Row], quarantined: dict[str, ExpectedFile], known: set[str]) -> CheckedFiles:
        """Compare the day's files with rows of `recording_files`.

        Args:
            quarantined: files that rows name in the quarantine.
            known: `account folder/recording id` of every recording of the day, whose old files may be in quarantine.
        """
        checked = CheckedFiles()
        expected = {path: file for row in rows for path, file in expected_files(row).items()}
        checked.findings += [finding for row in rows for finding in self._contradictions(row)]
        segments = {path_segment(account) for account in [*self._configured, *(r["subaccount_id"] for r in rows)]}
        for prefix, files in (("", expected), (f"{QUARANTINE}/", quarantined)):
            accounts = segments | set(self._account_folders(prefix, checked))
            self._compare(
                [f"{prefix}{name}/call_date={self._day}" for name in sorted(accounts)],
                files,
                checked,
                known=known if prefix else None,
            )
        return checked

    def _account_folders(self, prefix: str, checked: CheckedFiles) -> list[str]:
        """Return the account folders that exist in the archive, or in the quarantine (if `prefix` is its folder)."""
        try:
            return [*self._store.folders(QUARANTINE)] if prefix else self._archive.account_folders()
        except _UNREADABLE as err:
            checked.not_checked.append(f"extra files of accounts that no row names: {err}")
            return []

    def _compare(
        self,
        folders: Iterable[str],
        expected: dict[str, ExpectedFile],
        checked: CheckedFiles,
        *,
        known: set[str] | None,
    ) -> None:
        listed: dict[str, int] = {}
        links: set[str] = set()
        unlisted: set[str] = set()
        for folder in folders:
            try:
                links.update(self._store.irregular(folder))
                if not _behind(folder, links):
                    listed |= {item.path: item.size_bytes for item in self._store.list(folder)}
            except _UNREADABLE as err:
                unlisted.add(folder)
                checked.findings.append(
                    Finding(
                        Defect.UNREADABLE, f"{self._store.uri(folder)}: not listed, so extra files are unknown: {err}"
                    )
                )
        checked.findings += [
            Finding(Defect.LINK, f"{self._uri(path)}: is a link or a special file, which is not followed")
            for path in sorted(links)
        ]
        present = {path: file for path, file in expected.items() if not _behind(path, links)}
        checked.findings += [
            Finding(Defect.MISSING, f"{self._store.uri(path)}: is behind a link")
            for path in sorted(expected.keys() - present.keys() - links)
        ]
        for path in sorted(listed.keys() - expected.keys() - links):
            # Quarantined files stay when the recording has audio later; their names have their hash.
            if known is not None and (file := _quarantined(path, known)) is not None:
                present[path] = file
            else:
                checked.findings.append(Finding(Defect.EXTRA, self._uri(path)))
        checked.file_count += len(expected)
        self._read_files(present, listed, checked, unlisted=unlisted)

    def _read_files(
        self, present: dict[str, ExpectedFile], listed: dict[str, int], checked: CheckedFiles, *, unlisted: set[str]
    ) -> None:
        paths = sorted(path for path in present if path in listed)
        count = len(paths) if self._sample >= 1 else min(len(paths), -int(-len(paths) * self._sample // 1))
        chosen = set(self._chance.sample(paths, count)) if count < len(paths) else set(paths)
        not_listed = sorted(present.keys() - listed.keys())
        self._progress.begin(f"{self._day} files", len(paths) + len(not_listed))

        def check(path: str, _: object) -> _Read:
            try:
                return self._check(path, present[path], listed.get(path), read=path in chosen or path not in listed)
            finally:
                self._progress.advance()

        lacking: Counter[str] = Counter()
        with in_threads(check, [*paths, *not_listed], concurrency=4, name="verify") as results:
            for result in results:
                if result.finding is not None:
                    checked.findings.append(result.finding)
                if result.listed_wrongly:
                    lacking["files"] += 1
                if result.read_bytes or result.finding is None or result.finding.defect is Defect.CHANGED:
                    checked.read_bytes += result.read_bytes
        checked.read_count += len(chosen) + lacking["files"]
        if lacking["files"] and not unlisted:
            checked.not_checked.append(
                f"extra files: the listing of {self._store.url} lacks {lacking['files']} files of the day that exist when"
                " requested one by one: the store does not list like S3"
            )

    def _check(self, path: str, file: ExpectedFile, size_bytes: int | None, *, read: bool) -> _Read:
        uri, listed_wrongly = self._uri(path), False
        if size_bytes is None:
            evidence = self._store.stat(path)
            if isinstance(evidence, Absent):
                return _Read(Finding(Defect.MISSING, uri))
            if not isinstance(evidence, Present):
                return _Read(Finding(Defect.UNREADABLE, f"{uri}: not checked: {evidence.reason}"))
            size_bytes, listed_wrongly = evidence.value.size_bytes, True
        if file.size_bytes is not None and size_bytes != file.size_bytes:
            return _Read(Finding(Defect.CHANGED, uri), listed_wrongly=listed_wrongly)
        if file.sha256 is None:
            why = f"not checked: recording_files of {self._day} has no hash of it: compare it with a backup"
            return _Read(Finding(Defect.UNREADABLE, f"{uri}: {why}"), listed_wrongly=listed_wrongly)
        if not read:
            return _Read(None, listed_wrongly=listed_wrongly)
        try:
            same = self._archive.sha256_of(path).startswith(file.sha256)
        except ObjectNotFoundError:
            return _Read(Finding(Defect.MISSING, uri))
        except ArchiveError as err:
            return _Read(Finding(Defect.UNREADABLE, f"{uri}: not checked: {err}"))
        return _Read(None if same else Finding(Defect.CHANGED, uri), size_bytes, listed_wrongly)

    def _contradictions(self, row: Row) -> list[Finding]:
        """Return findings for a row of `recording_files` that no run would write."""
        if row["archive_status"] == ArchiveStatus.ERASED:
            return []
        wrong = []
        hashes = _hashes(row)
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
            wrong.append(
                f"archive_status is {row['archive_status']}, but archive_path {'is set' if kept else 'is not'}"
            )
        key = f"recording_files {row['subaccount_id']}/{row['recording_id']}"
        return [Finding(Defect.EDITED, f"{key}: {text}") for text in wrong]

    def _uri(self, path: str) -> str:
        try:
            return self._store.uri(path)
        except PlaceRefusedError:
            return f"{self._store.url}/{cleaned_path(path)}"


def expected_files(row: Row) -> dict[str, ExpectedFile]:
    """Return the files of a row of `recording_files`, all versions, by path."""
    if row["archive_status"] == ArchiveStatus.ERASED:
        return {}
    return {
        path: ExpectedFile(sha256, row["size_bytes"] if path == row["archive_path"] else None)
        for path, sha256 in _hashes(row).items()
    }


def quarantined_files(rows: Iterable[Row]) -> dict[str, ExpectedFile]:
    """Return the quarantined files of rows of `recording_files`. Their names have the first digits of their hashes."""
    found = {}
    for row in rows:
        # The archive may have been moved since: only the part after the quarantine's name is used.
        _, marker, rest = (row["quarantine_uri"] or "").rpartition(f"/{QUARANTINE}/")
        if marker and row["archive_status"] != ArchiveStatus.ERASED:
            path = f"{QUARANTINE}/{rest}"
            found[path] = ExpectedFile(_hash_in(path))
    return found


def _quarantined(path: str, known: set[str]) -> ExpectedFile | None:
    """Return the file if it can belong to a known recording."""
    parts = path.split("/")
    digits = _hash_in(path)
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

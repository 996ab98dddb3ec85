"""Confirmation of lost files: a listing of the archive alone does not prove that a file is missing."""

from collections.abc import Iterable

from callarchive.archiving.recording_archive import RecordingArchive
from callarchive.archiving.transforms.orphans import SuspectFile, row_without_file
from callarchive.catalog.rows import Row
from callarchive.domain.evidence import Absent, Unknown

ASKED_MAX = 1000
"""How many files that the listing lacks are looked up. If all of them are absent, the listing is believed for the others."""
_UNKNOWN_MAX = 5
"""After this many lookups without an answer no further file is looked up."""


def rows_without_file(
    archive: RecordingArchive, suspects: Iterable[SuspectFile], *, asked_max: int = ASKED_MAX
) -> tuple[list[Row], list[tuple[str, str]]]:
    """Return the findings, and what could not be determined: (subaccount_id, reason), at most one for each account.

    A file that the listing shows with another size than its row is a finding. One that the listing lacks is a finding if the
    store reports its own path as absent or with another size.
    """
    root = archive.root_uri
    rows: list[Row] = []
    doubts: dict[str, list[str]] = {}

    def lost(suspect: SuspectFile, reason: str) -> None:
        rows.append(row_without_file(suspect, reason=reason, archive_root=root))

    def other_size(suspect: SuspectFile, size_bytes: int) -> None:
        lost(suspect, f"the file has {size_bytes} bytes, its row has {suspect.size_bytes}")

    def doubt(suspect: SuspectFile, why: str) -> None:
        doubts.setdefault(suspect.subaccount_id, []).append(f"{root}{suspect.path}: {why}")

    unlisted: list[SuspectFile] = []
    for suspect in suspects:
        if suspect.listed_size_bytes is None:
            unlisted.append(suspect)
        else:
            other_size(suspect, suspect.listed_size_bytes)
    asked_count = unknown_count = 0
    for suspect in unlisted[:asked_max]:
        if unknown_count == _UNKNOWN_MAX:
            break
        asked_count += 1
        finding = archive.store.stat(suspect.path)
        if isinstance(finding, Absent):
            lost(suspect, "the archive has no such file")
        elif isinstance(finding, Unknown):
            unknown_count += 1
            doubt(suspect, finding.reason.removeprefix(f"{root}{suspect.path}: "))
        else:
            if suspect.size_bytes not in (None, finding.value.size_bytes):
                other_size(suspect, finding.value.size_bytes)
            doubt(suspect, "it is there, and the archive's listing lacks it")
    is_believed = not doubts
    for suspect in unlisted[asked_count:]:
        if is_believed:
            lost(suspect, "the archive's listing has no such file")
        else:
            doubt(suspect, "the archive's listing lacks it, and it was not asked for")
    return rows, [
        (account, f"{first} (and {len(more)} more files)" if more else first)
        for account, (first, *more) in doubts.items()
    ]

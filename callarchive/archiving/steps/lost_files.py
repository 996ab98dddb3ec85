"""Confirmation of lost files: a listing of the archive alone does not prove that a file is missing."""

from collections.abc import Iterable, Sequence

from callarchive.archiving.transforms.orphans import SuspectFile, row_without_file
from callarchive.catalog.rows import Row
from callarchive.domain.evidence import Absent, Evidence, Unknown
from callarchive.storage.stores import Store, StoredObject

ASKED_MAX = 1000
"""How many files that the listing lacks are looked up. If all of them are absent, the listing is believed for the others."""
_UNKNOWN_MAX = 5
"""After this many lookups without an answer no further file is looked up."""


def rows_without_file(
    store: Store, suspects: Iterable[SuspectFile], *, asked_max: int = ASKED_MAX
) -> tuple[list[Row], list[tuple[str, str]]]:
    """Return the findings, and what could not be determined: (subaccount_id, reason), at most one for each account.

    A file that the listing shows with another size than its row is a finding. One that the listing lacks is a finding if the
    store reports its own path as absent or with another size.
    """
    root = store.uri("_")[:-1]
    rows: list[Row] = []
    unlisted: list[SuspectFile] = []
    for suspect in suspects:
        if suspect.listed_size_bytes is None:
            unlisted.append(suspect)
        else:
            rows.append(_with_other_size(suspect, suspect.listed_size_bytes, root))
    findings = _asked(store, unlisted[:asked_max])
    doubts: dict[str, list[str]] = {}
    for suspect, finding in zip(unlisted, findings, strict=False):
        if isinstance(finding, Absent):
            rows.append(row_without_file(suspect, reason="the archive has no such file", archive_root=root))
            continue
        why = "it is there, and the archive's listing lacks it"
        if isinstance(finding, Unknown):
            why = finding.reason.removeprefix(f"{root}{suspect.path}: ")
        elif suspect.size_bytes is not None and finding.value.size_bytes != suspect.size_bytes:
            rows.append(_with_other_size(suspect, finding.value.size_bytes, root))
        doubts.setdefault(suspect.subaccount_id, []).append(f"{root}{suspect.path}: {why}")
    is_believed = not doubts
    for suspect in unlisted[len(findings) :]:
        if is_believed:
            reason = "the archive's listing has no such file"
            rows.append(row_without_file(suspect, reason=reason, archive_root=root))
        else:
            reason = "the archive's listing lacks it, and it was not asked for"
            doubts.setdefault(suspect.subaccount_id, []).append(f"{root}{suspect.path}: {reason}")
    return rows, [(subaccount_id, _summary(reasons)) for subaccount_id, reasons in doubts.items()]


def _asked(store: Store, suspects: Sequence[SuspectFile]) -> list[Evidence[StoredObject]]:
    """Return what the store reports for each file, in order; for fewer files if it does not answer."""
    findings: list[Evidence[StoredObject]] = []
    unknown_count = 0
    for suspect in suspects:
        if unknown_count == _UNKNOWN_MAX:
            break
        findings.append(store.stat(suspect.path))
        unknown_count += isinstance(findings[-1], Unknown)
    return findings


def _with_other_size(suspect: SuspectFile, size_bytes: int, archive_root: str) -> Row:
    reason = f"the file has {size_bytes} bytes, its row has {suspect.size_bytes}"
    return row_without_file(suspect, reason=reason, archive_root=archive_root)


def _summary(reasons: Sequence[str]) -> str:
    more = len(reasons) - 1
    return f"{reasons[0]} (and {more} more files)" if more else reasons[0]

"""How charts and tables for people show the states of recordings and sessions: one colour and one meaning each.

`docs/states.md` has more about each state.
"""

from callarchive.domain.models import ArchiveStatus, LookupStatus

COLOURS = {
    ArchiveStatus.ARCHIVED: "#4f6bed",
    ArchiveStatus.PENDING: "#f2c14e",
    ArchiveStatus.MISSING: "#d1495b",
    ArchiveStatus.REJECTED: "#8f5fbf",
    ArchiveStatus.FAILED: "#7a1f2b",
    ArchiveStatus.NOT_UPLOADED: "#ef8354",
    ArchiveStatus.ERASED: "#9aa0ac",
}
"""By `archive_status`, in the order of charts."""

MEANINGS = {
    ArchiveStatus.ARCHIVED: "a verified file is in the archive",
    ArchiveStatus.PENDING: "not ready at 8x8, or not in the landing yet; the next run checks again",
    ArchiveStatus.MISSING: "8x8 reports an upload that is not in the landing after the grace period; ask 8x8",
    ArchiveStatus.REJECTED: "the object is not audio; its bytes are in the quarantine",
    ArchiveStatus.FAILED: "the transfer failed; the next run tries again",
    ArchiveStatus.NOT_UPLOADED: "8x8 failed to process or upload it; ask 8x8 soon",
    ArchiveStatus.ERASED: "it was erased on request",
    LookupStatus.OK: "8x8 lists recordings",
    LookupStatus.NO_RECORDINGS: "8x8 lists no recording",
    LookupStatus.NOT_FOUND: "8x8 does not know the session",
    LookupStatus.ERROR: "no usable response; the next run looks it up again",
}
"""By `archive_status` or `lookup_status`."""

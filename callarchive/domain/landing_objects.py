"""Objects of a landing."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum


class SourceEvidence(StrEnum):
    """What confirmed the downloaded bytes.

    MD5: a hash that the store keeps. SIZE: their number alone, from HEAD or a listing. SSH: their number, over a connection
    that detects changed bytes. REREAD: the store reports no size, and reading to the end twice gave the same bytes.
    """

    MD5 = "md5"
    SIZE = "size"
    SSH = "ssh"
    REREAD = "reread"


@dataclass(frozen=True, slots=True)
class LandingObject:
    """An object as described by a listing, a stat or an open download."""

    path: str  # relative to the landing's root
    uri: str  # the full URL, without credentials
    size_bytes: int | None  # `None` where an SFTP server does not report it, until the object is read
    etag: str | None = None  # without quotes; `None` on SFTP
    modified_at: datetime | None = None  # `None` where the server does not report it
    # What confirmed the bytes; `None` before they are read.
    evidence: SourceEvidence | None = field(default=None, compare=False)

    def same_as(self, *, size_bytes: int | None, etag: str | None, modified_at: datetime | None) -> bool:
        """Return whether this is, judging by the ETag or else the modification time, the object with these values.

        Responses to GET have whole seconds, listings may have fractions. Where one of them lacks a value, it decides nothing;
        without sizes and times it is not.
        """
        has_sizes = self.size_bytes is not None and size_bytes is not None
        if has_sizes and self.size_bytes != size_bytes:
            return False
        if self.etag is not None and etag is not None:
            return self.etag == etag
        if self.modified_at is None or modified_at is None:
            return has_sizes
        return abs(self.modified_at - modified_at) < timedelta(seconds=1)

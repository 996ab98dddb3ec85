"""Objects of a landing, as a listing, a stat or a download describes them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class SourceEvidence(StrEnum):
    """What confirmed that the bytes which came are the object's.

    MD5: a hash that the store keeps of them. SIZE: their number alone, as HEAD or a listing gives it. SSH: their number, and a
    connection that detects changed bytes.
    """

    MD5 = "md5"
    SIZE = "size"
    SSH = "ssh"


@dataclass(frozen=True, slots=True)
class LandingObject:
    """An object as a listing, a stat or an opened download describes it.

    Attributes:
        path: relative to the landing's root.
        uri: the whole place, without credentials, for people and tables.
        etag: without quotes; null on SFTP.
        modified_at: null where the server does not tell.
        evidence: what confirmed the bytes when they were read; None as long as they were not.
    """

    path: str
    uri: str
    size_bytes: int
    etag: str | None = None
    modified_at: datetime | None = None
    evidence: SourceEvidence | None = field(default=None, compare=False)

    def same_as(self, *, size_bytes: int, etag: str | None, modified_at: datetime | None) -> bool:
        """Whether this is, as far as the store tells, the object that those facts were read from."""
        if self.size_bytes != size_bytes:
            return False
        if self.etag is not None and etag is not None:
            return self.etag == etag
        return self.modified_at == modified_at

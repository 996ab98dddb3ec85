"""Bytes on their way into a bucket: spooled and hashed, then sent in one PUT. The PUT itself is in `s3`."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from callarchive.domain.errors import StoreError


@dataclass(frozen=True, slots=True)
class Digests:
    """Size and hashes of the bytes that are sent, which S3 must confirm."""

    size_bytes: int
    sha256: bytes
    md5_hex: str

    @classmethod
    def of(cls, data: bytes) -> "Digests":
        """Return those of the data."""
        md5 = hashlib.md5(data, usedforsecurity=False)
        return cls(len(data), hashlib.sha256(data).digest(), md5.hexdigest())

    @property
    def sha256_base64(self) -> str:
        """The SHA-256 as S3's headers have it."""
        return base64.b64encode(self.sha256).decode()


class S3Staging:
    """Bytes on their way into S3; `put` sends them as a new object when they are committed."""

    def __init__(self, url: str, spool: BinaryIO, put: Callable[[str, BinaryIO, Digests], None]) -> None:
        self._url = url
        self._spool = spool
        self._put = put
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size_bytes = 0
        self._committed = False

    def write(self, chunk: bytes) -> None:
        """Append a chunk."""
        try:
            self._spool.write(chunk)
        except OSError as err:
            raise StoreError(f"{self._url}: the temporary folder cannot take the bytes: {err}") from err
        self._sha256.update(chunk)
        self._md5.update(chunk)
        self._size_bytes += len(chunk)

    def commit(self, path: str) -> None:
        """Send the bytes. They are durable under `path` once S3 has confirmed them."""
        if self._committed:
            raise StoreError(f"{self._url}: these bytes are already committed")
        self._put(path, self._spool, Digests(self._size_bytes, self._sha256.digest(), self._md5.hexdigest()))
        self._committed = True

"""Bytes on their way into a bucket: collected and hashed, then sent in one PUT. The PUT itself is in `s3`."""

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from callarchive.domain.errors import StoreError

if TYPE_CHECKING:
    from callarchive.storage.stores.s3 import S3Store


@dataclass(frozen=True, slots=True)
class Digests:
    """What is known of bytes that are sent: S3 must say the same of what it holds."""

    size_bytes: int
    sha256: bytes
    md5_hex: str

    @classmethod
    def of(cls, data: bytes) -> "Digests":
        md5 = hashlib.md5(data, usedforsecurity=False)
        return cls(len(data), hashlib.sha256(data).digest(), md5.hexdigest())

    @property
    def sha256_base64(self) -> str:
        return base64.b64encode(self.sha256).decode()


class S3Staging:
    """Bytes on their way into S3; sent when they are committed."""

    def __init__(self, store: "S3Store", spool: BinaryIO) -> None:
        self._store = store
        self._spool = spool
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size_bytes = 0
        self._committed = False

    def write(self, chunk: bytes) -> None:
        """Takes the next bytes."""
        try:
            self._spool.write(chunk)
        except OSError as err:
            raise StoreError(f"{self._store.url}: no room for its bytes in the temporary folder: {err}") from err
        self._sha256.update(chunk)
        self._md5.update(chunk)
        self._size_bytes += len(chunk)

    def commit(self, path: str) -> None:
        """Sends the bytes. They are durable under `path` when S3 has answered."""
        if self._committed:
            raise StoreError(f"{self._store.url}: these bytes were committed already")
        digests = Digests(self._size_bytes, self._sha256.digest(), self._md5.hexdigest())
        self._store.put_new(path, self._spool, digests)
        self._committed = True

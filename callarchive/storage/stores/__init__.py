"""Stores: the places that we write, `file://` and `s3://`, for the archive and the catalog.

Paths are relative to the store's root. A name becomes visible only when all of its bytes are there and durable, so a
reader never meets half a file, whenever the writer is killed. Temporary names begin with a dot and end in `.part`.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from callarchive.domain.evidence import Evidence


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in a store. `path` is relative to the store's root."""

    path: str
    size_bytes: int


class Staging(Protocol):
    """Bytes on their way into a store, under a temporary name or in none at all."""

    def write(self, chunk: bytes) -> None:
        """Takes the next bytes. Raises StoreError."""

    def commit(self, path: str) -> None:
        """Makes the bytes durable under `path`, whole, for the first time.

        Raises:
            AlreadyExistsError: the name is taken; the staged bytes stay and may be committed under another name.
            StoreError: they could not be made durable; no name was created, or the store does not know.
        """


class Store(Protocol):
    """A place to keep objects. Thread-safe. Every method raises StoreError (disk full, I/O), AccessDeniedError or
    UnavailableError; messages name the store. `create`, `commit` and `lock` raise ConfigurationError where the store does
    not keep what they promise."""

    url: str

    def uri(self, path: str) -> str:
        """The whole place of an object, for people and tables."""

    def stage(self, folder: str) -> AbstractContextManager[Staging]:
        """Room for bytes that will be committed below `folder`. On leaving, what was not committed is gone."""

    def replace(self, path: str, data: bytes) -> None:
        """The object at `path` is `data`, durable; a reader sees the old or the new one, whole."""

    def replacing(self, path: str, *, about_bytes: int) -> AbstractContextManager[BinaryIO]:
        """The same for bytes that are made as they are written: what was written into the file when the block is left without
        an error. The file takes bytes and tells how many it took, and no more; about so many will come.
        """

    def create(self, path: str, data: bytes) -> None:
        """Like `replace`, but raises AlreadyExistsError when the name is taken."""

    def read(self, path: str) -> bytes:
        """The whole object. Raises ObjectNotFoundError."""

    def open(self, path: str) -> Iterator[bytes]:
        """The object in chunks of at most 1 MiB. Raises ObjectNotFoundError."""

    def list(self, folder: str) -> list[StoredObject]:
        """Every object below `folder`, at any depth, ordered by path, without temporary ones."""

    def sizes(self, folder: str, paths: Iterable[str]) -> dict[str, int]:
        """Size in bytes of each of these objects that is there. All lie below `folder`; many cost little more than one."""

    def stat(self, path: str) -> Evidence[StoredObject]:
        """Return what a question about this one object finds out, without any listing. Raises nothing."""

    def irregular(self, folder: str) -> tuple[str, ...]:
        """Return the paths on the way to `folder` and below it that are neither folders nor regular files, such as links.

        Nothing is looked for behind a link. A bucket has none.
        """

    def folders(self, folder: str) -> tuple[str, ...]:
        """Names of the folders directly below `folder`, in order; empty where there is no such folder."""

    def delete(self, path: str) -> None:
        """There is no object at `path`, durably. None before is fine."""

    def sweep(self, folder: str) -> int:
        """Remove temporary leftovers below `folder`. Those that cannot be removed are logged and stay.

        Returns how many were removed.

        Call it only while holding the lock of the day that the folder belongs to.
        """

    def lock(self, name: str, *, wait_s: float) -> AbstractContextManager[None]:
        """Holds the named lock; a killed holder's lock becomes free. Raises UnavailableError after `wait_s`."""

    def prove(self, *, locks: bool) -> None:
        """Try now that the store keeps write-once names and, with `locks`, locks. Leaves nothing behind.

        The first `lock` and the first `create` or `commit` of a process do the same by themselves, once.

        Raises:
            ConfigurationError: it breaks one of these promises; the message says which.
        """

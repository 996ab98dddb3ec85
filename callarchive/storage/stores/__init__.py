"""Stores for the archive and the catalog: `file://` folders and `s3://` buckets.

Paths are relative to the root of the store. A name becomes visible only when all of its bytes are durable, so a reader
never sees a partial file, whenever the writer is killed. Temporary names begin with a dot and end in `.part`.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from callarchive.domain.evidence import Evidence


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in a store. `path` is relative to the root of the store."""

    path: str
    size_bytes: int


class Staging(Protocol):
    """Bytes on their way into a store."""

    def write(self, chunk: bytes) -> None:
        """Append a chunk. Raises StoreError."""

    def commit(self, path: str) -> None:
        """Make the bytes durable as a new object at `path`.

        Raises AlreadyExistsError if the name is taken; the staged bytes remain and may be committed under another name.
        Raises StoreError if they could not be made durable. Others may have relied on the name by then, so it is removed
        only if nobody could read the bytes from it.
        """


class Store(Protocol):
    """A place to keep objects. Thread-safe.

    Every method raises StoreError (disk full, I/O), AccessDeniedError or UnavailableError; the message names the store.
    `create`, `commit` and `lock` raise ConfigurationError if the store does not keep what they promise.
    """

    url: str

    def uri(self, path: str) -> str:
        """Return the full URI of an object, unquoted."""

    def stage(self, folder: str) -> AbstractContextManager[Staging]:
        """Stage bytes that will be committed below `folder`. What is not committed in the block is discarded."""

    def replace(self, path: str, data: bytes) -> None:
        """Make `data` the object at `path`, durably. A reader sees either the old or the new object."""

    def replacing(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Replace the object with what is written into the file in the block, unless the block raises."""

    def create(self, path: str, data: bytes) -> None:
        """Like `replace`, but raise AlreadyExistsError if the name is taken."""

    def read(self, path: str) -> bytes:
        """Return the whole object. Raises ObjectNotFoundError."""

    def open(self, path: str) -> Iterator[bytes]:
        """Return the object in chunks of at most 1 MiB. Raises ObjectNotFoundError."""

    def list(self, folder: str) -> list[StoredObject]:
        """Return every object below `folder`, at any depth, ordered by path, without temporary files and locks."""

    def sizes(self, folder: str, paths: Iterable[str]) -> dict[str, int]:
        """Return the sizes of those of the objects that exist. All paths are below `folder`; many cost little more than one."""

    def stat(self, path: str) -> Evidence[StoredObject]:
        """Return whether the object exists, without a listing. Raises nothing."""

    def irregular(self, folder: str) -> tuple[str, ...]:
        """Return the links and special files on the way to `folder` and below it, without following links."""

    def folders(self, folder: str) -> tuple[str, ...]:
        """Return the names of the folders directly below `folder`, in order; none if it does not exist."""

    def files(self, folder: str) -> tuple[str, ...]:
        """Return the names of what is directly below `folder` and no folder, in order, without temporary files."""

    def delete(self, path: str) -> None:
        """Delete the object, durably. It need not exist."""

    def erase(self, path: str, *, bypass_governance: bool = False) -> None:
        """Delete the object with every older version that the store keeps, durably. It need not exist.

        Raises RetainedError, with nothing deleted, if Object Lock keeps a version; AccessDeniedError or StoreError if
        versions may remain. Retention in governance mode is bypassed only on request.
        """

    def erase_old_versions(self, path: str, *, bypass_governance: bool = False) -> None:
        """Like `erase`, but keep the object as it is now."""

    def erase_folder(self, folder: str, *, bypass_governance: bool = False) -> None:
        """Like `erase`, for everything below the folder: also temporary files, and versions of deleted objects."""

    def supports_legal_hold(self) -> bool:
        """Return whether `set_legal_hold` works here: the bucket has Object Lock."""

    def set_legal_hold(self, path: str, *, on: bool) -> None:
        """Set or release the legal hold of every version that the object has now, and check it. May be repeated.

        Raises ObjectNotFoundError if there is nothing to hold; StoreError where legal holds are not supported.
        """

    def sweep(self, folder: str, *, older_than_s: float = 0.0) -> int:
        """Remove temporary files below `folder` and return how many. Failures are logged.

        The folder's lock is held, or `older_than_s` is longer than anybody writes a file there.
        """

    def lock(self, name: str, *, wait_s: float) -> AbstractContextManager[None]:
        """Hold the named lock. Raises UnavailableError after `wait_s`. A killed holder's lock becomes free."""

    def prove(self, *, locks: bool) -> None:
        """Test now that the store keeps write-once names and, with `locks`, locks. Leaves nothing behind.

        The first `lock` and the first `create` or `commit` of a process run the same test.
        Raises ConfigurationError if it does not; the message says what it did.
        """

    def prove_object_options(self) -> str | None:
        """Test now that staged bytes are stored with the options of `archive.objects`, and return them for display, if any.

        The first `commit` of staged bytes runs the same test. Raises ConfigurationError if the store ignores or lacks one.
        """

    def default_retention(self) -> str | None:
        """Return the retention that the store gives to every object, so that nothing can be erased earlier, for display."""

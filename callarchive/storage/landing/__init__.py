"""Landings: the stores that 8x8 pushes recordings to. Only read, except by `Landing.delete`.

Paths are relative to the landing's root (the prefix or folder in the account's `landing`), with `/` between parts,
decoded, and already checked by `places.check_path`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from callarchive.domain.evidence import Evidence, Unknown
from callarchive.domain.landing_objects import LandingObject

NOT_LISTED = Unknown("a listing does not show it")
"""The finding for a path that is not in a listing and was not requested by itself."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A part of a landing that could not be listed.

    Attributes:
        folder: the path below the landing's root; empty for the root. Anything below it may be unlisted.
        uri: the full URL, without credentials.
        reason: why it could not be listed, as the end of a sentence: "the server denies permission".
    """

    folder: str
    uri: str
    reason: str

    def __str__(self) -> str:
        return f"{self.uri}: {self.reason}"

    def may_hide(self, path: str) -> bool:
        """Return whether an object at the path may be missing from the listing because of this gap."""
        return not self.folder or path == self.folder or path.startswith(f"{self.folder}/")


@dataclass(frozen=True, slots=True)
class Listing:
    """Objects in a landing, and what could not be listed. Complete only when `gaps` is empty."""

    objects: Sequence[LandingObject]
    gaps: tuple[Gap, ...] = ()


class Download(Protocol):
    """An object being read: the store's description, and its bytes once.

    Iteration yields non-empty chunks of at most 1 MiB, `object.size_bytes` bytes in total. It raises TransferError when
    fewer or more arrive, nothing arrives for the stall time-out, the deadline for the object passes, or the connection breaks.
    """

    object: LandingObject

    def __iter__(self) -> Iterator[bytes]: ...

    def verify_md5(self, md5_hex: str) -> None:
        """Compare the MD5 of the received bytes with the store's own hash, if it has one.

        Not needed for an object without an ETag.

        Raises:
            TransferError: they differ.
        """


class Landing(Protocol):
    """A store that 8x8 pushes recordings to. Thread-safe.

    Every method raises ConfigurationError (no such bucket or root), AccessDeniedError (credentials, or the root is refused),
    HostKeyError (SFTP), or UnavailableError when the store cannot be reached after its own retries; each message names the
    landing. A failure of one path or folder among many (a refusal, an invalid response, a listing that does not end) is not
    raised: it is a `Gap`, or `Unknown` for that name. `Absent` requires a response about that very name; a listing without it
    is not enough.
    """

    uri: str
    concurrency: int
    """The maximum of concurrent downloads."""
    walks_folders: bool
    """Whether a listing reads folder by folder, so that it is faster when some are skipped."""

    def list(self, folder: str) -> Listing:
        """Return all objects below `folder`, at any depth; an empty listing if the folder does not exist."""

    def pages(self, folder: str, *, skip: Callable[[str], bool] | None = None) -> Iterator[Listing]:
        """Yield the same in parts where the store has pages: a landing may have a million objects.

        It ends within `transfer.deadline_s`; the rest is a gap. Folders for whose path `skip` is true may be omitted; a
        landing that walks folders does so at any depth.
        """

    def uri_of(self, path: str) -> str:
        """Return the full URL of an object, without credentials, as in listings. Contacts nothing."""

    def existing_folders(self, names: Sequence[str]) -> dict[str, Evidence[str]]:
        """Return for each folder directly below the root whether it exists; `Present` holds its URL."""

    def open(self, path: str) -> AbstractContextManager[Download]:
        """Open one object for reading. Entering raises ObjectNotFoundError if there is none."""

    def stat_many(self, paths: Iterable[str], *, confirm_absent: bool = True) -> dict[str, Evidence[LandingObject]]:
        """Return the store's current description of each path.

        Args:
            confirm_absent: false makes paths that a listing lacks `NOT_LISTED`, which saves a request for each.
        """

    def delete(self, path: str) -> None:
        """Delete the object, in a bucket with every version of it, and check that it is gone. It need not exist.

        Raises RetainedError if Object Lock keeps it, StoreError if it is still there.
        """

    def check(self) -> None:
        """Check that the landing can be listed."""

    def sample(self) -> Evidence[LandingObject]:
        """Return some object in the first few folders below the root; `Unknown` if they have none."""

    def close(self) -> None:
        """Close connections. May be called twice."""

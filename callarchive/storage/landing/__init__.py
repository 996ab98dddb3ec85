"""Landings: the stores that 8x8 pushes recordings to. Read-only: nothing here writes to one.

Paths are relative to the landing's root (the prefix or folder in the account's `landing`), with `/` between parts,
already decoded, and checked by `places.check_path` before they get here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from callarchive.domain.evidence import Evidence, Unknown
from callarchive.domain.landing_objects import LandingObject

NOT_LISTED = Unknown("a listing does not show it")
"""What is known of a path that a listing lacks, where nobody asked the store for the path itself."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A part of a landing that could not be listed: what lies in it is not known.

    Attributes:
        folder: the path below the landing's root; empty for the root itself. What lies anywhere below it may be unlisted.
        uri: the same place for people, without credentials.
        reason: why it could not be listed, as the end of a sentence: "the server denies permission".
    """

    folder: str
    uri: str
    reason: str

    def __str__(self) -> str:
        return f"{self.uri}: {self.reason}"

    def may_hide(self, path: str) -> bool:
        """Return whether an object at the path may have been left out of the listing for this gap."""
        return not self.folder or path == self.folder or path.startswith(f"{self.folder}/")


@dataclass(frozen=True, slots=True)
class Listing:
    """Objects that a landing listed, and the places that it could not list. Complete only when `gaps` is empty."""

    objects: Sequence[LandingObject]
    gaps: tuple[Gap, ...] = ()


class Download(Protocol):
    """An object being read: what the store says it is, and its bytes once.

    Iterating yields non-empty chunks of at most 1 MiB and ends only when as many bytes came as `object.size_bytes` says.
    It raises TransferError when fewer or more came, when nothing came for the stall time-out, when the deadline for
    the whole object passed, or when the connection broke.
    """

    object: LandingObject

    def __iter__(self) -> Iterator[bytes]: ...

    def verify_md5(self, md5_hex: str) -> None:
        """Returns when the store's own hash of the object, if it has one, is that of the bytes that came.

        Need not be called for an object without an ETag.

        Raises:
            TransferError: it differs.
        """


class Landing(Protocol):
    """A place where 8x8 puts recordings. Thread-safe.

    Every method raises ConfigurationError (no such bucket or root), AccessDeniedError (credentials, or the root is refused),
    HostKeyError (SFTP), or UnavailableError when the store cannot be reached after its own retries; each message names the
    landing. What concerns only one path or folder (a refusal, an answer that makes no sense, a listing that does not end)
    raises nothing where many are asked for: it is a `Gap`, or `Unknown` for that name. `Absent` is concluded only from an
    answer about that very name, never from its not being in one form of listing.
    """

    uri: str
    concurrency: int
    """How many downloads at once do this landing good."""
    walks_folders: bool
    """Whether a listing goes from folder to folder, so that it is quicker when some are left out."""

    def list(self, folder: str) -> Listing:
        """Return every object below `folder`, at any depth; without objects and gaps when there is no such folder."""

    def pages(self, folder: str, *, skip: Callable[[str], bool] | None = None) -> Iterator[Listing]:
        """Yield the same a part at a time where the store lists so: all of a landing may be a million objects.

        The whole of it ends within `transfer.deadline_s`; what was not listed by then is a gap. Folders for whose path `skip`
        is true may be left out. A landing that walks folders does so at any depth.
        """

    def uri_of(self, path: str) -> str:
        """The whole place of an object, without credentials, as listings give it. Contacts nothing."""

    def existing_folders(self, names: Sequence[str]) -> dict[str, Evidence[str]]:
        """Return for each folder directly below the root whether it is there; `Present` holds its URI.

        Costs little more than to ask for one.
        """

    def open(self, path: str) -> AbstractContextManager[Download]:
        """Begins to read one object. Raises ObjectNotFoundError on entering when there is none."""

    def stat_many(self, paths: Iterable[str], *, confirm_absent: bool = True) -> dict[str, Evidence[LandingObject]]:
        """Return what the store says of each path now. Costs far less than a read of each.

        Args:
            confirm_absent: false leaves a path that a listing lacks `NOT_LISTED`, and saves a request for each of those.
        """

    def check(self) -> None:
        """Returns when the landing can be listed."""

    def sample(self) -> Evidence[LandingObject]:
        """Return some object below the root. Looks at no more than a few folders, and is `Unknown` if those show none."""

    def close(self) -> None:
        """Lets go of connections. May be called twice."""

"""An account's bucket: clients, keys, single requests. The clients are made in `storage.s3.clients`."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from callarchive.domain.errors import AnswerError, ArchiveError, ObjectNotFoundError, UnavailableError
from callarchive.domain.landing_objects import LandingObject
from callarchive.settings import AccountSettings, TransferSettings
from callarchive.storage.landing.deadlines import Patience, ended_by
from callarchive.storage.landing.places import PlaceRefusedError, check_path
from callarchive.storage.landing.s3.pages import Listed, Page, page_from, read_listing
from callarchive.storage.s3 import clients as s3_clients
from callarchive.storage.s3 import errors as s3_errors
from callarchive.storage.s3.versions import ObjectVersions

if TYPE_CHECKING:
    from obstore.store import S3Store as ObjectStore

_MAX_KEY_BYTES = 1024
"""The maximum length of S3 keys."""

_T = TypeVar("_T")


class S3Bucket:
    """The bucket and prefix of an account whose `landing` is `s3://bucket/prefix`. Thread-safe; connects at the first use."""

    def __init__(self, account: AccountSettings, transfer: TransferSettings, *, connections: int) -> None:
        place = urlsplit(account.landing)
        self.uri = account.landing
        self._bucket = place.netloc
        self._root = unquote(place.path).strip("/")
        self._settings = account.s3
        self._transfer = transfer
        self._connections = connections
        self._opening = threading.Lock()
        self._session: Any = None
        self._opened_client: Any = None
        self._opened_objects: ObjectStore | None = None

    def key(self, path: str) -> str:
        """Return the key of the path. Raises PlaceRefusedError for one that we never request."""
        check_path(path)
        key = f"{self._root}/{path}" if self._root else path
        try:
            length = len(key.encode())
        except UnicodeEncodeError as err:
            raise PlaceRefusedError(f"refused as a key: {ascii(path)[:80]} is not Unicode") from err
        if length > _MAX_KEY_BYTES:
            raise PlaceRefusedError(f"refused as a key: {length} bytes")
        return key

    def below(self, folder: str) -> str:
        """Return the prefix of all keys below the folder."""
        if folder:
            return self.key(folder) + "/"
        return self._root + "/" if self._root else ""

    def folders_above(self) -> list[str]:
        """Return the prefixes of the folders that hold the root, the innermost first."""
        parts = self._root.split("/") if self._root else []
        return ["".join(f"{part}/" for part in parts[:depth]) for depth in reversed(range(len(parts)))]

    def url_of(self, key: str) -> str:
        """Return the s3:// URL of a key or prefix, not percent-encoded."""
        return f"s3://{self._bucket}/{key}"

    def place(self, path: str) -> str:
        """Return the object's s3:// URL, not percent-encoded."""
        return f"s3://{self._bucket}/{self._root}/{path}" if self._root else f"s3://{self._bucket}/{path}"

    def client(self) -> Any:
        """Return the boto3 client."""
        with self._opening:
            return self._client()

    def objects(self) -> "ObjectStore":
        """Return the obstore store, which does not support every key."""
        with self._opening:
            if self._opened_objects is None:
                client = self._client()
                self._opened_objects = s3_clients.object_store(
                    self._session,
                    client,
                    self._bucket,
                    stall_timeout_s=self._transfer.stall_timeout_s,
                    deadline_s=self._transfer.deadline_s,
                )
            return self._opened_objects

    def _client(self) -> Any:
        """Open the client. The lock is held."""
        if self._opened_client is None:
            self._session = s3_clients.s3_session(self._settings)
            self._opened_client = s3_clients.s3_client(
                self._settings,
                session=self._session,
                connections=self._connections,
                read_timeout_s=self._transfer.stall_timeout_s,
            )
            # Only a wildcard for the service runs before botocore's own handlers.
            self._opened_client.meta.events.register_first("before-parse.*.ListObjectsV2", read_listing)
        return self._opened_client

    def described(self, entry: Listed) -> LandingObject | None:
        """Return the listed object; `None` for a folder's marker and for a key that we never request."""
        start = len(self._root) + 1 if self._root else 0
        path = entry.key[start:]
        try:
            check_path(path)
        except PlaceRefusedError:
            return None
        return self.object_at(path, entry)

    def object_at(self, path: str, entry: Listed) -> LandingObject:
        """Return the listed object at an already checked path."""
        return LandingObject(
            path=path,
            uri=self.place(path),
            size_bytes=entry.size_bytes,
            etag=entry.etag or None,
            modified_at=entry.modified_at,
        )

    def patience(self) -> Patience:
        """Return the time limit for listings."""
        return Patience(self._transfer.deadline_s)

    def ends_at(self) -> float:
        """Return when a request that begins now must end, by `time.monotonic`."""
        return time.monotonic() + self._transfer.deadline_s

    def head(self, path: str, *, ends_at: float | None = None) -> dict[str, Any] | None:
        """Return the response to HEAD, `None` for a 404. Raises ArchiveError."""
        key, place = self.key(path), self.place(path)
        client = self.client()

        def ask() -> dict[str, Any]:
            try:
                head: dict[str, Any] = client.head_object(Bucket=self._bucket, Key=key)
            except s3_errors.BOTO_ERRORS as err:
                raise s3_errors.translate_botocore(err, place=place, doing="reading") from err
            return head

        try:
            return self._answered(ask, place, ends_at)
        except ObjectNotFoundError:
            return None

    def erase(self, path: str) -> None:
        """Delete the object with all its versions. Raises ArchiveError."""
        key, versions = self.key(path), ObjectVersions(self.client(), self._bucket)
        self._answered(lambda: versions.erase(key), self.place(path), None)

    def page(self, prefix: str, *, ends_at: float | None = None, **options: Any) -> Page:
        """Return one page of a listing.

        Args:
            ends_at: when the response must be complete; default `transfer.deadline_s` from now.
            options: of ListObjectsV2.

        Raises:
            ArchiveError: possibly of this prefix only.
        """
        client = self.client()

        def ask() -> Page:
            try:
                answer = client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **options)
                return page_from(answer, prefix=prefix)
            except s3_errors.BOTO_ERRORS as err:
                error: ArchiveError = s3_errors.translate_botocore(err, place=self.uri, doing="listing")
                if isinstance(error, ObjectNotFoundError):  # a web server, not S3
                    error = UnavailableError(
                        f"{self.uri}: what answers there does not list buckets: check endpoint_url"
                    )
                raise error from err
            except (AnswerError, ValueError, TypeError, LookupError, AttributeError) as err:  # botocore's parsers'
                why = err if isinstance(err, AnswerError) else "the answer is no listing of a bucket"
                raise AnswerError(f"{self.uri}: {why}: check endpoint_url") from err

        return self._answered(ask, self.uri, ends_at)

    def _answered(self, ask: Callable[[], _T], place: str, ends_at: float | None) -> _T:
        try:
            return ended_by(self.ends_at() if ends_at is None else ends_at, ask, name="s3-request")
        except TimeoutError as err:
            raise UnavailableError(f"{place}: S3 did not finish its answer within transfer.deadline_s") from err

    def close(self) -> None:
        """Close connections; a later use connects again."""
        with self._opening:
            client, self._opened_client, self._opened_objects = self._opened_client, None, None
        if client is not None:
            client.close()

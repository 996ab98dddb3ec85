"""An account's bucket as the modules of its landing reach it: clients, keys, single requests.

How S3 is reached at all is in `s3_access`, what its errors mean in `s3_errors`.
"""

import threading
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from callarchive import s3_access, s3_errors
from callarchive.errors import ObjectNotFoundError, UnavailableError
from callarchive.landing import LandingObject
from callarchive.landing.places import PlaceRefusedError, check_path
from callarchive.settings import AccountSettings, TransferSettings

if TYPE_CHECKING:
    from obstore.store import S3Store as ObjectStore

_MAX_KEY_BYTES = 1024
"""S3 takes no longer keys."""


class Listed(NamedTuple):
    """A line of a listing. `etag` is without quotes, and empty where there is none."""

    key: str
    size_bytes: int
    etag: str
    modified_at: datetime | None

    @classmethod
    def of_boto3(cls, listed: dict[str, Any]) -> "Listed":
        """The line, from boto3's."""
        return cls(listed["Key"], listed["Size"], listed.get("ETag", "").strip('"'), listed.get("LastModified"))


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
        """The key of the path. Raises PlaceRefusedError for one that we would not ask for."""
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
        """With what the keys of all below the folder begin."""
        if folder:
            return self.key(folder) + "/"
        return self._root + "/" if self._root else ""

    def place(self, path: str) -> str:
        """The object's place as an s3:// URL, characters as they are."""
        return f"s3://{self._bucket}/{self._root}/{path}" if self._root else f"s3://{self._bucket}/{path}"

    def client(self) -> Any:
        """boto3's."""
        with self._opening:
            return self._client()

    def objects(self) -> "ObjectStore":
        """obstore's, which cannot ask for every key."""
        with self._opening:
            if self._opened_objects is None:
                client = self._client()
                self._opened_objects = s3_access.object_store(
                    self._session,
                    client,
                    self._bucket,
                    stall_timeout_s=self._transfer.stall_timeout_s,
                    deadline_s=self._transfer.deadline_s,
                )
            return self._opened_objects

    def _client(self) -> Any:
        """The lock is held."""
        if self._opened_client is None:
            self._session = s3_access.s3_session(self._settings)
            self._opened_client = s3_access.s3_client(
                self._settings,
                session=self._session,
                connections=self._connections,
                read_timeout_s=self._transfer.stall_timeout_s,
            )
        return self._opened_client

    def described(self, entry: Listed) -> LandingObject | None:
        """The listed object; null for a folder's marker and for a key that we would not ask for."""
        start = len(self._root) + 1 if self._root else 0
        path = entry.key[start:]
        try:
            self.key(path)
        except PlaceRefusedError:
            return None
        return self.object_at(path, entry)

    def object_at(self, path: str, entry: Listed) -> LandingObject:
        """The listed object, whose path is known and was checked."""
        return LandingObject(
            path=path,
            uri=self.place(path),
            size_bytes=entry.size_bytes,
            etag=entry.etag or None,
            modified_at=entry.modified_at,
        )

    def head(self, path: str) -> dict[str, Any] | None:
        """What S3 says of the object now, null when there is none. Raises ArchiveError."""
        try:
            head: dict[str, Any] = self.client().head_object(Bucket=self._bucket, Key=self.key(path))
        except s3_errors.BOTO_ERRORS as err:
            error = s3_errors.translate_botocore(err, place=self.place(path), doing="reading")
            if isinstance(error, ObjectNotFoundError):
                return None
            raise error from err
        return head

    def page(self, prefix: str, **options: Any) -> dict[str, Any]:
        """boto3's answer to one request for a listing. Raises ArchiveError."""
        try:
            page: dict[str, Any] = self.client().list_objects_v2(Bucket=self._bucket, Prefix=prefix, **options)
        except s3_errors.BOTO_ERRORS as err:
            error = s3_errors.translate_botocore(err, place=self.uri, doing="listing")
            if isinstance(error, ObjectNotFoundError):  # not S3: a web server that knows no buckets
                error = UnavailableError(f"{self.uri}: what answers there does not list buckets: check endpoint_url")
            raise error from err
        return page

    def close(self) -> None:
        """Lets go of connections; a later use would connect again."""
        with self._opening:
            client, self._opened_client, self._opened_objects = self._opened_client, None, None
        if client is not None:
            client.close()

"""Opens the store of a URL. boto3 and pydantic are imported only for `s3://`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from callarchive.domain.errors import ConfigurationError
from callarchive.storage.stores import Store

if TYPE_CHECKING:
    from callarchive.settings import ObjectSettings, S3Settings


def file_url(path: str | Path) -> str:
    """Return the file:// URL of a path. A relative path is relative to the working directory."""
    return "file://" + os.path.normpath(Path(path).expanduser().absolute())


def local_folder(store: Store) -> Path | None:
    """Return the folder of a store on this machine; None for a bucket."""
    return Path(store.url.removeprefix("file://")) if store.url.startswith("file://") else None


def open_store(url: str, s3: "S3Settings | None" = None, *, objects: "ObjectSettings | None" = None) -> Store:
    """Return the store at a file:// or s3:// URL, without contacting anything. Raises ConfigurationError.

    `objects` applies to what is staged in a bucket.
    """
    if url.startswith("file:///"):
        from callarchive.storage.stores.local import LocalStore

        return LocalStore(url)
    if url.startswith("s3://"):
        from callarchive.settings import S3Settings
        from callarchive.storage.stores.s3 import S3Store

        return S3Store(url, s3 or S3Settings(), objects=objects)
    raise ConfigurationError(f"{url} is not a store: must be file:///absolute/path or s3://bucket/prefix")

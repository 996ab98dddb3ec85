"""From a URL in the configuration to a store. boto3, and pydantic, are imported only where a URL asks for them."""

from typing import TYPE_CHECKING

from callarchive.domain.errors import ConfigurationError
from callarchive.storage.stores import Store

if TYPE_CHECKING:
    from callarchive.settings import S3Settings


def open_store(url: str, s3: "S3Settings | None" = None) -> Store:
    """The store at that URL. Nothing has been made or contacted.

    Args:
        s3: how S3 is reached; null is as AWS's own chain has it.

    Raises:
        ConfigurationError: the URL is neither file:// nor s3://.
    """
    if url.startswith("file:///"):
        from callarchive.storage.stores.local import LocalStore

        return LocalStore(url)
    if url.startswith("s3://"):
        from callarchive.settings import S3Settings
        from callarchive.storage.stores.s3 import S3Store

        return S3Store(url, s3 or S3Settings())
    raise ConfigurationError(f"{url} is no store: file:///absolute/path or s3://bucket/prefix")

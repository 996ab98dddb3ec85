"""From a URL in the configuration to a store. boto3 is imported only where a URL asks for it."""

from callarchive.errors import ConfigurationError
from callarchive.settings import S3Settings
from callarchive.stores import Store


def open_store(url: str, s3: S3Settings) -> Store:
    """The store at that URL. Nothing has been made or contacted.

    Raises:
        ConfigurationError: the URL is neither file:// nor s3://.
    """
    if url.startswith("file:///"):
        from callarchive.stores.local import LocalStore

        return LocalStore(url)
    if url.startswith("s3://"):
        from callarchive.stores.s3 import S3Store

        return S3Store(url, s3)
    raise ConfigurationError(f"{url} is no store: file:///absolute/path or s3://bucket/prefix")

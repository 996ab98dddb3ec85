"""boto3 clients and obstore stores, made from settings, with the same endpoint and credentials: those of boto3's chain."""

import functools
import gzip
import json
import urllib.request
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.loaders import JSONFileLoader
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.store import S3Store as ObjectStore

from callarchive.domain.errors import AccessDeniedError, ConfigurationError
from callarchive.settings import S3Settings
from callarchive.storage.s3.errors import BOTO_ERRORS, NO_CREDENTIALS, NOWHERE, translate_botocore

if TYPE_CHECKING:
    from obstore.store import ClientConfig

_CONNECT_TIMEOUT_S = 10.0
_CREDENTIALS_TTL = timedelta(minutes=9)
"""botocore renews credentials with less than 10 minutes left, so a copy is valid for 9."""


def s3_client(
    settings: S3Settings,
    *,
    session: boto3.Session | None = None,
    connections: int = 16,
    read_timeout_s: float = 60.0,
    attempts: int = 4,
) -> Any:
    """Return a boto3 S3 client, thread-safe. Raises ConfigurationError if the profile or region does not exist."""
    session = session or s3_session(settings)
    options: dict[str, Any] = {
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "read_timeout": read_timeout_s,
        "retries": {"mode": "standard", "total_max_attempts": attempts},
        "max_pool_connections": connections,
        "tcp_keepalive": True,
    }
    # Outside AWS a bucket's name in front of the host, botocore's default, rarely resolves.
    by_path = {"s3": {"addressing_style": "path"}}
    if settings.endpoint_url is not None and not is_aws(settings.endpoint_url):
        options |= by_path
    try:
        client = session.client("s3", endpoint_url=settings.endpoint_url, config=Config(**options))
        if "s3" not in options and not is_aws(client.meta.endpoint_url):  # set by a variable or the profile
            client = session.client("s3", config=Config(**options, **by_path))
    except BOTO_ERRORS as err:
        raise translate_botocore(err, place="S3", doing="reading") from err
    except ValueError as err:  # an AWS_ENDPOINT_URL_S3 that is no URL
        raise ConfigurationError(f"S3: {err}") from err
    return client


def object_store(
    session: boto3.Session, client: Any, bucket: str, *, stall_timeout_s: float, deadline_s: float
) -> ObjectStore:
    """Return an obstore store for one bucket, with the endpoint and credentials of boto3's session and client. Thread-safe.

    A GET ends after `deadline_s`, resumptions of a broken body included. Redirects to other hosts are refused; plain http
    is only used for an endpoint that is configured as http. Raises AccessDeniedError if there are no credentials.
    """
    endpoint = client.meta.endpoint_url
    virtual = is_aws(endpoint) and "." not in bucket  # a dot breaks the certificate's wildcard
    if virtual:
        scheme, _, host = endpoint.partition("://")
        endpoint = f"{scheme}://{bucket}.{host}"
    resuming_s = min(deadline_s / 4, 60.0)
    client_options: ClientConfig = {
        "allow_http": endpoint.startswith("http:"),
        "connect_timeout": timedelta(seconds=_CONNECT_TIMEOUT_S),
        "read_timeout": timedelta(seconds=stall_timeout_s),
        "timeout": timedelta(seconds=deadline_s - resuming_s),
        **_routes(endpoint),
        **_authorities(session),
    }
    try:
        credentials = Boto3CredentialProvider(session, ttl=_CREDENTIALS_TTL)
    except ValueError as err:
        raise AccessDeniedError(f"s3://{bucket}: {NO_CREDENTIALS}") from err
    except BOTO_ERRORS as err:
        raise translate_botocore(err, place=f"s3://{bucket}", doing="reading") from err
    return ObjectStore(
        bucket,
        # All are set, because obstore otherwise reads variables that boto3 ignores, such as AWS_ENDPOINT.
        endpoint=endpoint,
        aws_endpoint_url_s3=endpoint,
        region=client.meta.region_name,
        virtual_hosted_style_request=virtual,
        skip_signature=False,
        credential_provider=credentials,
        client_options=client_options,
        retry_config={
            # Few and short: a failed transfer is retried as a whole, with longer pauses.
            "max_retries": 2,
            "retry_timeout": timedelta(seconds=resuming_s),
            "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
        },
    )


def is_aws(endpoint: str) -> bool:
    """Return whether the endpoint is AWS's own: elsewhere regions matter little, and buckets have no host names."""
    host = urlsplit(endpoint).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def split_s3_url(url: str) -> tuple[str, str]:
    """Return bucket and prefix of `s3://bucket/prefix`, the prefix without slashes at its ends, not decoded."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return bucket, prefix.strip("/")


def s3_session(settings: S3Settings) -> boto3.Session:
    """Return a boto3 session, which resolves credentials, profile and region. Raises ConfigurationError."""
    try:
        core = botocore.session.Session(profile=settings.profile)
        core.register_component("data_loader", _service_descriptions())
        return boto3.Session(botocore_session=core, region_name=settings.region)
    except BOTO_ERRORS as err:
        raise translate_botocore(err, place="S3", doing="reading") from err


def usual_chain() -> tuple[str | None, Any]:
    """Return the region and botocore's credentials that AWS's usual chain gives, None where it has none.

    Raises ConfigurationError if the profile that it names does not exist.
    """
    session = s3_session(S3Settings())
    try:
        return session.region_name, session.get_credentials()
    except BOTO_ERRORS as err:
        raise translate_botocore(err, place="S3", doing="reading") from err


class _PlainFiles(JSONFileLoader):  # type: ignore[misc]  # botocore has no types
    """Reads botocore's service descriptions to dicts: as its OrderedDicts they take 4 MB and 20 ms more."""

    def load_file(self, file_path: str) -> Any:
        for suffix, opened in ((".json", open), (".json.gz", gzip.open)):
            with suppress(FileNotFoundError), opened(file_path + suffix, "rb") as file:
                return json.load(file)
        return None


@functools.cache
def _service_descriptions() -> Any:
    """Return botocore's service descriptions, loaded once: 50 of the 60 ms of a first client."""
    loader = botocore.session.Session().get_component("data_loader")
    loader.file_loader = _PlainFiles()
    return loader


def _routes(endpoint: str) -> "ClientConfig":
    """Return the proxy options that limit obstore to the environment's proxy, else to the endpoint's host.

    obstore always follows redirects, to any host, without the signature but with the session token. So all hosts but the
    endpoint's get a proxy that does not exist.
    """
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        return {"proxy_url": proxy}
    return {"proxy_url": f"http://{NOWHERE}", "proxy_excludes": host}


def _authorities(session: boto3.Session) -> "ClientConfig":
    """Return the option for boto3's CA bundle (AWS_CA_BUNDLE or the profile's ca_bundle), if there is one."""
    bundle = session._session.get_config_variable("ca_bundle")  # noqa: SLF001 - boto3 has no other way to read it
    if not bundle:
        return {}
    try:
        return {"root_certificate": Path(bundle).read_bytes()}
    except OSError as err:
        raise ConfigurationError(f"the CA bundle {bundle} cannot be read: {err.strerror}") from err

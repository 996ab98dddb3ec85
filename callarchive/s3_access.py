"""How S3 is reached: boto3 clients, obstore stores and Arrow file systems made from settings; their errors translated.

Credentials, profile, role, region and `AWS_ENDPOINT_URL_S3` come from boto3's chain; whatever it finds is handed to
obstore and Arrow too, so that all of them talk to one place. What is read or written there is in `landing.s3` and
`stores.s3`.
"""

import functools
import re
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    InvalidRegionError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store as ObjectStore

from callarchive.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    ArchiveError,
    ConfigurationError,
    ObjectNotFoundError,
    StoreError,
    TransferError,
    UnavailableError,
)
from callarchive.settings import S3Settings

if TYPE_CHECKING:
    from obstore.store import ClientConfig
    from pyarrow.fs import S3FileSystem

Doing = Literal["reading", "listing", "writing", "deleting"]

BOTO_ERRORS = (BotoCoreError, ClientError)
OBSTORE_ERRORS = (BaseError, OSError, ValueError)
"""What obstore raises: a missing object is a built-in FileNotFoundError, a key that it cannot send a ValueError."""

_CONNECT_TIMEOUT_S = 10.0
_CREDENTIALS_TTL = timedelta(minutes=9)
"""botocore renews credentials that have less than 10 minutes left, so a copy may be used for 9."""
_NOWHERE = "127.0.0.1:9"
"""Where obstore sends what is not for the endpoint's host: the discard port, where nothing listens. See `_routes`."""

_DENIED = {
    "ExpiredToken": "the AWS credentials have expired: renew them and run again",
    "ExpiredTokenException": "the AWS credentials have expired: renew them and run again",
    "InvalidToken": "the AWS session token is not valid: renew the credentials and run again",
    "TokenRefreshRequired": "the AWS session token must be renewed",
    "InvalidAccessKeyId": "the AWS access key is not known there: check AWS_ACCESS_KEY_ID or the profile",
    "SignatureDoesNotMatch": "the AWS secret key does not fit the access key: check AWS_SECRET_ACCESS_KEY",
    "RequestTimeTooSkewed": "this machine's clock is wrong: set it and run again",
}
_PERMISSION: dict[Doing, str] = {
    "reading": "the credentials need s3:GetObject; without s3:ListBucket a missing object is answered so too",
    "listing": "the credentials need s3:ListBucket on the bucket",
    "writing": "the credentials need s3:PutObject (and a KMS key's kms:GenerateDataKey)",
    "deleting": "the credentials need s3:DeleteObject, and no retention may hold the object",
}
_OTHER_REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")
_NO_ROOM = ("QuotaExceeded", "EntityTooLarge", "XMinioStorageFull", "InsufficientCapacity")


class ConflictError(UnavailableError):
    """S3 cannot say yet which of two conditional writes comes first. The next attempt will learn it."""


def s3_client(settings: S3Settings, *, connections: int = 16, read_timeout_s: float = 60.0, attempts: int = 4) -> Any:
    """A boto3 S3 client, thread-safe. Nothing has been sent, except perhaps to where credentials come from.

    Args:
        attempts: how often a request that met an outage is sent at most.

    Raises:
        ConfigurationError: the profile or the region does not exist.
    """
    return _client(
        _session(settings), settings, connections=connections, read_timeout_s=read_timeout_s, attempts=attempts
    )


def _client(
    session: boto3.Session,
    settings: S3Settings,
    *,
    connections: int = 10,
    read_timeout_s: float = 60.0,
    attempts: int = 4,
) -> Any:
    options: dict[str, Any] = {
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "read_timeout": read_timeout_s,
        "retries": {"mode": "standard", "total_max_attempts": attempts},
        "max_pool_connections": connections,
        "tcp_keepalive": True,
    }
    try:
        client = session.client("s3", endpoint_url=settings.endpoint_url, config=Config(**options))
        if not _is_aws(client.meta.endpoint_url):
            # Elsewhere a bucket's name in front of the host rarely resolves; botocore would put it there.
            options["s3"] = {"addressing_style": "path"}
            client = session.client("s3", endpoint_url=settings.endpoint_url, config=Config(**options))
    except BOTO_ERRORS as err:
        raise translate_botocore(err, place="S3", doing="reading") from err
    except ValueError as err:  # an AWS_ENDPOINT_URL_S3 that is no URL
        raise ConfigurationError(f"S3: {err}") from err
    return client


def object_store(settings: S3Settings, bucket: str, *, stall_timeout_s: float, deadline_s: float) -> ObjectStore:
    """An obstore store for one bucket, at the endpoint and with the credentials that boto3 would use. Thread-safe.

    A GET is over after `deadline_s`, resumptions of a broken body included. Redirects to other hosts are refused, plain
    http is spoken only to an endpoint that is configured as http.

    Raises:
        AccessDeniedError: no credentials are to be found.
    """
    session = _session(settings)
    client = _client(session, settings)
    endpoint = client.meta.endpoint_url
    virtual = _is_aws(endpoint) and "." not in bucket  # a dot breaks the certificate's wildcard
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
        raise AccessDeniedError(f"s3://{bucket}: {_no_credentials()}") from err
    except BOTO_ERRORS as err:
        raise translate_botocore(err, place=f"s3://{bucket}", doing="reading") from err
    return ObjectStore(
        bucket,
        # All are given, for obstore would otherwise read variables that boto3 does not heed, such as AWS_ENDPOINT.
        endpoint=endpoint,
        aws_endpoint_url_s3=endpoint,
        region=client.meta.region_name,
        virtual_hosted_style_request=virtual,
        skip_signature=False,
        credential_provider=credentials,
        client_options=client_options,
        retry_config={
            # Few and short: whoever reads a recording tries it again as a whole, with longer pauses.
            "max_retries": 2,
            "retry_timeout": timedelta(seconds=resuming_s),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=2),
                "base": 2,
            },
        },
    )


def arrow_filesystem(settings: S3Settings) -> "S3FileSystem":
    """An Arrow file system for readers of Parquet in S3, with the credentials of this moment."""
    from pyarrow.fs import S3FileSystem

    session = _session(settings)
    try:
        found = session.get_credentials()
        if found is None:
            raise AccessDeniedError(f"S3: {_no_credentials()}")
        frozen = found.get_frozen_credentials()
    except BOTO_ERRORS as err:
        raise translate_botocore(err, place="S3", doing="reading") from err
    client = _client(session, settings)
    endpoint = urlsplit(client.meta.endpoint_url)
    return S3FileSystem(
        access_key=frozen.access_key,
        secret_key=frozen.secret_key,
        session_token=frozen.token,
        region=client.meta.region_name,
        scheme=endpoint.scheme,
        endpoint_override=None if _is_aws(client.meta.endpoint_url) else endpoint.netloc,
    )


def split_s3_url(url: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/prefix`, the prefix without slashes at its ends, taken as it is written."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return bucket, prefix.strip("/")


def translate_botocore(err: Exception, *, place: str, doing: Doing) -> ArchiveError:
    """The error of ours that says what botocore's says, in words that hold no secret."""
    if isinstance(err, ClientError):
        code = str(err.response.get("Error", {}).get("Code", ""))
        status = err.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return _answered(code, status, place=place, doing=doing)
    name = type(err).__name__
    if isinstance(err, (NoCredentialsError, PartialCredentialsError)):
        return AccessDeniedError(f"{place}: {_no_credentials()}")
    if isinstance(err, (CredentialRetrievalError, TokenRetrievalError, SSOError)):
        return AccessDeniedError(f"{place}: AWS credentials could not be fetched or have expired ({name}): {err}")
    if isinstance(err, (ProfileNotFound, ConfigNotFound, ConfigParseError, InvalidRegionError)):
        return ConfigurationError(f"{place}: {err}")
    if isinstance(err, (ConnectionError, HTTPClientError)):
        return UnavailableError(f"{place}: the endpoint cannot be reached ({name}): check endpoint_url and the network")
    return UnavailableError(f"{place}: {name} while {doing}")


def translate_obstore(err: Exception, *, place: str, doing: Doing) -> ArchiveError:
    """The error of ours that says what obstore's says.

    Raise it `from None`: obstore's text quotes the answer's body, and S3's bodies quote session tokens.
    """
    text = str(err)
    answered = re.search(r"status code: (\d{3})", text)
    status = int(answered[1]) if answered else None
    if isinstance(err, FileNotFoundError):
        status = 404
    elif isinstance(err, PermissionDeniedError):
        status = 403
    elif isinstance(err, UnauthenticatedError):
        status = 401
    if status is not None:
        code = re.search(r"<Code>([\w.]{1,60})</Code>", text)
        return _answered(code[1] if code else "", status, place=place, doing=doing)
    if "BareRedirect" in text or "redirect without LOCATION" in text:
        return _answered("PermanentRedirect", 301, place=place, doing=doing)
    if re.search(r"Credential|SSO|TokenRetrieval", text):
        return AccessDeniedError(f"{place}: AWS credentials could not be fetched or have expired")
    return UnavailableError(f"{place}: {broken_because(err)}")


def broken_because(err: Exception) -> str:
    """Why a request of obstore's got no answer, or not its whole body: a phrase without addresses or secrets."""
    text = str(err)
    if _NOWHERE in text:
        return "the endpoint redirects to another host, which is refused"
    for sign, phrase in {
        "MissingContentLength": "the answer has no Content-Length, so a cut could not be noticed",
        "TimedOut": "nothing came for the stall time-out, or the deadline passed",
        "kind: Timeout": "nothing came for the stall time-out, or the deadline passed",
        "dns error": "the endpoint's name cannot be resolved",
        "ConnectionRefused": "the endpoint refuses connections",
        "NoContentRange": "the connection broke, and the rest could not be had",
        "IncompleteBody": "the connection broke before all bytes came",
        "ConnectionReset": "the connection was reset",
        "invalid peer certificate": "the endpoint's certificate is not trusted (AWS_CA_BUNDLE names another authority)",
    }.items():
        if sign in text:
            return phrase
    return "the connection failed"


def _answered(code: str, status: int | None, *, place: str, doing: Doing) -> ArchiveError:
    """The error for an answer. `code` is S3's own word; HEAD has no body, so there it is the status."""
    shown = code if code and not code.isdigit() else f"HTTP {status}"
    if code == "NoSuchBucket":
        return ConfigurationError(f"{place}: there is no such bucket: check its name, the endpoint and the region")
    if code in _OTHER_REGION or status == 301:
        return ConfigurationError(f"{place}: the bucket is in another region or at another endpoint: set s3.region")
    if code == "PreconditionFailed" or status == 412:
        return AlreadyExistsError(f"{place}: the name is taken")
    if code == "ConditionalRequestConflict" or status == 409:
        return ConflictError(f"{place}: another write to it is under way ({shown})")
    if code == "InvalidObjectState":
        return TransferError(f"{place}: it lies in an archive storage class: restore it in S3 first")
    if code in _DENIED:
        return AccessDeniedError(f"{place}: {_DENIED[code]} ({code})")
    if code == "AccessDenied" or status in (401, 403):
        return AccessDeniedError(f"{place}: access denied while {doing} ({shown}): {_PERMISSION[doing]}")
    if status == 404:
        return ObjectNotFoundError(f"{place}: there is no such object")
    if code in _NO_ROOM or status == 507:
        return StoreError(f"{place}: there is no room for it ({shown})")
    return UnavailableError(f"{place}: S3 answered {shown} while {doing}")


def _session(settings: S3Settings) -> boto3.Session:
    try:
        core = botocore.session.Session(profile=settings.profile)
        core.register_component("data_loader", _service_descriptions())
        return boto3.Session(botocore_session=core, region_name=settings.region)
    except BOTO_ERRORS as err:
        raise translate_botocore(err, place="S3", doing="reading") from err


@functools.cache
def _service_descriptions() -> Any:
    """What botocore knows of AWS's services, read from its files once: 70 of the 80 ms that a first client costs."""
    return botocore.session.Session().get_component("data_loader")


def _is_aws(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _no_credentials() -> str:
    return "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role"


def _routes(endpoint: str) -> "ClientConfig":
    """Where obstore's connections may go: through the proxy of the environment, else to the endpoint's host alone.

    obstore follows redirects and cannot be told not to. It takes the signature off but sends the session token along,
    to whatever host the answer names. So all hosts but the endpoint's own are given a proxy that does not exist.
    """
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        return {"proxy_url": proxy}
    return {"proxy_url": f"http://{_NOWHERE}", "proxy_excludes": host}


def _authorities(session: boto3.Session) -> "ClientConfig":
    """The CA bundle that boto3 was told to trust (AWS_CA_BUNDLE or the profile's ca_bundle), if any."""
    bundle = session._session.get_config_variable("ca_bundle")
    if not bundle:
        return {}
    try:
        return {"root_certificate": Path(bundle).read_bytes()}
    except OSError as err:
        raise ConfigurationError(f"the CA bundle {bundle} cannot be read: {err.strerror}") from err

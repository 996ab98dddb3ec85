"""Translate errors of botocore and obstore to ours. S3's error codes (`ExpiredToken`) take precedence over the HTTP status."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    ConnectionError,  # noqa: A004 - botocore's
    CredentialRetrievalError,
    HTTPClientError,
    InvalidRegionError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from callarchive.domain.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    ArchiveError,
    ConfigurationError,
    ObjectNotFoundError,
    StoreError,
    TransferError,
    UnavailableError,
)
from callarchive.domain.foreign_text import cleaned

Doing = Literal["reading", "listing", "writing", "deleting"]

BOTO_ERRORS = (BotoCoreError, ClientError)
OBSTORE_ERRORS = (BaseError, OSError, ValueError)
"""obstore's errors: a missing object is a built-in FileNotFoundError, an unsupported key a ValueError."""

NOWHERE = "127.0.0.1:9"
"""The proxy for hosts that obstore must not contact: the discard port, where nothing listens. See `clients`."""

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
    """Two conditional writes conflict; a retry shows which came first."""


def no_credentials() -> str:
    """Return the message for missing credentials."""
    return "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role"


def translate_botocore(err: Exception, *, place: str, doing: Doing) -> ArchiveError:
    """Return our error for one of botocore's. The message contains no secret."""
    if isinstance(err, ClientError):
        code = cleaned(str(err.response.get("Error", {}).get("Code", "")), limit=60)
        status = err.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return _answered(code, status, place=place, doing=doing)
    name = type(err).__name__
    if isinstance(err, (NoCredentialsError, PartialCredentialsError)):
        return AccessDeniedError(f"{place}: {no_credentials()}")
    if isinstance(err, (CredentialRetrievalError, TokenRetrievalError, SSOError)):
        return AccessDeniedError(
            f"{place}: AWS credentials could not be fetched or have expired ({name}): {cleaned(str(err))}"
        )
    if isinstance(err, (ProfileNotFound, ConfigNotFound, ConfigParseError, InvalidRegionError)):
        return ConfigurationError(f"{place}: {cleaned(str(err))}")
    if isinstance(err, (ConnectionError, HTTPClientError)):
        return UnavailableError(f"{place}: the endpoint cannot be reached ({name}): check endpoint_url and the network")
    return UnavailableError(f"{place}: {name} while {doing}")


@contextmanager
def translating(*, place: str, doing: Doing) -> Iterator[None]:
    """Raise errors of botocore in the block as ours."""
    try:
        yield
    except BOTO_ERRORS as err:
        raise translate_botocore(err, place=place, doing=doing) from err


def translate_obstore(err: Exception, *, place: str, doing: Doing) -> ArchiveError:
    """Return our error for one of obstore's.

    Raise it `from None`: obstore's message quotes the response's body, which may contain a session token.
    """
    text = str(err)
    if isinstance(err, UnauthenticatedError) and "credential provider" in text:
        return AccessDeniedError(f"{place}: AWS credentials could not be fetched or have expired")
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
    return UnavailableError(f"{place}: {broken_because(err)}")


def broken_because(err: Exception) -> str:
    """Return why obstore got no response, or not its whole body: a phrase without addresses or secrets."""
    text = str(err)
    if NOWHERE in text:
        return "the endpoint redirects to another host, which is refused"
    for sign, phrase in {
        "MissingContentLength": "the answer has no Content-Length, so a cut could not be noticed",
        "TimedOut": "nothing came for the stall time-out, or the deadline passed",
        "kind: Timeout": "nothing came for the stall time-out, or the deadline passed",
        "dns error": "the endpoint's name cannot be resolved",
        "ConnectionRefused": "the endpoint refuses connections",
        "NoContentRange": "the connection broke, and the rest could not be read",
        "IncompleteBody": "the connection broke before all bytes came",
        "ConnectionReset": "the connection was reset",
        "invalid peer certificate": "the endpoint's certificate is not trusted (AWS_CA_BUNDLE names another authority)",
    }.items():
        if sign in text:
            return phrase
    return "the connection failed"


def _answered(code: str, status: int | None, *, place: str, doing: Doing) -> ArchiveError:
    """Return the error for a response. `code` is S3's error code; for HEAD, which has no body, the status."""
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
        return TransferError(f"{place}: it is in an archive storage class: restore it in S3 first")
    if code in _DENIED:
        return AccessDeniedError(f"{place}: {_DENIED[code]} ({code})")
    if code == "AccessDenied" or status in (401, 403):
        return AccessDeniedError(f"{place}: access denied while {doing} ({shown}): {_PERMISSION[doing]}")
    if status == 404:
        return ObjectNotFoundError(f"{place}: there is no such object")
    if code in _NO_ROOM or status == 507:
        return StoreError(f"{place}: there is no room for it ({shown})")
    return UnavailableError(f"{place}: S3 answered {shown} while {doing}")

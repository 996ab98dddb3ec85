"""Translate errors of botocore and obstore to ours. S3's error codes (`ExpiredToken`) take precedence over the HTTP status."""

import html
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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
    ColdObjectError,
    ConfigurationError,
    ObjectNotFoundError,
    RejectedRequestError,
    StoreError,
    UnavailableError,
)
from callarchive.domain.foreign_text import cleaned

Doing = Literal["reading", "listing", "writing", "deleting", "holding"]
BOTO_ERRORS = (BotoCoreError, ClientError, RecursionError)  # the last: botocore, where every request is redirected
OBSTORE_ERRORS = (BaseError, OSError, ValueError)
"""obstore's errors: a missing object is a built-in FileNotFoundError, an unsupported key a ValueError."""

NOWHERE = "127.0.0.1:9"
"""The proxy for hosts that obstore must not contact: the discard port, where nothing listens. See `clients`."""

NO_CREDENTIALS = "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role"

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
    "listing": "the credentials need s3:ListBucket on the bucket; a requester-pays bucket refuses all but its owner so too",
    "writing": "the credentials need s3:PutObject (and a KMS key's kms:GenerateDataKey)",
    "deleting": "the credentials need s3:DeleteObject, for versions s3:DeleteObjectVersion, and no retention may hold it",
    "holding": "the credentials need s3:PutObjectLegalHold, and the bucket Object Lock",
}
_KMS: dict[Doing, str] = {"writing": "kms:GenerateDataKey"}
_ACTION = re.compile(r"not authorized to perform:? ([\w-]+:\w+)")
_UNSPECIFIC = ("", "AccessDenied", "Forbidden", "Unauthorized")
_SAYS_NOTHING = re.compile(r"(access denied|forbidden|unauthorized)?\W*", re.IGNORECASE)
_OTHER_REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")
_ELEMENT = re.compile(r"<(Code|Message|Region|StorageClass|AccessTier)>([^<]{1,2000})</")
_TRANSIENT = re.compile(r"Timeout|Throttl|SlowDown|TooMany|LimitExceeded|Digest|IncompleteBody|SHA256Mismatch")
"""Codes with a status below 500 that a retry may cure."""
_TRANSIENT_STATUSES = (408, 425, 429)
_NO_ROOM = ("QuotaExceeded", "EntityTooLarge", "XMinioStorageFull", "InsufficientCapacity")


@dataclass(frozen=True, slots=True)
class _Answer:
    """An error response."""

    status: int | None
    code: str  # S3's error code; empty if there is none
    details: Mapping[str, str]  # the other elements of S3's XML
    has_body: bool = True  # false for HEAD, whose responses never name a code

    @property
    def message(self) -> str:
        return cleaned(self.details.get("Message", ""), limit=300).rstrip(". ")

    @property
    def shown(self) -> str:
        """The code, with S3's message if that says more."""
        if not self.code:
            return f"HTTP {self.status}"
        return self.code if _SAYS_NOTHING.fullmatch(self.message) else f"{self.code}: {self.message}"

    @property
    def is_final(self) -> bool:
        """Whether the same request would be answered in the same way later."""
        status = self.status or 0
        is_theirs = status >= 500 and status != 501
        return not is_theirs and status not in _TRANSIENT_STATUSES and not _TRANSIENT.search(self.code)


class ConflictError(UnavailableError):
    """Two conditional writes conflict; a retry shows which came first."""


def translate_botocore(err: Exception, *, place: str, doing: Doing) -> ArchiveError:
    """Return our error for one of botocore's. The message contains no secret."""
    if isinstance(err, ClientError):
        details = {name: str(value) for name, value in err.response.get("Error", {}).items()}
        code = cleaned(details.get("Code", ""), limit=60)
        status = err.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        # Without S3's XML, botocore's code is the status.
        answer = _Answer(
            status, "" if code.isdigit() else code, details, has_body=not err.operation_name.startswith("Head")
        )
        return _answered(answer, place=place, doing=doing)
    name = type(err).__name__
    if isinstance(err, RecursionError):
        return UnavailableError(
            f"{place}: the endpoint redirects every request, as a log-in page does: check endpoint_url"
        )
    if isinstance(err, (NoCredentialsError, PartialCredentialsError)):
        return AccessDeniedError(f"{place}: {NO_CREDENTIALS}")
    if isinstance(err, (CredentialRetrievalError, TokenRetrievalError, SSOError)):
        return AccessDeniedError(
            f"{place}: AWS credentials could not be obtained or have expired ({name}): {cleaned(str(err))}"
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
    """Return our error for one of obstore's. Raise it `from None`: obstore's quotes the body, perhaps a session token."""
    text = str(err)
    if isinstance(err, UnauthenticatedError) and "credential provider" in text:
        return AccessDeniedError(f"{place}: AWS credentials could not be obtained or have expired")
    answered = re.search(r"status code: (\d{3})", text)
    status = int(answered[1]) if answered else None
    if isinstance(err, FileNotFoundError):
        status = 404
    elif isinstance(err, PermissionDeniedError):
        status = 403
    elif isinstance(err, UnauthenticatedError):
        status = 401
    if status is not None:
        details = {name: html.unescape(value) for name, value in _ELEMENT.findall(text)}
        code = cleaned(details.get("Code", ""), limit=60)
        return _answered(_Answer(status, code, details), place=place, doing=doing)
    if "BareRedirect" in text or "redirect without LOCATION" in text:
        return _answered(_Answer(301, "PermanentRedirect", {}), place=place, doing=doing)
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


def cold_object(place: str, *, storage_class: str, tier: str = "", restore: str = "") -> ColdObjectError:
    """Return the error for an object that must be restored.

    Args:
        storage_class, tier: as S3 names them; `tier` is that of Intelligent-Tiering.
        restore: the header `x-amz-restore` of HEAD.
    """
    where = f"storage class {cleaned(storage_class, limit=60)}" if storage_class else "an archive storage class"
    if tier:
        where = f"{where}, tier {cleaned(tier, limit=60)}"
    if 'ongoing-request="true"' in restore:
        return ColdObjectError(f"{place}: it is in {where} and is being restored: archive the day again afterwards")
    return ColdObjectError(
        f"{place}: it is in {where}: restore it in S3 first (aws s3api restore-object, see docs/stores.md), "
        "then archive the day again"
    )


def _answered(answer: _Answer, *, place: str, doing: Doing) -> ArchiveError:
    """Return the error for an error response."""
    code, status, shown = answer.code, answer.status, answer.shown
    if code == "NoSuchBucket":
        return ConfigurationError(f"{place}: there is no such bucket: check its name, the endpoint and the region")
    if code in _OTHER_REGION or status == 301:
        region = cleaned(answer.details.get("Region", ""), limit=60)
        where = f"in {region}" if region else "in another region or at another endpoint"
        return ConfigurationError(f"{place}: the bucket is {where}: set s3.region")
    if code == "PreconditionFailed" or status == 412:
        return AlreadyExistsError(f"{place}: the name is taken")
    if code == "ConditionalRequestConflict" or status == 409:
        return ConflictError(f"{place}: another write to it is under way ({shown})")
    if code == "InvalidObjectState":
        details = answer.details
        return cold_object(place, storage_class=details.get("StorageClass", ""), tier=details.get("AccessTier", ""))
    if code in _DENIED:
        return AccessDeniedError(f"{place}: {_DENIED[code]} ({code})")
    if code == "AccessDenied" or status in (401, 403):
        advice = _advice(answer, doing)
        return AccessDeniedError(f"{place}: access denied while {doing} ({shown}){f': {advice}' if advice else ''}")
    if status == 404:
        return ObjectNotFoundError(f"{place}: there is no such object")
    if code in _NO_ROOM or status == 507:
        return StoreError(f"{place}: there is no room for it ({shown})")
    error = f"{place}: S3 answered {code or shown} while {doing}"
    if code and code != shown:
        error = f"{error} ({answer.message})"
    if not answer.is_final:
        return UnavailableError(error)
    advice = _advice(answer, doing)
    return RejectedRequestError(f"{error}: {advice}" if advice else error)


def _advice(answer: _Answer, doing: Doing) -> str:
    """Return the next step after a refusal: what S3 names, else the permission that is usually missing; may be empty."""
    if answer.has_body and not answer.code:
        return "there is no S3 error code, so a proxy or another service answered: check endpoint_url"
    action = _ACTION.search(answer.message)
    if action is not None and not action[1].startswith("kms:"):
        return f"the credentials need {action[1]}, and no policy may deny it"
    if re.search(r"object ?lock", answer.message, re.IGNORECASE):
        return "turn on the bucket's Object Lock, or remove archive.objects.lock_mode and lock_days; see docs/stores.md"
    if re.search(r"\bkms\b|ciphertext", f"{answer.code} {answer.message}", re.IGNORECASE):
        needed = action[1] if action is not None else _KMS.get(doing, "kms:Decrypt")
        return f"the credentials need {needed} on the KMS key, which must be enabled; see also the key's own policy"
    if re.search(r"requester.?pays|request-?payer", answer.message, re.IGNORECASE):
        return "the bucket is requester-pays: use credentials of the bucket's owner, or turn Requester Pays off"
    return _PERMISSION[doing] if answer.code in _UNSPECIFIC and answer.status in (401, 403) else ""

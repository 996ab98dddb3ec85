"""Object Lock: whether a bucket has it, and what it says of a version of an object."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import ClientError

from callarchive.domain.errors import AccessDeniedError
from callarchive.storage.s3 import errors as s3_errors

_NOT_CONFIGURED = ("ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration")


def has_object_lock(client: Any, bucket: str) -> bool | None:
    """Return whether the bucket has Object Lock; `None` if we may not know. Raises UnavailableError."""
    configuration = _configuration(client, bucket)
    return None if configuration is None else configuration.get("ObjectLockEnabled") == "Enabled"


def default_retention(client: Any, bucket: str) -> str | None:
    """Return the retention that the bucket gives to every object, if it is known, for display. Raises UnavailableError."""
    rule = (_configuration(client, bucket) or {}).get("Rule", {}).get("DefaultRetention")
    if not rule:
        return None
    unit = "Years" if rule.get("Years") else "Days"
    return f"{rule.get('Mode')} for {rule.get(unit)} {unit.lower()}"


def _configuration(client: Any, bucket: str) -> dict[str, Any] | None:
    """Return the bucket's Object Lock configuration, empty without one; `None` if we may not know."""
    try:
        answer = client.get_object_lock_configuration(Bucket=bucket)
    except s3_errors.BOTO_ERRORS as err:
        if isinstance(err, ClientError) and err.response.get("Error", {}).get("Code") in _NOT_CONFIGURED:
            return {}
        error = s3_errors.translate_botocore(err, place=f"s3://{bucket}", doing="reading")
        if error.retryable:
            raise error from err
        return None if isinstance(error, AccessDeniedError) else {}  # not implemented
    found: dict[str, Any] = answer.get("ObjectLockConfiguration", {})
    return found


def kept_by(head: dict[str, Any], *, bypass_governance: bool) -> str | None:
    """Return what keeps the version with this response to HEAD, and what to do, by the server's clock; `None`: nothing."""
    if head.get("ObjectLockLegalHoldStatus") == "ON":
        return "a legal hold: release it first"
    mode, until = head.get("ObjectLockMode"), head.get("ObjectLockRetainUntilDate")
    if mode is None or until is None or until <= _date(head) or (bypass_governance and mode == "GOVERNANCE"):
        return None
    shown = f"{mode} retention until {until.astimezone(UTC).isoformat(timespec='seconds')}: run it again after that"
    bypass = ", or erase it with --bypass-governance (s3:BypassGovernanceRetention)"
    return f"{shown}{bypass if mode == 'GOVERNANCE' else ''}"


def _date(head: dict[str, Any]) -> datetime:
    try:
        return parsedate_to_datetime(head["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, TypeError, ValueError):
        return datetime.now(UTC)

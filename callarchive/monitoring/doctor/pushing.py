"""Can the destination be written to with the very credentials that 8x8 was given?"""

import secrets
from contextlib import closing, suppress
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from callarchive.domain.errors import AccessDeniedError, ConfigurationError, UnavailableError
from callarchive.settings import AccountSettings, PushSettings, SftpSettings

_PREFIX = ".callarchive-doctor-"
_BYTES = b"callarchive doctor"


def pushed_destination(account: AccountSettings) -> str:
    """What was tried: a small object was written with the pushed credentials, and removed.

    Raises:
        AccessDeniedError, HostKeyError, UnavailableError, ConfigurationError: it could not be.
    """
    push = account.push
    if push is None:
        raise ConfigurationError("accounts.push is not set")
    return _by_sftp(account, push) if push.protocol == "SFTP" else _by_s3(account, push)


def _by_sftp(account: AccountSettings, push: PushSettings) -> str:
    from callarchive.storage.landing.sftp.connection import Server, connect

    if account.sftp is None:
        raise ConfigurationError("accounts.sftp.known_hosts is needed: an unknown host is told no password")
    login = SftpSettings(known_hosts=account.sftp.known_hosts, password=push.password, timeout_s=account.sftp.timeout_s)
    server = Server(
        host=push.host,
        port=push.port,
        user=push.username,
        account=account.subaccount_id,
        settings=login,
        stall_timeout_s=login.timeout_s,
    )
    path = str(PurePosixPath(push.path or "/") / f"{_PREFIX}{secrets.token_hex(6)}")
    try:
        connected = connect(server, key=None)
    except AccessDeniedError:  # its words name accounts.sftp, which is not what was tried
        raise AccessDeniedError(f"{_shown(push)} is not let in with accounts.push.password") from None
    with closing(connected) as connection:
        client = connection.client()
        try:
            file = client.open(path, "wx")
        except (OSError, EOFError) as err:
            raise _unwritable(push, err) from None
        try:
            with file:
                file.write(_BYTES)
        except (OSError, EOFError) as err:
            with suppress(OSError, EOFError):
                client.remove(path)
            raise _unwritable(push, err) from None
        try:
            client.remove(path)
        except (OSError, EOFError):
            # 8x8 need not be allowed to delete; the file's name says what it is.
            return f"{_shown(push)} writes to {push.path}; {path} could not be removed again"
    return f"{_shown(push)} writes to {push.path} and removes"


def _unwritable(push: PushSettings, err: Exception) -> AccessDeniedError:
    reason = getattr(err, "strerror", None) or type(err).__name__
    return AccessDeniedError(f"{_shown(push)} logs in, and cannot write to {push.path}: {reason}")


def _shown(push: PushSettings) -> str:
    return f"{push.username}@{push.host}:{push.port}"


def _by_s3(account: AccountSettings, push: PushSettings) -> str:
    """8x8 is told a region, a key pair and a path; the bucket is the landing's."""
    import boto3
    from botocore.config import Config

    from callarchive.storage.s3.errors import BOTO_ERRORS, translate_botocore

    landing = urlsplit(account.landing)
    if landing.scheme != "s3":
        raise ConfigurationError("accounts.push is S3, and the landing that we read is not")
    bucket, prefix = landing.netloc, landing.path.strip("/")
    key = f"{prefix}/{_PREFIX}{secrets.token_hex(6)}".lstrip("/")
    place = f"s3://{bucket}/{prefix}"
    try:
        client = boto3.client(
            "s3",
            region_name=push.host,
            endpoint_url=account.s3.endpoint_url,
            aws_access_key_id=push.username,
            aws_secret_access_key=push.password.reveal(),
            config=Config(connect_timeout=10, read_timeout=20, retries={"total_max_attempts": 2}),
        )
        client.put_object(Bucket=bucket, Key=key, Body=_BYTES)
    except BOTO_ERRORS as err:
        raise translate_botocore(err, place=f"{place} with accounts.push.username", doing="writing") from None
    except ValueError:
        raise ConfigurationError("accounts.push.host is no AWS region") from None
    try:
        client.delete_object(Bucket=bucket, Key=key)
    except BOTO_ERRORS:
        # 8x8 need not be allowed to delete; the object's name says what it is.
        return f"{place} takes objects with them; {key} could not be removed again"
    except OSError as err:
        raise UnavailableError(f"{place}: {err.strerror}") from None
    return f"{place} takes objects with them, and removes"

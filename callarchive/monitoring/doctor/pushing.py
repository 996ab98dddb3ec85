"""A write test of the push destination with the credentials that 8x8 has."""

import secrets
from contextlib import closing, suppress
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from callarchive.domain.errors import AccessDeniedError, ConfigurationError, UnavailableError
from callarchive.settings import AccountSettings, PushSettings, SftpSettings

_PREFIX = ".callarchive-doctor-"
_BYTES = b"callarchive doctor"


def pushed_destination(account: AccountSettings, push: PushSettings) -> str:
    """Write a small object with the pushed credentials, remove it, and return what was done. Raises ArchiveError."""
    return _by_sftp(account, push) if push.protocol == "SFTP" else _by_s3(account, push)


def _by_sftp(account: AccountSettings, push: PushSettings) -> str:
    from callarchive.storage.landing.sftp.connection import connect
    from callarchive.storage.landing.sftp.server import Server

    if account.sftp is None:
        raise ConfigurationError("accounts.sftp.known_hosts is required: no password is sent to an unknown host")
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
    except AccessDeniedError as err:
        reason = (
            str(err)
            .replace("accounts.landing and accounts.sftp.", "accounts.push.")
            .replace("accounts.sftp.", "accounts.push.")
        )
        raise AccessDeniedError(f"{_shown(push)} cannot log in with accounts.push.password: {reason}") from None
    with closing(connected) as connection:
        client = connection.client()
        file = None
        try:
            with client.open(path, "wx") as file:
                file.write(_BYTES)
        except (OSError, EOFError) as err:
            if file is not None:
                with suppress(OSError, EOFError):
                    client.remove(path)
            reason = getattr(err, "strerror", None) or type(err).__name__
            raise AccessDeniedError(f"{_shown(push)} can log in, but not write to {push.path}: {reason}") from None
        try:
            client.remove(path)
        except (OSError, EOFError):
            # 8x8 need not have permission to delete; the file's name explains it.
            return f"{_shown(push)} can write to {push.path}; {path} could not be removed"
    return f"{_shown(push)} can write to {push.path} and remove"


def _shown(push: PushSettings) -> str:
    return f"{push.username}@{push.host}:{push.port}"


def _by_s3(account: AccountSettings, push: PushSettings) -> str:
    """Try S3. 8x8 has a region, a key pair and a path; the bucket is the landing's."""
    import boto3
    from botocore.config import Config

    from callarchive.storage.s3.errors import BOTO_ERRORS, translate_botocore

    landing = urlsplit(account.landing)
    if landing.scheme != "s3":
        raise ConfigurationError("accounts.push is S3, but the landing is not")
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
        raise ConfigurationError("accounts.push.host is not an AWS region") from None
    try:
        client.delete_object(Bucket=bucket, Key=key)
    except BOTO_ERRORS:
        # 8x8 need not have permission to delete; the object's name explains it.
        return f"{place} accepts objects with them; {key} could not be removed"
    except OSError as err:
        raise UnavailableError(f"{place}: {err.strerror}") from None
    return f"{place} accepts and removes objects with them"

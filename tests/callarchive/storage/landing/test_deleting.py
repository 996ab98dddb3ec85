"""An object is deleted in the landing, and seen to be gone, or the error says what keeps it."""

from collections.abc import Callable
from typing import Any

import asyncssh
import pytest

from callarchive.domain.errors import (
    AccessDeniedError,
    ArchiveError,
    RetainedError,
    StoreError,
    UnavailableError,
)
from callarchive.settings import AccountSettings, TransferSettings
from callarchive.storage.landing.places import PlaceRefusedError
from callarchive.storage.landing.s3.landing import S3Landing
from callarchive.storage.landing.sftp.landing import SftpLanding

PATH = "2026-11-01/s/2026-11-01T10:00:00.000Z.mp3"
BAD_PATHS = ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a\\b", "a\nb"]
OpenLanding = Callable[..., SftpLanding]


# SFTP


@pytest.fixture
def filled(server: Any) -> Any:
    for name in (PATH, PATH + ".old"):
        (server.files / name).parent.mkdir(parents=True, exist_ok=True)
        (server.files / name).write_bytes(b"audio")
    return server


def names_on(server: Any) -> list[str]:
    return sorted(path.name for path in server.files.rglob("*") if path.is_file())


def test_a_file_is_removed_and_no_other(filled: Any, open_landing: OpenLanding) -> None:
    landing = open_landing(filled)
    for _ in range(2):
        landing.delete(PATH)
        assert names_on(filled) == ["2026-11-01T10:00:00.000Z.mp3.old"]
    landing.delete("no/such/folder.mp3")
    landing.delete("2026-11-01/s")
    assert names_on(filled) == ["2026-11-01T10:00:00.000Z.mp3.old"]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_an_unsafe_path_is_refused_by_both_kinds(asyncssh_server: Any, open_landing: OpenLanding, path: str) -> None:
    server = asyncssh_server()
    for landing in (open_landing(server), s3_landing("http://127.0.0.1:9", "bucket", "prefix")):
        with pytest.raises(PlaceRefusedError):
            landing.delete(path)


def test_links_are_not_followed_and_not_removed(filled: Any, open_landing: OpenLanding, tmp_path: Any) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.mp3").write_bytes(b"not ours")
    (filled.files / "link.mp3").symlink_to(filled.files / PATH)
    (filled.files / "away").symlink_to(outside)
    landing = open_landing(filled)
    with pytest.raises(AccessDeniedError, match=r"link\.mp3 is a symbolic link"):
        landing.delete("link.mp3")
    with pytest.raises(ArchiveError, match=r"away/kept\.mp3"):
        landing.delete("away/kept.mp3")
    assert (outside / "kept.mp3").read_bytes() == b"not ours"
    assert (filled.files / "link.mp3").is_symlink()
    assert (filled.files / PATH).read_bytes() == b"audio"


@pytest.mark.needs("sshd")
def test_a_read_only_server_denies_it(openssh: Callable[..., Any], open_landing: OpenLanding) -> None:
    server = openssh(subsystem="internal-sftp -R")
    (server.files / "a.mp3").write_bytes(b"audio")
    with pytest.raises(AccessDeniedError, match=r"/a\.mp3: the server denies permission; .* let this user delete it"):
        open_landing(server).delete("a.mp3")
    assert names_on(server) == ["a.mp3"]


class Reluctant(asyncssh.SFTPServer):
    """Removes nothing, in the way that the file's name says."""

    def remove(self, path: bytes) -> None:
        if path.endswith(b"denied.mp3"):
            raise asyncssh.SFTPPermissionDenied("not yours")
        if path.endswith(b"failing.mp3"):
            raise asyncssh.SFTPFailure("disk trouble")


def test_a_file_that_is_still_there_is_an_error(asyncssh_server: Any, open_landing: OpenLanding) -> None:
    server = asyncssh_server(behaviour=Reluctant)
    landing = open_landing(server)
    expected: dict[str, tuple[type[ArchiveError], str]] = {
        "denied.mp3": (AccessDeniedError, "denies permission"),
        "failing.mp3": (UnavailableError, "disk trouble"),
        "kept.mp3": (StoreError, "answered that it removed the file, but it still shows it"),
    }
    for name, (error, message) in expected.items():
        (server.files / name).write_bytes(b"audio")
        with pytest.raises(error, match=rf"/{name}: the server .*{message}"):
            landing.delete(name)


# S3


@pytest.fixture(autouse=True)
def keys(aws_environment: None) -> None:
    """Apply to all tests here."""


def s3_landing(endpoint: str, bucket: str, prefix: str) -> S3Landing:
    account = AccountSettings.model_validate(
        {
            "subaccount_id": "acme",
            "api_key": {"env": "UNUSED"},
            "landing": f"s3://{bucket}/{prefix}",
            "s3": {"endpoint_url": endpoint, "region": "us-east-1"},
            "session_sources": [{"kind": "log_export"}],
        }
    )
    return S3Landing(account, TransferSettings(), concurrency=2)


@pytest.mark.parametrize("versioning", ["never", "Enabled"])
@pytest.mark.parametrize("denied", [False, True], ids=["", "versions cannot be listed"])
def test_an_object_is_deleted_and_no_other(
    boto: Any, s3_endpoint: str, meddling_server: Callable[..., str], versioning: str, denied: bool
) -> None:
    def deny(exchange: Any) -> None:
        if denied and "versions" in exchange.path:
            exchange.status, exchange.body = 403, b"<Error><Code>AccessDenied</Code></Error>"

    bucket = f"landing-{versioning.lower()}-{denied}".lower()
    boto.create_bucket(Bucket=bucket)
    if versioning != "never":
        boto.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": versioning})
    for name in (PATH, PATH, PATH + ".old"):
        boto.put_object(Bucket=bucket, Key=f"my path/{name}", Body=b"audio")
    landing = s3_landing(meddling_server(s3_endpoint, asked=deny), bucket, "my%20path")
    if denied and versioning != "never":
        with pytest.raises(AccessDeniedError, match="s3:ListBucketVersions"):
            landing.delete(PATH)
        assert len(boto.list_object_versions(Bucket=bucket)["Versions"]) == 3
        return
    for _ in range(2):
        landing.delete(PATH)
        left = boto.list_object_versions(Bucket=bucket)
        assert [entry["Key"] for entry in left["Versions"]] == [f"my path/{PATH}.old"]
        assert "DeleteMarkers" not in left
    landing.close()


def test_a_locked_object_is_kept_and_named(boto: Any, s3_endpoint: str) -> None:
    boto.create_bucket(Bucket="locked-landing", ObjectLockEnabledForBucket=True)
    boto.put_object(Bucket="locked-landing", Key=f"p/{PATH}", Body=b"audio", ObjectLockLegalHoldStatus="ON")
    with pytest.raises(RetainedError, match=f"s3://locked-landing/p/{PATH}: Object Lock keeps version"):
        s3_landing(s3_endpoint, "locked-landing", "p").delete(PATH)

"""Nothing of an erased object remains in a bucket with versioning, on two servers, or the error says what does."""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from callarchive.domain.errors import AccessDeniedError, ArchiveError, RetainedError, StoreError, UnavailableError
from callarchive.settings import S3Settings
from callarchive.storage.stores.s3 import S3Store

A_DAY = timedelta(days=1)


class Bucket:
    """A bucket with versioning on one of the servers."""

    def __init__(self, client: Any, *, object_lock: bool) -> None:
        self.client = client
        self.endpoint: str = client.meta.endpoint_url
        self.name = f"bucket-{secrets.token_hex(4)}"
        client.create_bucket(Bucket=self.name, ObjectLockEnabledForBucket=object_lock)
        if not object_lock:
            self.set_versioning("Enabled")
        self.store = self.store_at(self.endpoint)

    def store_at(self, endpoint: str) -> S3Store:
        return S3Store(f"s3://{self.name}/some/prefix", S3Settings(endpoint_url=endpoint, region="us-east-1"))

    def set_versioning(self, status: str) -> None:
        self.client.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": status})

    def put(self, path: str, body: bytes = b"audio", **options: Any) -> str:
        answer = self.client.put_object(Bucket=self.name, Key=f"some/prefix/{path}", Body=body, **options)
        return str(answer.get("VersionId", "null"))

    def delete(self, path: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=f"some/prefix/{path}")

    def left(self) -> list[tuple[str, str]]:
        """Return path and kind of every version and delete marker in the bucket."""
        found = []
        for page in self.client.get_paginator("list_object_versions").paginate(Bucket=self.name):
            for kind in ("Versions", "DeleteMarkers"):
                found += [(entry["Key"].removeprefix("some/prefix/"), kind) for entry in page.get(kind, ())]
        return sorted(found)


@pytest.fixture(params=["moto", "SeaweedFS"])
def new_bucket(request: pytest.FixtureRequest) -> Callable[..., Bucket]:
    client = (
        request.getfixturevalue("boto") if request.param == "moto" else request.getfixturevalue("seaweedfs_bucket")[0]
    )
    return lambda *, object_lock=False: Bucket(client, object_lock=object_lock)


def test_every_version_and_marker_of_that_object_is_erased(new_bucket: Callable[..., Bucket]) -> None:
    bucket = new_bucket()
    for path in ("s/a.mp3", "s/a.mp3.old"):
        for number in range(3):
            bucket.put(path, b"%d" % number)
    bucket.delete("s/a.mp3")
    bucket.put("s/a.mp3", b"again")
    bucket.delete("s/a.mp3")
    bucket.store.erase("s/a.mp3")
    assert bucket.left() == [("s/a.mp3.old", "Versions")] * 3
    bucket.store.erase("s/a.mp3")
    assert bucket.store.read("s/a.mp3.old") == b"2"


def test_old_versions_are_erased_and_the_object_is_kept(new_bucket: Callable[..., Bucket]) -> None:
    bucket = new_bucket()
    bucket.set_versioning("Suspended")
    bucket.put("rows", b"written before versioning")
    bucket.set_versioning("Enabled")
    for number in range(3):
        bucket.put("rows", b"%d" % number)
        bucket.put("rows2", b"%d" % number)
    bucket.store.erase_old_versions("rows")
    assert bucket.left() == [("rows", "Versions"), *[("rows2", "Versions")] * 3]
    assert bucket.store.read("rows") == b"2"
    bucket.delete("rows")
    bucket.store.erase_old_versions("rows")
    assert bucket.left() == [("rows2", "Versions")] * 3


def test_an_object_written_before_versioning_is_erased(new_bucket: Callable[..., Bucket]) -> None:
    bucket = new_bucket()
    plain = f"{bucket.name}-plain"
    bucket.client.create_bucket(Bucket=plain)
    bucket.name = plain
    bucket.store = bucket.store_at(bucket.endpoint)
    bucket.put("a", b"first")
    bucket.store.erase_old_versions("a")
    assert bucket.store.read("a") == b"first"
    bucket.set_versioning("Enabled")
    bucket.put("a", b"second")
    bucket.store.erase("a")
    assert bucket.left() == []


def test_a_folder_is_erased_with_what_has_no_current_object(new_bucket: Callable[..., Bucket]) -> None:
    bucket = new_bucket()
    for path in ("day/s/a", "day/s/b/c", "day/s/", "day/s2/a"):
        bucket.put(path, b"first")
        bucket.put(path, b"second")
    bucket.delete("day/s/a")
    bucket.delete("day/s/b/c")
    bucket.store.erase_folder("day/s")
    assert bucket.left() == [("day/s2/a", "Versions")] * 2


def test_more_versions_than_a_page_holds_are_erased(new_bucket: Callable[..., Bucket]) -> None:
    bucket = new_bucket()
    for number in range(7):
        bucket.put("a", b"%d" % number)
        bucket.put("az", b"%d" % number)
    client = bucket.store._client()
    client.meta.events.register(
        "provide-client-params.s3.ListObjectVersions", lambda params, **_: {**params, "MaxKeys": 2}
    )
    bucket.store.erase("a")
    assert bucket.left() == [("az", "Versions")] * 7
    bucket.store.erase("az")
    assert bucket.left() == []


def test_a_folder_is_erased_whose_versions_the_pages_of_a_listing_lack(new_bucket: Callable[..., Bucket]) -> None:
    """SeaweedFS omits versions of `call` where `call-2` fills a page: see findings/seaweedfs-version-pages.sh."""
    bucket = new_bucket()
    for number in range(4):
        for path in ("day/s/call", "day/s/call-2", "day/s/call-3"):
            bucket.put(path, b"%d" % number)
    bucket.store._client().meta.events.register(
        "provide-client-params.s3.ListObjectVersions", lambda params, **_: {**params, "MaxKeys": 3}
    )
    bucket.store.erase_folder("day")
    assert bucket.left() == []


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_an_object_under_retention_is_refused_and_nothing_is_deleted(
    new_bucket: Callable[..., Bucket], mode: str
) -> None:
    bucket = new_bucket(object_lock=True)
    until = datetime.now(UTC).replace(microsecond=0) + A_DAY
    old = bucket.put("a", b"first", ObjectLockMode=mode, ObjectLockRetainUntilDate=until)
    bucket.put("a", b"second")
    bucket.put("b/c")
    for erase in (
        lambda: bucket.store.erase("a"),
        lambda: bucket.store.erase_old_versions("a"),
        lambda: bucket.store.erase("a", bypass_governance=mode == "COMPLIANCE"),
    ):
        with pytest.raises(RetainedError) as caught:
            erase()
        shown = str(caught.value)
        assert shown.startswith(
            f"s3://{bucket.name}/some/prefix/a: Object Lock keeps version {old} by {mode} retention"
        )
        assert f"until {until.isoformat()}" in shown
        assert caught.value.exit_code == 3
        assert not caught.value.retryable
    assert bucket.left() == [("a", "Versions"), ("a", "Versions"), ("b/c", "Versions")]
    bucket.store.erase("b/c")
    assert bucket.left() == [("a", "Versions"), ("a", "Versions")]


def test_governance_is_bypassed_on_request(boto: Any) -> None:
    bucket = Bucket(boto, object_lock=True)  # SeaweedFS allows it to administrators only, who sign their requests
    until = datetime.now(UTC) + A_DAY
    for number in range(2):
        bucket.put("day/a", b"%d" % number, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
    bucket.store.erase_old_versions("day/a", bypass_governance=True)
    assert bucket.left() == [("day/a", "Versions")]
    with pytest.raises(RetainedError):
        bucket.store.erase_folder("day")
    bucket.store.erase_folder("day", bypass_governance=True)
    assert bucket.left() == []


def test_a_refused_bypass_is_an_error(seaweedfs_bucket: tuple[Any, str]) -> None:
    bucket = Bucket(seaweedfs_bucket[0], object_lock=True)
    bucket.put("a", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=datetime.now(UTC) + A_DAY)
    with pytest.raises(AccessDeniedError, match=r"some/prefix/a: access denied while deleting"):
        bucket.store.erase("a", bypass_governance=True)
    assert bucket.left() == [("a", "Versions")]


@pytest.mark.parametrize("new_bucket", ["SeaweedFS"], indirect=True)
def test_retention_that_is_over_keeps_nothing(new_bucket: Callable[..., Bucket]) -> None:
    bucket = new_bucket(object_lock=True)
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    bucket.put("a", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until)
    time.sleep(max(0, (until - datetime.now(UTC)).total_seconds()) + 0.05)
    bucket.store.erase("a")
    assert bucket.left() == []


def test_a_legal_hold_is_refused_even_with_a_bypass(new_bucket: Callable[..., Bucket]) -> None:
    bucket = new_bucket(object_lock=True)
    held = bucket.put("a", b"first", ObjectLockLegalHoldStatus="ON")
    bucket.put("a", b"second")
    with pytest.raises(RetainedError, match=rf"keeps version {held} by a legal hold: release it first"):
        bucket.store.erase("a", bypass_governance=True)
    assert len(bucket.left()) == 2


DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
NOT_IMPLEMENTED = b"<Error><Code>NotImplemented</Code><Message>not here</Message></Error>"
OBJECTS = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"


def refusing(*parts: str, status: int, body: bytes) -> Callable[[Any], None]:
    """Return a meddler that answers requests for these subresources itself."""

    def asked(exchange: Any) -> None:
        query = exchange.path.partition("?")[2].split("&")
        if any(name in query or f"{name}=" in query for name in parts):
            exchange.status, exchange.body = status, body

    return asked


@pytest.mark.parametrize(
    ("status", "body", "error", "advice"),
    [
        (403, DENIED, AccessDeniedError, "the credentials need s3:ListBucketVersions, s3:DeleteObjectVersion"),
        (501, NOT_IMPLEMENTED, StoreError, "delete it with the store's own tools"),
        (405, b"", StoreError, "delete it with the store's own tools"),
        (200, OBJECTS, StoreError, "delete it with the store's own tools"),
        (503, b"<Error><Code>SlowDown</Code></Error>", UnavailableError, "SlowDown"),
    ],
    ids=["denied", "not implemented", "not allowed", "a list of objects", "an outage"],
)
@pytest.mark.parametrize("also", [(), ("versioning",)], ids=["enabled", "unknown"])
def test_versions_that_cannot_be_listed_are_an_error_and_nothing_is_deleted(
    boto: Any,
    meddling_server: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    body: bytes,
    error: type[ArchiveError],
    advice: str,
    also: tuple[str, ...],
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    bucket = Bucket(boto, object_lock=False)
    bucket.put("a")
    store = bucket.store_at(
        meddling_server(bucket.endpoint, asked=refusing("versions", *also, status=status, body=body))
    )
    for erase in (lambda: store.erase("a"), lambda: store.erase_old_versions("a"), lambda: store.erase_folder("a")):
        with pytest.raises(error, match=advice) as caught:
            erase()
        if status != 503:
            assert f"versioning is {'unknown' if also else 'enabled'}" in str(caught.value)
            assert "nothing was deleted" in str(caught.value)
    assert bucket.left() == [("a", "Versions")]


def test_without_versioning_a_plain_deletion_is_enough(
    s3_store: S3Store, s3_endpoint: str, meddling_server: Callable[..., str]
) -> None:
    for path in ("s/a", "s/ab", "t/a"):
        s3_store.replace(path, b"audio")
    endpoint = meddling_server(s3_endpoint, asked=refusing("versions", status=403, body=DENIED))
    store = S3Store(s3_store.url, S3Settings(endpoint_url=endpoint, region="us-east-1"))
    store.erase_old_versions("s/a")
    store.erase("s/a")
    store.erase("s/none")
    assert [item.path for item in s3_store.list("")] == ["s/ab", "t/a"]
    store.erase_folder("s")
    assert [item.path for item in s3_store.list("")] == ["t/a"]


def test_a_deletion_that_is_only_answered_is_an_error(
    new_bucket: Callable[..., Bucket], meddling_server: Callable[..., str]
) -> None:
    def swallow(exchange: Any) -> None:
        if exchange.method == "DELETE":
            exchange.status = 204

    bucket = new_bucket()
    bucket.put("s/a")
    store = bucket.store_at(meddling_server(bucket.endpoint, asked=swallow))
    for erase in (lambda: store.erase("s/a"), lambda: store.erase_folder("s")):
        with pytest.raises(StoreError, match=r"some/prefix/s/a: S3 still lists 1 version"):
            erase()


def test_an_object_that_no_listing_of_versions_shows_is_an_error(
    new_bucket: Callable[..., Bucket], meddling_server: Callable[..., str]
) -> None:
    nothing = b"<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>"
    bucket = new_bucket()
    bucket.put("s/a")
    store = bucket.store_at(meddling_server(bucket.endpoint, asked=refusing("versions", status=200, body=nothing)))
    with pytest.raises(StoreError, match=r"some/prefix/s/a: S3 still returns the object"):
        store.erase("s/a")
    with pytest.raises(StoreError, match=r"some/prefix/s/: S3 still lists objects"):
        store.erase_folder("s")


def test_a_version_that_is_written_meanwhile_is_erased_too(boto: Any, meddling_server: Callable[..., str]) -> None:
    bucket = Bucket(boto, object_lock=False)
    bucket.put("a", b"first")
    written = []

    def write_after_the_first_listing(exchange: Any) -> None:
        if "versions" in exchange.path and not written:
            written.append(bucket.put("a", b"second"))

    endpoint = meddling_server(bucket.endpoint, answered=write_after_the_first_listing)
    bucket.store_at(endpoint).erase("a")
    assert bucket.left() == []
    bucket.put("a", b"third")
    written.clear()
    bucket.store_at(endpoint).erase_old_versions("a")
    assert bucket.left() == [("a", "Versions")]
    assert bucket.store.read("a") == b"second"


def test_an_object_that_is_always_replaced_is_not_taken_for_settled(
    boto: Any, meddling_server: Callable[..., str]
) -> None:
    def write_after_each_listing(exchange: Any) -> None:
        if "versions" in exchange.path:
            bucket.put("a")

    bucket = Bucket(boto, object_lock=False)
    bucket.put("a")
    endpoint = meddling_server(bucket.endpoint, answered=write_after_each_listing)
    with pytest.raises(UnavailableError, match="some/prefix/a: other writers keep replacing it"):
        bucket.store_at(endpoint).erase_old_versions("a")
    assert bucket.store.read("a") == b"audio"

"""Recordings are stored with the options of `archive.objects`, other objects are not, and a store that lacks one is found."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from callarchive.domain.errors import (
    AccessDeniedError,
    ConfigurationError,
    ObjectNotFoundError,
    RejectedRequestError,
    RetainedError,
    StoreError,
)
from callarchive.settings import ObjectSettings, S3Settings
from callarchive.storage.stores.s3 import S3Store
from callarchive.storage.stores.s3_promises import Promises

LOCK: dict[str, Any] = {"lock_mode": "GOVERNANCE", "lock_days": 30}
DENIED = b"<Error><Code>AccessDenied</Code></Error>"


class Bucket:
    def __init__(self, client: Any, *, object_lock: bool) -> None:
        self.client = client
        self.endpoint: str = client.meta.endpoint_url
        self.name = f"bucket-{secrets.token_hex(4)}"
        client.create_bucket(Bucket=self.name, ObjectLockEnabledForBucket=object_lock)

    def store(self, *, at: str | None = None, **objects: Any) -> S3Store:
        s3 = S3Settings(endpoint_url=at or self.endpoint, region="us-east-1")
        store = S3Store(f"s3://{self.name}/p", s3, objects=ObjectSettings(**objects))
        store._promises = Promises()  # conditional writes have their own tests
        return store

    def head(self, path: str, **version: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.head_object(Bucket=self.name, Key=f"p/{path}", **version)
        return found


@pytest.fixture(params=["moto", "SeaweedFS"])
def new_bucket(request: pytest.FixtureRequest) -> Callable[..., Bucket]:
    name = "boto" if request.param == "moto" else "seaweedfs_bucket"
    found = request.getfixturevalue(name)
    client = found if request.param == "moto" else found[0]
    return lambda *, object_lock=False: Bucket(client, object_lock=object_lock)


def commit(store: S3Store, path: str, body: bytes = b"audio") -> None:
    with store.stage(path.rpartition("/")[0]) as staging:
        staging.write(body)
        staging.commit(path)


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_recordings_are_retained_and_the_ledger_is_not(new_bucket: Callable[..., Bucket], mode: str) -> None:
    bucket = new_bucket(object_lock=True)
    store = bucket.store(lock_mode=mode, lock_days=30)
    before = datetime.now(UTC).replace(microsecond=0)
    commit(store, "day/s/a.mp3")
    store.create("_ledger/1", b"line")
    store.replace("state", b"x")
    head = bucket.head("day/s/a.mp3")
    assert head["ObjectLockMode"] == mode
    assert timedelta(0) <= head["ObjectLockRetainUntilDate"] - before - timedelta(days=30) < timedelta(minutes=1)
    for path in ("_ledger/1", "state"):
        assert "ObjectLockMode" not in bucket.head(path)
        store.erase(path)
    with pytest.raises(RetainedError, match=f"day/s/a.mp3: Object Lock keeps version .* by {mode} retention"):
        store.erase("day/s/a.mp3")
    assert [item.path for item in store.list("")] == ["day/s/a.mp3"]


@pytest.mark.parametrize("storage_class", ["STANDARD", "STANDARD_IA", "GLACIER_IR"])
def test_recordings_have_the_storage_class(new_bucket: Callable[..., Bucket], storage_class: str) -> None:
    bucket = new_bucket()
    store = bucket.store(storage_class=storage_class)
    assert store.prove_object_options() == f"storage class {storage_class}"
    commit(store, "day/s/a.mp3")
    store.create("_ledger/1", b"line")
    assert bucket.head("day/s/a.mp3").get("StorageClass", "STANDARD") == storage_class
    assert bucket.head("_ledger/1").get("StorageClass", "STANDARD") == "STANDARD"
    assert store.read("day/s/a.mp3") == b"audio"
    assert bucket.client.list_objects_v2(Bucket=bucket.name, Prefix="p/_locks/").get("KeyCount") == 0


@pytest.mark.parametrize(
    ("key", "sent"),
    [("alias/recordings", "alias/recordings"), ("aws/s3", None), ("alias/aws/s3", None)],
    ids=["own", "managed by AWS", "its alias"],
)
def test_recordings_are_encrypted_with_the_key(boto: Any, key: str, sent: str | None) -> None:
    bucket = Bucket(boto, object_lock=False)
    store = bucket.store(kms_key_id=key)
    commit(store, "day/s/a.mp3")
    store.create("_ledger/1", b"line")
    head = bucket.head("day/s/a.mp3")
    assert (head["ServerSideEncryption"], head.get("SSEKMSKeyId")) == ("aws:kms", sent)
    assert "ServerSideEncryption" not in bucket.head("_ledger/1")


@pytest.mark.parametrize("damaged", [False, True])
def test_bytes_whose_etag_is_no_md5_are_read_back(
    boto: Any, meddling_server: Callable[..., str], damaged: bool
) -> None:
    """moto stores a body that does not match its checksum, and its ETag is an MD5 also under a KMS key."""

    def damage(exchange: Any) -> None:
        if damaged and exchange.method == "PUT" and b"audio" in exchange.request_body:
            exchange.request_body = exchange.request_body.replace(b"audio", b"adieu")

    def encrypt(exchange: Any) -> None:
        for name in exchange.headers:
            if name.lower() == "etag" and "/day/" in exchange.path:
                exchange.headers[name] = '"0123456789abcdef0123456789abcdef"'

    bucket = Bucket(boto, object_lock=False)
    store = bucket.store(at=meddling_server(bucket.endpoint, asked=damage, answered=encrypt), kms_key_id="aws/s3")
    if not damaged:
        commit(store, "day/s/a.mp3")
        assert store.read("day/s/a.mp3") == b"audio"
        return
    with pytest.raises(StoreError, match=r"day/s/a\.mp3: S3 stored other bytes than were sent"):
        commit(store, "day/s/a.mp3")
    assert store.list("") == []


@pytest.mark.parametrize("prove", [S3Store.prove_object_options, lambda store: commit(store, "day/s/a.mp3")])
def test_a_bucket_without_object_lock_is_found_before_anything_is_written(
    new_bucket: Callable[..., Bucket], prove: Callable[[S3Store], object]
) -> None:
    bucket = new_bucket()
    with pytest.raises(
        ConfigurationError, match=rf"s3://{bucket.name}: archive\.objects\.lock_mode is set, .* no Object"
    ):
        prove(bucket.store(**LOCK))
    assert "Contents" not in bucket.client.list_objects_v2(Bucket=bucket.name)


def test_without_permission_to_ask_for_object_lock_the_write_decides(
    boto: Any, meddling_server: Callable[..., str]
) -> None:
    def deny(exchange: Any) -> None:
        if "object-lock" in exchange.path:
            exchange.status, exchange.body = 403, DENIED

    locked, plain = Bucket(boto, object_lock=True), Bucket(boto, object_lock=False)
    endpoint = meddling_server(plain.endpoint, asked=deny)
    commit(locked.store(at=endpoint, **LOCK), "day/s/a.mp3")
    assert locked.head("day/s/a.mp3")["ObjectLockMode"] == "GOVERNANCE"
    with pytest.raises(RejectedRequestError, match=r"turn on the bucket's Object Lock, or remove archive\.objects"):
        commit(plain.store(at=endpoint, **LOCK), "day/s/a.mp3")


@pytest.mark.parametrize(
    ("header", "name", "value"),
    [
        ("x-amz-storage-class", "storage_class", {"storage_class": "STANDARD_IA"}),
        ("x-amz-server-side-encryption", "kms_key_id", {"kms_key_id": "aws/s3"}),
        ("x-amz-object-lock-mode", "lock_mode", LOCK),
    ],
)
def test_an_option_that_the_store_ignores_is_named(
    boto: Any, meddling_server: Callable[..., str], header: str, name: str, value: dict[str, Any]
) -> None:
    bucket = Bucket(boto, object_lock=True)
    endpoint = meddling_server(
        bucket.endpoint, asked=lambda exchange: exchange.drop(header, "x-amz-object-lock-retain-until-date")
    )
    with pytest.raises(ConfigurationError, match=rf"the store ignores archive\.objects\.{name}:"):
        commit(bucket.store(at=endpoint, **value), "day/s/a.mp3")
    assert bucket.store().list("") == []


def test_the_options_are_tried_once(boto: Any, meddling_server: Callable[..., str]) -> None:
    writes = []
    bucket = Bucket(boto, object_lock=False)

    def count(exchange: Any) -> None:
        if exchange.method == "PUT" and exchange.request_headers.get("x-amz-storage-class"):
            writes.append(exchange.path)

    store = bucket.store(at=meddling_server(bucket.endpoint, asked=count), storage_class="STANDARD_IA")
    for number in range(3):
        commit(store, f"day/s/{number}.mp3")
    assert len(writes) == 4


# Legal holds


def test_a_legal_hold_is_on_every_version_and_no_other_object(new_bucket: Callable[..., Bucket]) -> None:
    bucket = new_bucket(object_lock=True)
    store = bucket.store()
    assert store.supports_legal_hold()
    for path in ("s/a.mp3", "s/a.mp3.old"):
        store.replace(path, b"first")
        store.replace(path, b"second")
    store.delete("s/a.mp3")
    for _ in range(2):
        store.set_legal_hold("s/a.mp3", on=True)
    entries = bucket.client.list_object_versions(Bucket=bucket.name, Prefix="p/s/a.mp3")["Versions"]
    held = {
        (
            entry["Key"],
            bucket.head(entry["Key"].removeprefix("p/"), VersionId=entry["VersionId"]).get("ObjectLockLegalHoldStatus")
            == "ON",
        )
        for entry in entries
    }
    assert held == {("p/s/a.mp3", True), ("p/s/a.mp3.old", False)}
    with pytest.raises(RetainedError, match="legal hold"):
        store.erase("s/a.mp3", bypass_governance=True)
    store.set_legal_hold("s/a.mp3", on=False)
    store.erase("s/a.mp3")
    store.set_legal_hold("s/a.mp3", on=False)
    with pytest.raises(ObjectNotFoundError, match=r"s/a\.mp3: there is no such object to hold"):
        store.set_legal_hold("s/a.mp3", on=True)


def test_a_bucket_without_object_lock_has_no_legal_hold(new_bucket: Callable[..., Bucket]) -> None:
    store = new_bucket().store()
    assert not store.supports_legal_hold()
    store.create("a", b"audio")
    with pytest.raises(RejectedRequestError, match=r"/p/a: S3 answered InvalidRequest while holding"):
        store.set_legal_hold("a", on=True)


def test_a_hold_that_is_not_known_to_be_set_is_an_error(boto: Any, meddling_server: Callable[..., str]) -> None:
    def meddle(exchange: Any) -> None:
        if "legal-hold" in exchange.path and exchange.method == "PUT":
            exchange.status = 200
        if "object-lock" in exchange.path:
            exchange.status, exchange.body = 403, DENIED

    bucket = Bucket(boto, object_lock=True)
    store = bucket.store(at=meddling_server(bucket.endpoint, asked=meddle))
    bucket.store().create("a", b"audio")
    with pytest.raises(StoreError, match=r"/p/a: S3 took the change .* may lack s3:GetObjectLegalHold"):
        store.set_legal_hold("a", on=True)
    with pytest.raises(AccessDeniedError, match="need s3:GetBucketObjectLockConfiguration"):
        store.supports_legal_hold()


def test_a_denied_hold_names_the_permission(boto: Any, meddling_server: Callable[..., str]) -> None:
    def deny(exchange: Any) -> None:
        if "legal-hold" in exchange.path:
            exchange.status, exchange.body = 403, DENIED

    bucket = Bucket(boto, object_lock=True)
    bucket.store().create("a", b"audio")
    with pytest.raises(AccessDeniedError, match=r"/p/a: access denied while holding .* need s3:PutObjectLegalHold"):
        bucket.store(at=meddling_server(bucket.endpoint, asked=deny)).set_legal_hold("a", on=True)

"""Locks and write-once names on a real server that supports conditional writes."""

import hashlib
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.errors import AlreadyExistsError, ConfigurationError, UnavailableError
from callarchive.settings import S3Settings
from callarchive.storage.stores.s3 import S3Store
from callarchive.storage.stores.s3_promises import Promises, compares_checksums, try_promises


@pytest.fixture
def store(seaweedfs_endpoint: str, seaweedfs_bucket: tuple[Any, str]) -> S3Store:
    return at(seaweedfs_endpoint, seaweedfs_bucket[1])


def at(endpoint: str, bucket: str, *, lease_s: float = 30.0) -> S3Store:
    return S3Store(f"s3://{bucket}/some/prefix", S3Settings(endpoint_url=endpoint, region="us-east-1"), lease_s=lease_s)


def keys_in(seaweedfs_bucket: tuple[Any, str]) -> list[str]:
    client, bucket = seaweedfs_bucket
    return [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket).get("Contents", ())]


def test_it_supports_conditional_writes_and_checksums(seaweedfs_bucket: tuple[Any, str]) -> None:
    assert try_promises(*seaweedfs_bucket, "p/") == Promises(deletes_if_match=True)
    assert compares_checksums(*seaweedfs_bucket, "p/")
    assert keys_in(seaweedfs_bucket) == []


def test_one_of_many_writers_of_a_name_wins(store: S3Store) -> None:
    def write(number: int) -> int | None:
        try:
            with store.stage("day") as staging:
                staging.write(b"%d" % number)
                staging.commit("day/a.mp3")
        except AlreadyExistsError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        won = [number for number in pool.map(write, range(16)) if number is not None]
    assert len(won) == 1
    assert store.read("day/a.mp3") == b"%d" % won[0]


def test_a_lock_has_one_holder_at_a_time(store: S3Store, seaweedfs_bucket: tuple[Any, str]) -> None:
    inside, most, counted = 0, 0, threading.Lock()

    def hold(_: int) -> None:
        nonlocal inside, most
        with store.lock("day", wait_s=60):
            with counted:
                inside += 1
                most = max(most, inside)
            store.replace("count", b"%d" % (int(store.read("count")) + 1))
            with counted:
                inside -= 1

    store.replace("count", b"0")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hold, range(8)))
    assert (most, store.read("count")) == (1, b"8")
    assert keys_in(seaweedfs_bucket) == ["some/prefix/count"]


def test_one_of_many_acquires_a_dead_holders_lock(
    store: S3Store, seaweedfs_endpoint: str, seaweedfs_bucket: tuple[Any, str]
) -> None:
    client, bucket = seaweedfs_bucket
    left = {"token": "dead", "holder": "process 1 on elsewhere", "lease_s": 0.5}
    client.put_object(Bucket=bucket, Key="some/prefix/_locks/day", Body=json.dumps(left).encode())
    holding = threading.Event()

    def take(_: int) -> bool:
        try:
            with store.lock("day", wait_s=4):
                return holding.wait(6) or True
        except UnavailableError:
            return False

    with ThreadPoolExecutor(3) as pool:
        taken = [pool.submit(take, number) for number in range(3)]
        while sum(task.done() for task in taken) < 2:
            time.sleep(0.05)
        holding.set()
        assert sorted(task.result() for task in taken) == [False, False, True]


def test_a_reader_sees_the_old_or_the_new_partition(store: S3Store) -> None:
    catalog, day = Catalog(store), date(2026, 1, 5)

    def rows(status: str, count: int) -> list[dict[str, Any]]:
        blank = dict.fromkeys(schemas.SESSIONS.schema.names)
        return [{**blank, "subaccount_id": "a", "session_id": f"{n}", "session_status": status} for n in range(count)]

    seen, written = set(), threading.Event()

    def read() -> None:
        while not written.is_set():
            found = catalog.rows(schemas.SESSIONS, day)
            seen.add((len(found), frozenset(row["session_status"] for row in found)))

    catalog.replace_partition(schemas.SESSIONS, day, rows("old", 200))
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        for _ in range(5):
            catalog.replace_partition(schemas.SESSIONS, day, rows("new", 300))
            catalog.replace_partition(schemas.SESSIONS, day, rows("old", 200))
        written.set()
        reading.result()
    assert seen <= {(200, frozenset({"old"})), (300, frozenset({"new"}))}


def test_a_gateway_that_drops_conditions_is_detected(
    seaweedfs_endpoint: str, seaweedfs_bucket: tuple[Any, str], meddling_server: Callable[..., str]
) -> None:
    gateway = meddling_server(seaweedfs_endpoint, asked=lambda exchange: exchange.drop("if-none-match", "if-match"))
    store = at(gateway, seaweedfs_bucket[1])
    with pytest.raises(ConfigurationError, match="conditional writes"):
        store.lock("day", wait_s=0).__enter__()
    assert keys_in(seaweedfs_bucket) == []


def test_a_day_is_archived_without_loss_or_duplicates(
    start_trial: Callable[..., Any], seaweedfs_endpoint: str, seaweedfs_bucket: tuple[Any, str]
) -> None:
    client, bucket = seaweedfs_bucket
    client.create_bucket(Bucket=f"{bucket}-locked", ObjectLockEnabledForBucket=True)
    trial = start_trial(sessions_per_day=10)
    text = trial.config.read_text()
    for section, suffix, more in (
        (
            "archive",
            "-locked",
            'objects = { lock_mode = "GOVERNANCE", lock_days = 1, storage_class = "STANDARD_IA" }\n',
        ),
        ("catalog", "", ""),
    ):
        s3 = f's3 = {{ endpoint_url = "{seaweedfs_endpoint}", region = "us-east-1" }}'
        head, _, rest = text.partition(f"[{section}]\n")
        text = f'{head}[{section}]\nurl = "s3://{bucket}{suffix}/{section}"\n{s3}\n{more}{rest.partition(chr(10))[2]}'
    trial.config.write_text(text)
    (first,) = trial.archive()
    (again,) = trial.archive()
    assert first.fetched_count > 0
    assert again.fetched_count == 0
    assert again.recordings == first.recordings
    with trial.connections() as connections:
        rows = connections.catalog.rows(schemas.RECORDINGS, trial.days[0])
    kept = [row for row in rows if row["archive_status"] == "archived"]
    assert len(kept) == first.recordings["archived"]
    for row in kept:
        found = client.get_object(
            Bucket=f"{bucket}-locked", Key=row["archive_uri"].removeprefix(f"s3://{bucket}-locked/")
        )
        assert hashlib.sha256(found["Body"].read()).hexdigest() == row["sha256"]
        assert (found["ObjectLockMode"], found["StorageClass"]) == ("GOVERNANCE", "STANDARD_IA")
    assert not [key for key in keys_in(seaweedfs_bucket) if "/_locks/" in key]

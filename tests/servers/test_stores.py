"""The contract of an archive and catalog: on each S3 server that keeps conditional writes, and refused on the others."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from callarchive.catalog import schemas
from callarchive.domain.errors import AlreadyExistsError, ConfigurationError, ObjectNotFoundError, UnavailableError
from callarchive.settings import S3Settings
from callarchive.storage.stores.naming import LOCKS
from callarchive.storage.stores.s3 import S3Store
from tests.servers.running import Place

keeping = pytest.mark.stores(conditional_writes=True)
ignoring = pytest.mark.stores(conditional_writes=False)


@pytest.fixture
def store(place: Place) -> S3Store:
    return S3Store(place.landing, S3Settings(**place.section), lease_s=30.0)


@keeping
def test_a_name_is_written_once(store: S3Store) -> None:
    def write(number: int) -> int | None:
        try:
            with store.stage("day") as staging:
                staging.write(b"%d" % number)
                staging.commit("day/a.mp3")
        except AlreadyExistsError:
            return None
        return number

    first = write(1)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, range(2, 6))) == [None] * 4
    with pytest.raises(AlreadyExistsError):
        store.create("day/a.mp3", b"other")
    assert first == 1
    assert store.read("day/a.mp3") == b"1"


@keeping
def test_a_lock_has_one_holder(store: S3Store, place: Place) -> None:
    held, release = Event(), Event()

    def hold() -> None:
        with store.lock("day", wait_s=10):
            held.set()
            assert release.wait(30)

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold)
        try:
            assert held.wait(30)
            with pytest.raises(UnavailableError, match="is held by process"):
                store.lock("day", wait_s=0).__enter__()
        finally:
            release.set()
        holding.result()
    with store.lock("day", wait_s=0):
        pass


@keeping
def test_an_object_is_replaced_whole_listed_and_deleted(store: S3Store) -> None:
    for data in (b"old" * 100_000, b"new"):
        store.replace("table/part.parquet", data)
        assert store.read("table/part.parquet") == data
    store.create("table/other.parquet", b"x")
    assert [(item.path, item.size_bytes) for item in store.list("table")] == [
        ("table/other.parquet", 1),
        ("table/part.parquet", 3),
    ]
    assert store.sizes("table", ["table/part.parquet", "table/none"]) == {"table/part.parquet": 3}
    assert set(store.folders("")) - {LOCKS} == {"table"}, "a server may keep the empty folder of the trial for a while"
    store.delete("table/part.parquet")
    with pytest.raises(ObjectNotFoundError, match=r"table/part\.parquet"):
        store.read("table/part.parquet")


@keeping
def test_a_day_is_archived_once_and_verify_names_what_was_changed(
    running_server: Place, start_trial: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, place = start_trial(sessions_per_day=6), running_server.below("day")
    options = f'endpoint_url = "{place.section["endpoint_url"]}", region = "us-east-1"'
    text = trial.config.read_text()
    for section in ("archive", "catalog"):
        head, _, rest = text.partition(f"[{section}]\n")
        url = f'url = "{place.landing}/{section}"\ns3 = {{ {options} }}'
        text = f"{head}[{section}]\n{url}\n{rest.partition(chr(10))[2]}"
    trial.config.write_text(text)
    for name, value in place.environment.items():  # the simulator's own S3 accepts every key
        monkeypatch.setenv(name, value)
    trial.simulator.environment = {**trial.simulator.environment, **place.environment}

    (first,) = trial.archive()
    (again,) = trial.archive()
    assert first.fetched_count > 1
    assert again.fetched_count == 0
    assert again.recordings == first.recordings
    sound = trial.run("verify")
    assert sound.returncode == 0, sound.stderr + sound.stdout
    with trial.connections() as connections:
        rows = connections.catalog.rows(schemas.RECORDINGS, trial.days[0])
    gone, tampered = sorted(row["archive_uri"] for row in rows if row["archive_status"] == "archived")[:2]
    place.files.remove(gone.removeprefix(f"{place.landing}/"))
    place.files.put(tampered.removeprefix(f"{place.landing}/"), b"tampered")
    changed = trial.run("verify")
    assert changed.returncode == 1
    assert {tuple(line.split()[:3:2]) for line in changed.stdout.splitlines()[:-1]} == {
        ("missing", gone),
        ("changed", tampered),
    }


@ignoring
def test_a_store_without_conditional_writes_is_refused_before_anything_is_written(store: S3Store, place: Place) -> None:
    place.files.put("day/a.mp3", b"first")
    actions: list[Callable[[], object]] = [
        lambda: store.prove(locks=True),
        lambda: store.create("day/a.mp3", b"second"),
        lambda: store.create("day/new.mp3", b"new"),
        lambda: store.lock("day", wait_s=0).__enter__(),
    ]
    for action in actions:
        with pytest.raises(ConfigurationError, match=r"does not support conditional writes: .* docs/stores\.md"):
            action()
    assert store.read("day/a.mp3") == b"first"
    assert [item.path for item in store.list("")] == ["day/a.mp3", "marker.txt"]

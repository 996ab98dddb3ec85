"""Behaviour of every store."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from callarchive.domain.errors import (
    AlreadyExistsError,
    ArchiveError,
    ConfigurationError,
    ObjectNotFoundError,
    StoreError,
    UnavailableError,
)
from callarchive.settings import S3Settings
from callarchive.storage.stores import Store, StoredObject
from callarchive.storage.stores.local import LocalStore
from callarchive.storage.stores.opening import open_store
from callarchive.storage.stores.s3 import S3Store

NAMES = ["a.mp3", "2026-01-01T10:00:00.mp3", "%3A.mp3", "a+b &c=d.mp3", "ünï 日本.mp3", "#?*'()!~.mp3", "x..y", "..."]
BAD_PATHS = ["../x", "/x", "a/../x", "a//x", "a/./x", "a/", "", ".", "a\0b", "a\\b", "a\nb"]


def committed(store: Store, path: str, *chunks: bytes) -> None:
    with store.stage(path.rpartition("/")[0]) as staging:
        for chunk in chunks:
            staging.write(chunk)
        staging.commit(path)


def test_committed_bytes_are_read_back_whole(store: Store) -> None:
    big = bytes(range(256)) * 40_000  # 10 MB: several chunks, and more than S3Store keeps in memory
    committed(store, "acme/day/a.mp3", big[:7], b"", big[7:])
    assert store.read("acme/day/a.mp3") == big
    chunks = list(store.open("acme/day/a.mp3"))
    assert b"".join(chunks) == big
    assert all(0 < len(chunk) <= 1024 * 1024 for chunk in chunks)


def test_an_object_may_be_empty(store: Store) -> None:
    committed(store, "empty")
    assert store.read("empty") == b""
    assert store.list("") == [StoredObject("empty", 0)]


def test_nothing_is_visible_without_a_commit(store: Store) -> None:
    with store.stage("day") as staging:
        staging.write(b"half")
        assert store.list("") == []
    assert store.list("") == []
    assert store.sweep("") == 0


def test_an_error_inside_leaves_nothing_behind(store: Store) -> None:
    def fail() -> None:
        with store.stage("day") as staging:
            staging.write(b"half")
            raise RuntimeError("of the caller")

    with pytest.raises(RuntimeError, match="of the caller"):
        fail()
    assert store.list("") == []
    assert store.sweep("") == 0


def test_a_taken_name_is_never_overwritten_and_the_bytes_may_get_another(store: Store) -> None:
    committed(store, "day/a.mp3", b"first")
    with store.stage("day") as staging:
        staging.write(b"second")
        with pytest.raises(AlreadyExistsError, match=r"day/a\.mp3"):
            staging.commit("day/a.mp3")
        staging.commit("elsewhere/b.mp3")
    assert store.read("day/a.mp3") == b"first"
    assert store.read("elsewhere/b.mp3") == b"second"


def test_a_taken_name_is_refused_even_for_the_same_bytes(store: Store) -> None:
    committed(store, "day/a.mp3", b"same")
    with pytest.raises(AlreadyExistsError):
        committed(store, "day/a.mp3", b"same")


def test_staged_bytes_are_committed_once(store: Store) -> None:
    with store.stage("day") as staging:
        staging.write(b"x")
        staging.commit("day/a")
        with pytest.raises(StoreError, match="already"):
            staging.commit("day/b")
    assert [item.path for item in store.list("")] == ["day/a"]


def test_replace_replaces_the_object(store: Store) -> None:
    store.replace("t/call_date=2026-01-01/part-0.parquet", b"old")
    store.replace("t/call_date=2026-01-01/part-0.parquet", b"newer")
    assert store.read("t/call_date=2026-01-01/part-0.parquet") == b"newer"
    assert [item.path for item in store.list("t")] == ["t/call_date=2026-01-01/part-0.parquet"]


def test_replacing_replaces_the_object_as_a_whole(store: Store) -> None:
    pieces = [b"", bytes(4095), b"ab" * 700_000, b"end"]
    with store.replacing("t/day") as file:
        for piece in pieces:
            assert file.write(piece) == len(piece)
            assert store.list("") == []
        assert file.tell() == sum(map(len, pieces))
    assert store.read("t/day") == b"".join(pieces)

    def fail() -> None:
        with store.replacing("t/day") as file:
            file.write(bytes(2_000_000))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.read("t/day") == b"".join(pieces)
    assert store.sweep("") == 0


def test_create_refuses_a_taken_name(store: Store) -> None:
    store.create("answers/1.json", b"one")
    with pytest.raises(AlreadyExistsError):
        store.create("answers/1.json", b"two")
    assert store.read("answers/1.json") == b"one"


@pytest.mark.parametrize("name", NAMES)
def test_names_are_preserved(store: Store, name: str) -> None:
    committed(store, f"day/{name}", name.encode())
    assert store.read(f"day/{name}") == name.encode()
    assert store.list("day") == [StoredObject(f"day/{name}", len(name.encode()))]
    assert store.uri(f"day/{name}").endswith(f"/day/{name}")
    store.delete(f"day/{name}")
    assert store.list("") == []


@pytest.mark.parametrize("path", BAD_PATHS)
@pytest.mark.parametrize(
    "action",
    [
        lambda store, path: store.read(path),
        lambda store, path: store.open(path),
        lambda store, path: store.replace(path, b"x"),
        lambda store, path: store.create(path, b"x"),
        lambda store, path: store.delete(path),
        lambda store, path: store.erase(path),
        lambda store, path: store.erase_old_versions(path),
        lambda store, path: store.erase_folder(path),
        lambda store, path: store.uri(path),
        lambda store, path: committed(store, path, b"x"),
        lambda store, path: store.lock(f"{path}/..", wait_s=0).__enter__(),
        lambda store, path: store.list(path or "/"),
        lambda store, path: store.sweep(path or "/"),
    ],
    ids=[
        *("read", "open", "replace", "create", "delete", "erase", "erase old versions", "erase folder"),
        *("uri", "commit", "lock", "list", "sweep"),
    ],
)
def test_an_unsafe_path_is_refused(store: Store, action: Callable[[Store, str], object], path: str) -> None:
    with pytest.raises(ArchiveError, match="refused as a path"):
        action(store, path)


def test_an_object_is_erased_and_no_other(store: Store) -> None:
    paths = ["day/s/a.mp3", "day/s/a.mp3.old", "day/s/a.mp3x/b", "day/t/a.mp3"]
    for path in paths:
        committed(store, path, b"audio")
    store.erase_old_versions("day/s/a.mp3")
    assert [item.path for item in store.list("")] == paths
    for _ in range(2):
        store.erase("day/s/a.mp3")
        assert [item.path for item in store.list("")] == paths[1:]
    store.erase("day/none/b.mp3")
    store.erase("day/t/a.mp3")
    assert store.folders("day") == ("s",)


def test_a_folder_is_erased_and_no_other(store: Store) -> None:
    paths = ["day/s.old/a", "day/s/a/b/c.mp3", "day/s/d.mp3", "day/s2/a.mp3"]
    for path in paths:
        committed(store, path, b"audio")
    for _ in range(2):
        store.erase_folder("day/s")
        assert [item.path for item in store.list("")] == [paths[0], paths[3]]
    assert store.folders("day") == ("s.old", "s2")
    committed(store, "day/s/a/b/c.mp3", b"again")
    assert store.read("day/s/a/b/c.mp3") == b"again"


def test_folders_and_files_are_named_without_what_is_below_them(store: Store) -> None:
    for path in ("b/z", "b/a/deep/x", "b/a.mp3", "a/1", "top"):
        store.replace(path, b"x")
    assert (store.folders(""), store.files("")) == (("a", "b"), ("top",))
    assert (store.folders("b"), store.files("b")) == (("a",), ("a.mp3", "z"))
    assert (store.folders("none"), store.files("none")) == ((), ())


def test_a_listing_is_recursive_ordered_and_without_reserved_names(store: Store) -> None:
    for path in ("b/z", "b/a/deep/x", "b/a.mp3", "a/1", "bb/1", "b/.hidden", "b/x.part"):
        store.replace(path, path.encode())
    with store.lock("call_date=2026-01-01", wait_s=0):
        assert [item.path for item in store.list("b")] == ["b/.hidden", "b/a.mp3", "b/a/deep/x", "b/x.part", "b/z"]
        assert [item.path for item in store.list("")][::6] == ["a/1", "bb/1"]
    assert store.list("nothing/there") == []


def test_sizes_are_those_of_the_existing_objects(store: Store) -> None:
    for path in ("b/z", "b/a/deep/x", "b/a.mp3"):
        store.replace(path, path.encode())
    assert store.sizes("b", ["b/z", "b/a.mp3", "b/none", "b/a", "b/z/under"]) == {"b/z": 3, "b/a.mp3": 7}
    assert store.sizes("none", ["none/a"]) == {}
    assert store.sizes("b", []) == {}


def test_a_missing_object_is_not_found(store: Store) -> None:
    with pytest.raises(ObjectNotFoundError, match="day/a"):
        store.read("day/a")
    with pytest.raises(ObjectNotFoundError, match="day/a"):
        store.open("day/a")
    store.delete("day/a")


def test_a_reader_may_stop_in_the_middle(store: Store) -> None:
    store.replace("big", bytes(3_000_000))
    chunks = store.open("big")
    assert len(next(chunks)) > 0
    del chunks
    store.delete("big")
    assert store.list("") == []


def test_one_of_many_threads_that_commit_a_name_wins(store: Store) -> None:
    def attempt(number: int) -> bytes | None:
        data = b"%d" % number * 1000
        try:
            committed(store, "day/a.mp3", data)
        except AlreadyExistsError:
            return None
        return data

    with ThreadPoolExecutor(8) as pool:
        won = [data for data in pool.map(attempt, range(8)) if data is not None]
    assert won == [store.read("day/a.mp3")]


def test_two_threads_exclude_each_other(store: Store) -> None:
    inside, most = [0], [0]
    guard = threading.Lock()

    def work(_: int) -> None:
        with store.lock("day", wait_s=20):
            with guard:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            with guard:
                inside[0] -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert most == [1]


def test_waiting_for_a_held_lock_times_out(store: Store) -> None:
    held = pytest.raises(UnavailableError, match=r"the lock day .* is held by process \d+")
    with store.lock("day", wait_s=0), store.lock("another day", wait_s=0), held:
        store.lock("day", wait_s=0.1).__enter__()
    with store.lock("day", wait_s=0):
        pass


def test_a_lock_is_freed_by_an_error_inside(store: Store) -> None:
    with pytest.raises(RuntimeError, match="of the caller"), store.lock("day", wait_s=0):
        raise RuntimeError("of the caller")
    with store.lock("day", wait_s=0):
        pass


def test_a_url_determines_the_store(tmp_path: Path) -> None:
    assert isinstance(open_store(f"file://{tmp_path}", S3Settings()), LocalStore)
    assert isinstance(open_store("s3://bucket/prefix", S3Settings()), S3Store)
    with pytest.raises(ConfigurationError, match="ftp://"):
        open_store("ftp://host/path", S3Settings())

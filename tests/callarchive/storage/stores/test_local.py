"""A folder survives kills at every step, a full disk, fsync errors, races, and links that lead out of it."""

import errno
import logging
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from callarchive.domain.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    ArchiveError,
    ObjectNotFoundError,
    StoreError,
)
from callarchive.storage.stores import StoredObject
from callarchive.storage.stores.local import LocalStore

PATH = "acme/day/session/a.mp3"
OLD, NEW = b"old " * 50_000, b"new " * 60_000

# Reads lines of root, action, number and when. For each, a forked child does the action and kills itself just before,
# in the middle of or just after its number-th call that touches the disk. Answers with the signal that ended it.
DYING = textwrap.dedent(
    """
    import contextlib, os, signal, sys, traceback
    from callarchive.domain.errors import AlreadyExistsError
    from callarchive.storage.stores.local import LocalStore

    OLD, NEW = b"old " * 50_000, b"new " * 60_000
    PATH = "acme/day/session/a.mp3"

    def act(store, action):
        if action == "commit":
            with store.stage("acme/day/session") as staging:
                staging.write(NEW[:100_000])
                staging.write(NEW[100_000:])
                with contextlib.suppress(AlreadyExistsError):
                    staging.commit(PATH)
        elif action == "replace":
            store.replace(PATH, NEW)
        elif action == "delete":
            store.delete(PATH)
        elif action == "erase folder":
            store.erase_folder("acme/day")
        elif action == "hold":
            with store.lock("day", wait_s=0):
                os.kill(os.getpid(), signal.SIGKILL)

    def die_at(number, when):
        count = 0

        def deadly(name, real):
            def call(*args, **kwargs):
                nonlocal count
                count += 1
                if count == number and when == "before":
                    os.kill(os.getpid(), signal.SIGKILL)
                if count == number and when == "amid" and name == "write":
                    args = (args[0], args[1][: len(args[1]) // 2])
                mine = count == number
                try:
                    return real(*args, **kwargs)
                finally:
                    if mine:
                        os.kill(os.getpid(), signal.SIGKILL)
            return call

        for name in ("open", "mkdir", "write", "fsync", "link", "rename", "replace", "unlink", "rmdir"):
            setattr(os, name, deadly(name, getattr(os, name)))

    for line in sys.stdin:
        root, action, number, when = line.rstrip("\\n").split("\\t")
        child = os.fork()
        if child == 0:
            code = 0
            try:
                die_at(int(number), when)
                act(LocalStore(f"file://{root}"), action)
            except BaseException:
                traceback.print_exc()
                code = 1
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    """
)
Dying = Callable[[Path, str, int, str], bool]


@pytest.fixture(scope="module")
def dying() -> Iterator[Dying]:
    """Return a function that runs an action in a process that kills itself, and returns whether it did."""
    server = subprocess.Popen([sys.executable, "-c", DYING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    requests, responses = server.stdin, server.stdout
    assert requests is not None
    assert responses is not None

    def do(root: Path, action: str, number: int, when: str) -> bool:
        requests.write(f"{root}\t{action}\t{number}\t{when}\n")
        requests.flush()
        code = int(responses.readline())
        assert code in (0, -signal.SIGKILL)
        return code != 0

    yield do
    server.communicate(timeout=10)


def content(store: LocalStore) -> bytes | None:
    try:
        return store.read(PATH)
    except ObjectNotFoundError:
        return None


def names(root: Path) -> set[str]:
    return {path.name for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("when", ["before", "amid", "after"])
@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        ("commit", None, NEW),
        ("replace", OLD, NEW),
        ("replace", None, NEW),
        ("delete", OLD, None),
        ("erase folder", OLD, None),
    ],
    ids=["commit", "replace", "first replace", "delete", "erase folder"],
)
def test_a_kill_at_any_step_leaves_the_old_or_the_new_and_a_rerun_works(
    tmp_path: Path, dying: Dying, action: str, before: bytes | None, after: bytes | None, when: str
) -> None:
    steps = 0
    while True:
        steps += 1
        root = tmp_path / str(steps)
        store = LocalStore(f"file://{root}")
        if before is not None:
            store.replace(PATH, before)
        killed = dying(root, action, steps, when)
        assert content(store) in (before, after)
        assert [item.path for item in store.list("")] == ([PATH] if content(store) is not None else [])
        assert all(name == "a.mp3" or (name.startswith(".") and name.endswith(".part")) for name in names(root))
        store.sweep("")
        assert not dying(root, action, 0, when)
        assert content(store) == after
        assert names(root) <= {"a.mp3"}
        if not killed:
            break
    assert steps > 4


def test_an_erased_folder_takes_temporary_files_along_and_not_what_links_lead_to(
    tmp_path: Path, local_store: LocalStore
) -> None:
    root, elsewhere = Path(local_store.url.removeprefix("file://")), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_bytes(b"not ours")
    local_store.create("acme/day/session/a.mp3", b"audio")
    local_store.create("acme/other/b.mp3", b"audio")
    (root / "acme/day/session/.0123.part").write_bytes(b"half of it")
    (root / "acme/day/link").symlink_to(elsewhere)
    (root / "acme/linked").symlink_to(elsewhere)
    with pytest.raises(ArchiveError, match="acme/linked is a symbolic link"):
        local_store.erase_folder("acme/linked")
    with pytest.raises(ArchiveError, match="leads acme/linked/deeper out of the store"):
        local_store.erase_folder("acme/linked/deeper")
    local_store.erase_folder("acme/day")
    assert sorted(path.name for path in (root / "acme").iterdir()) == ["linked", "other"]
    assert (elsewhere / "kept").read_bytes() == b"not ours"


def test_an_erasure_is_durable_when_it_returns(local_store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("acme/day/s/a.mp3", "acme/day/t/a.mp3", "acme/other/b.mp3"):
        local_store.create(path, b"audio")
    synced: list[str] = []
    whole = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        whole(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    root = local_store.url.removeprefix("file://")
    local_store.erase("acme/day/s/a.mp3")
    assert synced == [f"{root}/acme/day"]
    local_store.erase_folder("acme/day")
    assert synced[1:] == [f"{root}/acme"]
    local_store.erase("acme/other/b.mp3")
    assert synced[2:] == [root]
    assert [*Path(root).iterdir()] == []

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    for erase in (lambda: local_store.erase("acme/a"), lambda: local_store.erase_folder("acme")):
        with pytest.raises(StoreError, match="Input/output error"):
            erase()


def test_a_lock_is_free_once_its_holder_is_killed(tmp_path: Path, dying: Dying) -> None:
    assert dying(tmp_path, "hold", 0, "")
    with LocalStore(f"file://{tmp_path}").lock("day", wait_s=0):
        pass


def test_the_holder_of_a_lock_is_logged_while_waiting(
    local_store: LocalStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with local_store.lock("day", wait_s=0), pytest.raises(ArchiveError):
        local_store.lock("day", wait_s=0.05).__enter__()
    assert f"waiting for the lock day of {local_store.url}, held by process {os.getpid()}" in caplog.text


def test_one_of_two_processes_that_commit_a_name_wins(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys
        from callarchive.domain.errors import AlreadyExistsError
        from callarchive.storage.stores.local import LocalStore
        store = LocalStore("file://" + sys.argv[1])
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(200):
            try:
                store.create(f"day/{number}", sys.argv[2].encode())
                print(number)
            except AlreadyExistsError:
                pass
        """
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    for racer in racers:
        assert racer.stdout is not None
        racer.stdout.readline()
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [{int(line) for line in racer.communicate(timeout=30)[0].splitlines()} for racer in racers]
    assert won[0] | won[1] == set(range(200))
    assert not won[0] & won[1]
    store = LocalStore(f"file://{tmp_path}")
    assert {number for number in range(200) if store.read(f"day/{number}") == b"one"} == won[0]


@pytest.fixture
def small_files() -> Iterator[None]:
    """Limit files of this process to 100,000 bytes: the kernel fails the write, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("small_files")
def test_a_write_without_room_raises_and_leaves_the_old(tmp_path: Path, local_store: LocalStore) -> None:
    local_store.replace(PATH, b"old")
    with pytest.raises(StoreError, match="File too large"):
        local_store.replace(PATH, bytes(100_001))
    with local_store.stage("acme/day/session") as staging:
        with pytest.raises(StoreError, match=r"acme/day/session failed: File too large"):
            staging.write(bytes(1_000_000))
        with pytest.raises(StoreError, match="could not be written"):
            staging.commit("acme/day/session/b.mp3")
        with pytest.raises(StoreError, match="could not be written"):
            staging.write(b"more")
    assert content(local_store) == b"old"
    assert names(tmp_path) == {"a.mp3"}


@pytest.mark.usefixtures("small_files")
def test_a_table_without_room_leaves_the_old(tmp_path: Path, local_store: LocalStore) -> None:
    table = pa.table({"id": [uuid.uuid4().hex for _ in range(100_000)]})
    local_store.replace(PATH, b"old")
    with (
        pytest.raises(StoreError, match="failed: File too large"),
        local_store.replacing(PATH) as file,
    ):
        pq.write_table(table, file)
    assert content(local_store) == b"old"
    assert names(tmp_path) == {"a.mp3"}


def failing(monkeypatch: pytest.MonkeyPatch, function: str, number: int, code: int, times: int = 1) -> list[int]:
    """Make `times` calls of a function of `os` fail, beginning with the number-th. Return the calls that failed."""
    real, calls, failed = getattr(os, function), [0], []

    def call(*args: object, **kwargs: object) -> object:
        calls[0] += 1
        if number <= calls[0] < number + times:
            failed.append(calls[0])
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    monkeypatch.setattr(os, function, call)
    return failed


@pytest.mark.parametrize("times", [1, 1000], ids=["once", "for ever"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("function", ["open", "mkdir", "write", "fsync", "link", "replace"])
def test_an_error_at_any_step_never_passes_for_success(tmp_path: Path, function: str, code: int, times: int) -> None:
    failures = 0
    for number in range(1, 20):
        root = tmp_path / str(number)
        store = LocalStore(f"file://{root}")
        store.replace("acme/other", b"x")
        store.replace(PATH, OLD)
        replaced = outcome(lambda s: s.replace(PATH, NEW), store, function, number, code, times)
        created = outcome(lambda s: s.create("acme/new/b.mp3", NEW), store, function, number, code, times)
        kept = created is None or "the name is there, but may not survive a crash" in created
        assert names(root) == {"a.mp3", "other"} | ({"b.mp3"} if kept else set())
        assert content(store) == NEW if replaced is None else content(store) in (OLD, NEW)
        if kept:
            assert store.read("acme/new/b.mp3") == NEW
        if replaced is None and created is None:
            break
        assert all(os.strerror(code) in said for said in (replaced, created) if said is not None)
        failures += 1
    assert failures >= 1


def outcome(
    action: Callable[[LocalStore], None], store: LocalStore, function: str, number: int, code: int, times: int
) -> str | None:
    """Return the error of the action when a function of `os` fails; None if it was not called that often."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        failed = failing(monkeypatch, function, number, code, times)
        try:
            action(store)
        except StoreError as err:
            return str(err)
    assert not failed
    return None


SIZES = [0, 1, 4096, 700_001]


@pytest.mark.parametrize("size_bytes", SIZES)
@pytest.mark.parametrize("chunk_bytes", [4096, 50_001, 2_000_000])
def test_bytes_of_any_size_are_read_back(local_store: LocalStore, size_bytes: int, chunk_bytes: int) -> None:
    data = random.Random(size_bytes).randbytes(size_bytes)
    with local_store.stage("day") as staging:
        for at in range(0, size_bytes, chunk_bytes):
            staging.write(data[at : at + chunk_bytes])
        staging.commit("day/a.mp3")
    assert local_store.read("day/a.mp3") == data
    assert [(item.path, item.size_bytes) for item in local_store.list("")] == [("day/a.mp3", size_bytes)]


@pytest.mark.parametrize("size_bytes", SIZES)
def test_short_writes_are_continued(local_store: LocalStore, monkeypatch: pytest.MonkeyPatch, size_bytes: int) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[: max(1, len(data) // 2 - 7)]))
    data = random.Random(1).randbytes(size_bytes)
    with local_store.stage("day") as staging:
        staging.write(data)
        staging.commit("day/a.mp3")
    assert local_store.read("day/a.mp3") == data


def test_a_folder_that_was_deleted_between_two_recordings_is_created_again(
    tmp_path: Path, local_store: LocalStore
) -> None:
    for number in range(3):
        with local_store.stage("acme/day/session") as staging:
            staging.write(b"x")
            staging.commit(f"acme/day/session/{number}.mp3")
        local_store.delete(f"acme/day/session/{number}.mp3")
        assert list((tmp_path / "root").iterdir()) == []


def test_only_the_last_day_stays_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    store = LocalStore(f"file://{tmp_path}/root")
    for number in range(20):
        with store.stage("acme/day/session") as staging:
            staging.write(b"x")
            if number % 3:
                staging.commit(f"{'acme' if number % 2 else '_quarantine'}/{number}.mp3")
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2
    del store, staging
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_bytes_are_not_trusted_after_a_failed_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(f"file://{tmp_path}/root")
    store.replace("day/other", b"x")
    with store.stage("day") as staging:
        staging.write(NEW)
        with monkeypatch.context() as patch:
            failed = failing(patch, "fsync", 1, errno.EIO)
            with pytest.raises(StoreError, match="Input/output error"):
                staging.commit("day/a.mp3")
        assert failed == [1]
        with pytest.raises(StoreError, match="could not be written"):
            staging.commit("day/a.mp3")
    assert names(tmp_path) == {"other"}
    with store.stage("day") as staging:
        staging.write(NEW)
        staging.commit("day/a.mp3")
    assert store.read("day/a.mp3") == NEW


def test_a_name_that_cannot_be_made_durable_stays_and_is_synced_before_it_is_relied_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(f"file://{tmp_path}/root")
    store.replace("day/other", b"x")
    failed = failing(monkeypatch, "fsync", 2, errno.EIO)
    with pytest.raises(StoreError, match=r"committing day/a\.mp3 failed: Input/output error: the name is there"):
        store.create("day/a.mp3", NEW)
    assert failed == [2]
    assert store.read("day/a.mp3") == NEW
    failed = failing(monkeypatch, "fsync", 2, errno.EIO)
    with pytest.raises(StoreError, match="Input/output error"):
        store.create("day/a.mp3", NEW)
    with pytest.raises(AlreadyExistsError):
        store.create("day/a.mp3", NEW)
    assert failed == [2]
    assert names(tmp_path) == {"a.mp3", "other"}


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_without_hard_links_a_name_is_still_given_once(
    local_store: LocalStore, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    failing(monkeypatch, "link", 1, code, times=1000)
    local_store.create("day/a.mp3", b"first")
    with pytest.raises(AlreadyExistsError):
        local_store.create("day/a.mp3", b"second")
    assert local_store.read("day/a.mp3") == b"first"
    assert [item.path for item in local_store.list("")] == ["day/a.mp3"]


def test_leftovers_of_killed_runs_are_invisible_and_swept(tmp_path: Path, local_store: LocalStore) -> None:
    local_store.replace("day/a.mp3", b"x")
    local_store.replace("other/b.mp3", b"x")
    for place in ("day/.0123.part", "day/deep/.4567.part", "other/.89ab.part"):
        target = tmp_path / "root" / place
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(b"half")
    assert [item.path for item in local_store.list("")] == ["day/a.mp3", "other/b.mp3"]
    assert local_store.sweep("day") == 2
    assert local_store.sweep("day") == 0
    assert names(tmp_path) == {"a.mp3", "b.mp3", ".89ab.part"}
    assert local_store.sweep("nothing/there") == 0


def test_a_leftover_that_cannot_be_removed_does_not_stop_the_sweep(
    tmp_path: Path, local_store: LocalStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    local_store.replace("day/a.mp3", b"x")
    for name in (".0123.part", ".4567.part"):
        (tmp_path / "root/day" / name).write_bytes(b"half")
    with monkeypatch.context() as patch:
        failing(patch, "unlink", 1, errno.EIO)
        assert local_store.sweep("day") == 1
    assert "removing day/." in caplog.text
    assert local_store.sweep("day") == 1
    assert names(tmp_path) == {"a.mp3"}


def test_deleting_removes_empty_folders_but_not_the_root(tmp_path: Path, local_store: LocalStore) -> None:
    local_store.replace("acme/day/session/a.mp3", b"x")
    local_store.replace("acme/day/other/b.mp3", b"x")
    local_store.delete("acme/day/session/a.mp3")
    assert sorted(path.name for path in (tmp_path / "root/acme/day").iterdir()) == ["other"]
    local_store.delete("acme/day/other/b.mp3")
    assert list((tmp_path / "root").iterdir()) == []


def test_only_owner_and_group_can_read_recordings(tmp_path: Path, local_store: LocalStore) -> None:
    earlier = os.umask(0)
    try:
        local_store.replace("acme/day/a.mp3", b"x")
        local_store.create("acme/day/b.mp3", b"x")
    finally:
        os.umask(earlier)
    made = list(tmp_path.rglob("*"))
    assert len(made) == 5
    assert {stat.S_IMODE(path.stat().st_mode) & 0o007 for path in made} == {0}
    assert stat.S_IMODE((tmp_path / "root/acme/day/a.mp3").stat().st_mode) == 0o640


def test_a_symbolic_link_does_not_lead_out_of_the_root(tmp_path: Path, local_store: LocalStore) -> None:
    local_store.replace("acme/a", b"x")
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "root/link").symlink_to(outside)
    (tmp_path / "root2").mkdir()
    (tmp_path / "root/sibling").symlink_to(tmp_path / "root2")
    for attempt in (
        lambda: local_store.replace("link/x", b"x"),
        lambda: local_store.create("link/deep/x", b"x"),
        lambda: local_store.create("sibling/x", b"x"),
        lambda: local_store.delete("link/x"),
    ):
        with pytest.raises(ArchiveError, match="out of the store"):
            attempt()
    assert list(outside.iterdir()) == []


def test_the_root_itself_may_be_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    store = LocalStore(f"file://{tmp_path}/link")
    store.create("acme/a", b"x")
    assert store.read("acme/a") == b"x"
    assert (tmp_path / "real/acme/a").read_bytes() == b"x"


def test_an_object_is_not_a_folder(local_store: LocalStore) -> None:
    local_store.replace("a/b", b"x")
    for path in ("a", "a/b/c"):
        with pytest.raises(ObjectNotFoundError):
            local_store.read(path)
    with pytest.raises(StoreError):
        local_store.replace("a/b/c", b"x")


def test_a_folder_without_permission_is_an_access_error(
    local_store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "mkdir", 1, errno.EACCES, times=1000)
    with pytest.raises(AccessDeniedError, match="Permission denied"):
        local_store.replace("a/b", b"x")


def test_a_listing_skips_linked_folders(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.mp3").write_bytes(b"x")
    store = LocalStore(f"file://{tmp_path}/root")
    store.create("day/a.mp3", b"abc")
    (tmp_path / "root/day/link").symlink_to(outside)
    (tmp_path / "root/day/loop").symlink_to(tmp_path / "root/day")
    assert store.list("day") == store.list("") == [StoredObject("day/a.mp3", 3)]
    (outside / ".0123456789abcdef.part").write_bytes(b"x")
    assert store.sweep("day") == 0


def test_a_store_below_a_file_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = LocalStore(f"file://{tmp_path}/file/archive")
    with pytest.raises(StoreError, match="/file/archive: writing below it failed: Not a directory"):
        store.create("a.json", b"x")

"""Files that share a sync of the file system: nobody is told too early, and one's trouble is not another's."""

import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from callarchive.domain.errors import AlreadyExistsError, StoreError
from callarchive.storage.stores import local, syncing
from callarchive.storage.stores.group_commit import Commit, GroupCommit
from callarchive.storage.stores.local import LocalStore
from callarchive.storage.stores.local_staging import OpenFolder

FILES = 60


class Disk:
    """What was written and named, and what of it a sync has made durable."""

    def __init__(self) -> None:
        self.changing = threading.Lock()
        self.now: set[str] = set()
        self.durable: frozenset[str] = frozenset()
        self.syncs = 0
        self.failing: set[int] = set()
        self.taken_back: list[str] = []

    def put(self, what: str) -> None:
        with self.changing:
            self.now.add(what)

    def sync(self) -> None:
        with self.changing:
            self.syncs += 1
            number, as_it_was = self.syncs, frozenset(self.now)
        threading.Event().wait(0.002)  # others arrive meanwhile
        if number in self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.durable = as_it_was

    def commit(self, group: GroupCommit, name: str, *, taken: bool = False) -> None:
        self.put(f"bytes of {name}")

        def give_name() -> None:
            assert f"bytes of {name}" in self.durable
            if taken:
                raise FileExistsError(errno.EEXIST, name)
            self.put(name)

        group.commit(Commit(give_name=give_name, take_name_back=lambda: self.taken_back.append(name)))


def in_threads(work: Callable[[str], None], count: int = FILES, threads: int = 16) -> dict[str, BaseException | None]:
    """What each file's commit raised."""
    names = [f"{number}.mp3" for number in range(count)]
    with ThreadPoolExecutor(threads) as pool:
        futures = {name: pool.submit(work, name) for name in names}
    return {name: future.exception() for name, future in futures.items()}


def test_whoever_is_told_has_bytes_and_name_on_the_disk_and_syncs_are_shared() -> None:
    disk = Disk()
    group = GroupCommit(disk.sync)
    told = []

    def work(name: str) -> None:
        disk.commit(group, name)
        assert name in disk.durable
        told.append(name)

    assert set(in_threads(work).values()) == {None}
    assert len(told) == FILES
    assert 2 <= disk.syncs < FILES


def test_one_file_alone_takes_two_syncs() -> None:
    disk = Disk()
    group = GroupCommit(disk.sync)
    for number in (1, 2):
        disk.commit(group, f"{number}.mp3")
        assert disk.syncs == 2 * number


def test_a_name_that_is_taken_is_told_to_its_own_file_alone() -> None:
    disk = Disk()
    group = GroupCommit(disk.sync)
    outcomes = in_threads(lambda name: disk.commit(group, name, taken=name == "7.mp3"))
    assert isinstance(outcomes.pop("7.mp3"), FileExistsError)
    assert set(outcomes.values()) == {None}


def test_a_sync_that_fails_is_told_to_all_whom_it_was_for_and_the_next_ones_go_on() -> None:
    disk = Disk()
    disk.failing = {3}
    group = GroupCommit(disk.sync)
    outcomes = in_threads(lambda name: disk.commit(group, name))
    failed = {name for name, error in outcomes.items() if isinstance(error, OSError)}
    assert failed
    assert {error for error in outcomes.values() if not isinstance(error, OSError)} == {None}
    assert all(name in disk.durable for name in outcomes if name not in failed)
    assert set(disk.taken_back) == failed & disk.now


def test_an_interrupted_leader_leaves_the_lead_to_another() -> None:
    disk = Disk()
    interrupted = threading.Event()

    def sync() -> None:
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt
        disk.sync()

    group = GroupCommit(sync)
    with pytest.raises(KeyboardInterrupt):
        disk.commit(group, "first.mp3")
    assert set(in_threads(lambda name: disk.commit(group, name)).values()) == {None}


def test_threads_that_stage_at_once_share_syncs_on_this_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = []

    def counted(descriptor: int) -> None:
        syncs.append(descriptor)
        syncing.sync_file_system(descriptor)

    monkeypatch.setattr(local, "can_sync_file_system", lambda device: True)
    monkeypatch.setattr(local, "sync_file_system", counted)
    store = LocalStore(f"file://{tmp_path}/root")

    def work(name: str) -> None:
        with store.stage(f"acme/day/{name[0]}") as staging:
            staging.write(name.encode() * 1000)
            staging.commit(f"acme/day/{name[0]}/{name}")

    assert set(in_threads(work).values()) == {None}
    assert len(store.list("")) == FILES
    assert all(store.read(item.path) == item.path.rpartition("/")[2].encode() * 1000 for item in store.list(""))
    assert len(syncs) < 2 * FILES
    outcomes = in_threads(work)
    assert {type(error) for error in outcomes.values()} == {AlreadyExistsError}


def test_a_disk_that_fails_for_ever_is_told_to_every_file_and_names_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(local, "can_sync_file_system", lambda device: True)
    monkeypatch.setattr(local, "sync_file_system", fail)
    store = LocalStore(f"file://{tmp_path}/root")

    def work(name: str) -> None:
        with store.stage("day") as staging:
            staging.write(b"x")
            staging.commit(f"day/{name}")

    outcomes = in_threads(work)
    assert all(isinstance(error, StoreError) and "Input/output error" in str(error) for error in outcomes.values())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_disk_that_is_mounted_below_the_root_has_syncs_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = 4711
    monkeypatch.setattr(
        OpenFolder,
        "device",
        property(
            lambda folder: other if "acme_id" in str(Path(f"/proc/self/fd/{folder.descriptor}").readlink()) else 1
        ),
    )
    monkeypatch.setattr(local, "can_sync_file_system", lambda device: device != other)
    store = LocalStore(f"file://{tmp_path}/root")
    groups = [
        store.group_of(store.open_folder(f"{account}/day/{n}")) for n in range(2) for account in ("acme_sg", "acme_id")
    ]
    assert groups[0] is groups[2] is not None
    assert groups[1] is groups[3] is None


MOUNTS = """\
22 1 {device} / / rw,relatime shared:1 - {kind} /dev/vda rw
23 22 0:21 / /proc rw - proc proc rw
"""


@pytest.mark.parametrize(
    ("kind", "release", "can"),
    [
        ("ext4", "6.1.0-13-amd64", True),
        ("xfs", "5.8.0", True),
        ("ext4", "5.7.19", False),
        ("ext4", "4.19.0-6-amd64", False),
        ("nfs4", "6.1.0", False),
        ("fuse.sshfs", "6.1.0", False),
        ("tmpfs", "6.1.0", False),
        ("ext4", "unheard of", False),
    ],
)
def test_the_file_system_is_synced_as_a_whole_only_where_that_promises_as_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, release: str, can: bool
) -> None:
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(device=f"{os.major(device)}:{os.minor(device)}", kind=kind))
    monkeypatch.setattr(syncing, "_MOUNTS", mounts)
    names = list(os.uname())
    names[2] = release
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(names))
    assert syncing.can_sync_file_system(tmp_path.stat().st_dev) is can


def test_where_mounts_cannot_be_read_or_do_not_name_the_disk_each_file_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncing, "_MOUNTS", tmp_path / "absent")
    assert not syncing.can_sync_file_system(tmp_path.stat().st_dev)
    (tmp_path / "mountinfo").write_text(MOUNTS.format(device="250:250", kind="ext4"))
    monkeypatch.setattr(syncing, "_MOUNTS", tmp_path / "mountinfo")
    assert not syncing.can_sync_file_system(tmp_path.stat().st_dev)


def test_a_sync_of_a_closed_file_raises_what_the_kernel_says(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    syncing.sync_file_system(descriptor)
    os.close(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        syncing.sync_file_system(descriptor)

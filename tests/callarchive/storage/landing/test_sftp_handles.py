"""A server that gives the handle of an open file to another one, as Erlang's gives the second one's to the third."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import paramiko
import pytest

from callarchive.domain.errors import TransferError
from callarchive.storage.landing.sftp.landing import SftpLanding

OpenLanding = Callable[..., SftpLanding]
Server: Any = paramiko.SFTPServer  # its stubs lack the method that is overridden here


class MixingUp(Server):
    """Has only `handle_count` handles, and gives the last one again and again."""

    handle_count: ClassVar[int]

    def _send_handle_response(self, number: int, handle: Any, folder: bool = False) -> None:
        held = {*self.file_table, *self.folder_table}
        free = [n for n in range(self.handle_count) if f"hx{n}".encode() not in held]
        self.next_handle = free[0] if free else self.handle_count - 1
        mixed_up = self.file_table.get(b"hx%d" % self.next_handle)
        super()._send_handle_response(number, handle, folder)
        if mixed_up is not None:
            mixed_up.close()


def mixing_up(handle_count: int) -> type:
    return type("MixingUp", (MixingUp,), {"handle_count": handle_count})


def write(folder: Path, count: int) -> dict[str, bytes]:
    contents = {f"2026-11-01/{number}/r.mp3": os.urandom(100_000) for number in range(count)}
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(data)
    return contents


def read(landing: SftpLanding, path: str) -> bytes:
    with landing.open(path) as download:
        return b"".join(map(bytes, download))


@pytest.mark.parametrize("handle_count", [1, 2])
def test_folders_and_files_of_a_server_that_mixes_them_up_are_read_apart(
    faulty: Any, open_landing: OpenLanding, handle_count: int
) -> None:
    faulty.protocol = mixing_up(handle_count)
    contents = write(faulty.files, 12)
    landing = open_landing(faulty)
    listing = landing.list("")
    assert [item.path for item in listing.objects] == sorted(contents)
    assert listing.gaps == ()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda path: read(landing, path), contents)) == [*contents.values()]


def test_files_that_are_mixed_up_later_fail_and_are_never_read_as_another(
    faulty: Any, open_landing: OpenLanding
) -> None:
    faulty.protocol = mixing_up(4)
    contents = write(faulty.files, 6)
    landing = open_landing(faulty, concurrency=6)
    paths = list(contents)
    kept_open = [landing.open(path) for path in paths[:4]]
    downloads = [one.__enter__() for one in kept_open]
    assert read(landing, paths[4]) == contents[paths[4]]  # with another session
    for download, path in zip(downloads, paths, strict=False):
        with pytest.raises(TransferError, match=rf"{path}: the server gave the handle of an open file"):
            list(download)
    for one in kept_open:
        one.__exit__(None, None, None)
    assert read(landing, paths[0]) == contents[paths[0]]

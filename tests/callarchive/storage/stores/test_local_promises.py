"""The file system of a folder is tested for names and locks before they are relied upon.

File systems that fail the test cannot be mounted here, so the system calls are patched to behave as theirs.
"""

import contextlib
import errno
import fcntl
import os
import re
from pathlib import Path
from typing import Any

import pytest

from callarchive.domain.errors import ConfigurationError
from callarchive.storage.stores.local import LocalStore


def link_overwrites(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.link

    def link(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int, **more: Any) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(target, dir_fd=dst_dir_fd)
        real(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, **more)

    monkeypatch.setattr(os, "link", link)


def link_says_taken_and_overwrites(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.link

    def link(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int, **more: Any) -> None:
        try:
            real(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, **more)
        except FileExistsError:
            os.replace(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            raise

    monkeypatch.setattr(os, "link", link)


@pytest.mark.parametrize("lie", [link_overwrites, link_says_taken_and_overwrites])
def test_a_file_system_whose_links_overwrite_is_refused(
    local_store: LocalStore, monkeypatch: pytest.MonkeyPatch, lie: Any
) -> None:
    lie(monkeypatch)
    said = rf"{re.escape(local_store.url)}: .*link to a taken name.*docs/stores\.md"
    with local_store.stage("day") as staging, pytest.raises(ConfigurationError, match=said) as caught:
        staging.commit("day/a.mp3")
    assert caught.value.exit_code == 2
    with pytest.raises(ConfigurationError, match=said):
        local_store.create("a", b"x")
    with pytest.raises(ConfigurationError, match=said):
        local_store.prove(locks=False)
    assert local_store.list("") == []
    assert local_store.sweep("") == 0


@pytest.mark.parametrize("code", [None, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused(
    local_store: LocalStore, monkeypatch: pytest.MonkeyPatch, code: int | None
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        if code is not None:
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    said = "two holders got one flock" if code is None else re.escape(os.strerror(code))
    with pytest.raises(ConfigurationError, match=said), local_store.lock("day", wait_s=0):
        pass
    with pytest.raises(ConfigurationError, match=said):
        local_store.prove(locks=True)


def test_a_folder_is_tested_once_and_nothing_remains(
    local_store: LocalStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real, links = os.link, []

    def link(*places: Any, **more: Any) -> None:
        links.append(places)
        real(*places, **more)

    monkeypatch.setattr(os, "link", link)
    for number in range(3):
        with local_store.stage("day") as staging:
            staging.commit(f"day/{number}")
    assert len(links) == 2 + 3
    local_store.prove(locks=True)
    assert sorted(path.name for path in (tmp_path / "root").rglob("*")) == ["0", "1", "2", "day"]

"""Tests that the file system of a folder supports locks (`file_lock`) and write-once names (`local_staging`).

Network and FUSE file systems may accept a link(2) over a taken name, or a second flock(2). A test on one machine cannot
show whether locks work between machines.
"""

import contextlib
import errno
import fcntl
import os
import secrets

from callarchive.domain.errors import ConfigurationError
from callarchive.storage.stores.naming import TEMPORARY_PREFIX, TEMPORARY_SUFFIX

NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""Errors of link(2) on file systems without hard links (vfat, some FUSE and SMB mounts)."""
_NO_LOCKS = (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL)
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_MODE = 0o600


def try_names(folder: int, *, url: str) -> None:
    """Test that a name in the folder, an open descriptor, can be taken only once.

    Raises ConfigurationError if the file system overwrites a taken name; OSError if the folder cannot be written.
    """
    first, second, final = (_temporary() for _ in range(3))
    try:
        _write(folder, first, b"1")
        with contextlib.suppress(FileExistsError):
            _write(folder, first, b"2")
            raise _broken(url, "it opened a taken name with O_EXCL", "unfinished files could be mixed up")
        _write(folder, second, b"2")
        try:
            os.link(first, final, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except OSError as err:
            if err.errno in NO_LINKS:
                return  # names are given under a lock then
            raise
        refused = False
        try:
            os.link(second, final, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            refused = True
        if not refused or _read(folder, final) != b"1":
            raise _broken(url, "a link to a taken name was not refused", "archived files could be overwritten")
    finally:
        _remove(folder, first, second, final)


def try_locks(folder: int, *, url: str) -> None:
    """Test that a file in the folder, an open descriptor, can be locked only once.

    Raises ConfigurationError if the file system has no locks, or grants one to two holders; OSError.
    """
    name = _temporary()
    holders = []
    try:
        holders.append(os.open(name, _FLAGS, _MODE, dir_fd=folder))
        holders.append(os.open(name, os.O_RDWR | os.O_NOFOLLOW, dir_fd=folder))
        try:
            fcntl.flock(holders[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            if err.errno in _NO_LOCKS:
                raise _broken(url, f"flock fails: {err.strerror}", "two runs of a day could overlap") from err
            raise
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(holders[1], fcntl.LOCK_EX | fcntl.LOCK_NB)
            raise _broken(url, "two holders got one flock", "two runs of a day could overlap")
    finally:
        for holder in holders:
            os.close(holder)
        _remove(folder, name)


def _broken(url: str, what: str, consequence: str) -> ConfigurationError:
    return ConfigurationError(
        f"{url}: this file system is not safe for callarchive: {what}; {consequence}. "
        "Use a local disk or a bucket: see docs/stores.md"
    )


def _temporary() -> str:
    return f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"


def _write(folder: int, name: str, data: bytes) -> None:
    with os.fdopen(os.open(name, _FLAGS, _MODE, dir_fd=folder), "wb") as file:
        file.write(data)


def _read(folder: int, name: str) -> bytes:
    with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder), "rb") as file:
        return file.read()


def _remove(folder: int, *names: str) -> None:
    for name in names:
        with contextlib.suppress(OSError):  # a later sweep removes it
            os.unlink(name, dir_fd=folder)

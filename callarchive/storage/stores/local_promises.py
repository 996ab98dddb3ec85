"""Tries on a folder that its file system keeps what locks and write-once names rest on.

Network and FUSE file systems may answer success to a link(2) over a taken name, or to a second flock(2). What one machine
can try says nothing about locks between machines. The locks are in `file_lock`, the names in `local_staging`.
"""

import contextlib
import errno
import fcntl
import os
import secrets

from callarchive.domain.errors import ConfigurationError
from callarchive.storage.stores.naming import TEMPORARY_PREFIX, TEMPORARY_SUFFIX

NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""What link(2) says on file systems that have no hard links (vfat, some FUSE and SMB mounts)."""
_NO_LOCKS = (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL)
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_MODE = 0o600


def try_names(folder: int, *, url: str) -> None:
    """Return when a name in the folder, an open descriptor, can be taken only once.

    Raises:
        ConfigurationError: the file system overwrites a taken name.
        OSError: the folder cannot be written.
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
                return  # names are given under a lock there
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
    """Return when a file in the folder, an open descriptor, can be locked only once.

    Raises:
        ConfigurationError: the file system has no locks, or gives one to two holders.
        OSError: the folder cannot be written.
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
                raise _broken(url, f"flock answers {err.strerror}", "nothing keeps two runs apart") from err
            raise
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(holders[1], fcntl.LOCK_EX | fcntl.LOCK_NB)
            raise _broken(url, "two holders got one flock", "nothing keeps two runs apart")
    finally:
        for holder in holders:
            os.close(holder)
        _remove(folder, name)


def _broken(url: str, what: str, consequence: str) -> ConfigurationError:
    return ConfigurationError(
        f"{url}: this file system does not keep what callarchive rests on: {what}; {consequence}. "
        "Use a disk of this machine, or a bucket: docs/stores.md says what is needed"
    )


def _temporary() -> str:
    return f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"


def _write(folder: int, name: str, data: bytes) -> None:
    descriptor = os.open(name, _FLAGS, _MODE, dir_fd=folder)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def _read(folder: int, name: str) -> bytes:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
    try:
        return os.read(descriptor, 2)
    finally:
        os.close(descriptor)


def _remove(folder: int, *names: str) -> None:
    for name in names:
        with contextlib.suppress(OSError):  # a later sweep takes it
            os.unlink(name, dir_fd=folder)

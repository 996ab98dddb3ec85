"""What makes files and folders of this machine durable: fsync(2) of each, or syncfs(2) of the whole file system.

Which of them a commit uses is for `local_staging` and `group_commit`.
"""

import ctypes
import errno
import functools
import os
import re
from pathlib import Path

_TELLS_ERRORS_SINCE = (5, 8)
"""The Linux version from which syncfs reports that data could not be written back. Before, it returns 0 all the same."""
_WITH_A_JOURNAL = frozenset({"ext3", "ext4", "xfs"})
"""File systems on a disk of this machine for which syncfs is one commit of the journal. On network and FUSE file systems it
may promise less than an fsync does."""
_MOUNTS = Path("/proc/self/mountinfo")


def sync_folder(folder: Path) -> None:
    """The folder's entries are durable, as far as the file system offers that for folders. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_descriptor(descriptor)
    finally:
        os.close(descriptor)


def sync_descriptor(folder: int) -> None:
    """Like `sync_folder`, of a folder that is open."""
    try:
        os.fsync(folder)
    except OSError as err:
        if err.errno != errno.EINVAL:  # what network and FUSE file systems without that answer
            raise


def sync_file_system(descriptor: int) -> None:
    """Everything that was written to the file system of the open file is durable, names included.

    Raises:
        OSError: something could not be written since the descriptor was opened, be it of ours or not.
    """
    syncfs = _syncfs()
    if syncfs is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if syncfs(descriptor):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def can_sync_file_system(device: int) -> bool:
    """Whether `sync_file_system` can be trusted for the file system with that `st_dev`, and is no dearer than an fsync."""
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if release is None or (int(release[1]), int(release[2])) < _TELLS_ERRORS_SINCE or _syncfs() is None:
        return False
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    # 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw (proc_pid_mountinfo(5))
    kinds = [line.partition(" - ")[2].split()[0] for line in mounts.splitlines() if line.split()[2] == number]
    return bool(kinds) and _WITH_A_JOURNAL.issuperset(kinds)


@functools.cache
def _syncfs() -> "ctypes._NamedFuncPointer | None":
    """The C library's function, which Python's `os` lacks; null where there is none."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is not None:
        function.argtypes = [ctypes.c_int]
    return function

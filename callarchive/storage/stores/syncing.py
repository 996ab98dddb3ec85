"""Makes folders durable with fsync(2)."""

import errno
import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable, if the file system supports that for folders. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_descriptor(descriptor)
    finally:
        os.close(descriptor)


def sync_descriptor(folder: int) -> None:
    """Like `sync_folder`, for an open folder."""
    try:
        os.fsync(folder)
    except OSError as err:
        if err.errno != errno.EINVAL:  # network and FUSE file systems that do not support it
            raise

"""Temporary folders whose failed removal does not fail the work done in them."""

import fcntl
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp

log = logging.getLogger(__name__)

_SUFFIX = ".locked"
"""Versions that did not lock their folders did not name them so, and may be at work."""
_OURS = re.compile(rf"callarchive-(export|log|play)-[a-z0-9_]{{8}}{re.escape(_SUFFIX)}")


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Yield a new folder that only this user can read, and remove it at the end.

    A failed removal logs a warning. `tempfile.TemporaryDirectory` raises then, even with `ignore_cleanup_errors` where
    changing a permission is refused. What killed processes left is removed first. Raises OSError if the folder cannot be
    created.
    """
    remove_left_folders()
    with ExitStack() as held:
        folder = _locked_folder(prefix, held)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            try:
                with suppress(FileNotFoundError):
                    folder.rmdir()
            except OSError as err:
                log.warning("temporary folder %s cannot be removed (%s): remove it by hand", folder, err.strerror)


def remove_left_folders() -> None:
    """Remove the folders of killed processes of this user: they may have call logs and audio. Others are locked."""
    for folder in Path(gettempdir()).glob("callarchive-*"):
        with suppress(OSError), ExitStack() as held:
            if _OURS.fullmatch(folder.name) and folder.lstat().st_uid == os.getuid():
                _lock(folder, held, wait=False)
                shutil.rmtree(folder, ignore_errors=True)


def _locked_folder(prefix: str, held: ExitStack) -> Path:
    while True:
        folder = Path(mkdtemp(prefix=prefix, suffix=_SUFFIX))
        with suppress(OSError):  # a file system without locks: nothing is removed there
            _lock(folder, held, wait=True)
        if folder.exists():  # nobody took it for a left one before it was locked
            return folder


def _lock(folder: Path, held: ExitStack, *, wait: bool) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    held.callback(os.close, descriptor)
    fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))

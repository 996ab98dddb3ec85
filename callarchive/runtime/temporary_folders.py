"""Temporary folders whose failed removal does not fail the work done in them."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

log = logging.getLogger(__name__)


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Yield a new folder that only this user can read, and remove it at the end.

    A failed removal logs a warning. `tempfile.TemporaryDirectory` raises then, even with `ignore_cleanup_errors` where
    changing a permission is refused. Raises OSError if the folder cannot be created.
    """
    folder = Path(mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with suppress(FileNotFoundError):
                folder.rmdir()
        except OSError as err:
            log.warning("temporary folder %s cannot be removed (%s): remove it by hand", folder, err.strerror)

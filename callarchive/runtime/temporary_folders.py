"""Temporary folders whose removal can fail without failing the work that was done in them."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

log = logging.getLogger(__name__)


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Yield a new folder that only this user can read; remove it with its content at the end.

    What cannot be removed is a warning that names the folder. `tempfile.TemporaryDirectory` raises there, with
    `ignore_cleanup_errors` too where changing a permission is refused.

    Raises:
        OSError: the folder cannot be created.
    """
    folder = Path(mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.rmdir()
    except FileNotFoundError:
        return
    except OSError as err:
        log.warning("temporary folder %s cannot be removed (%s): remove it by hand", folder, err.strerror)

"""Files that are written together: all of them, or none."""

import errno
import os
import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from callarchive.domain.errors import ConfigurationError

_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


@dataclass(frozen=True)
class NewFile:
    """A file to write. `replaces` is the text that it has now; `None` if there must be no file. Owner and group are kept."""

    path: Path
    text: str
    replaces: str | None = None
    mode: int = 0o644


def write_together(files: Sequence[NewFile]) -> None:
    """Write the files in this order. Each gets its name when it is complete; if one fails, the others are as before.

    Raises ConfigurationError if a file exists that must not, or if one cannot be written.
    """
    with ExitStack() as temporary, ExitStack() as undo:
        for new in files:
            try:
                _name(_staged(new, temporary), new)
            except FileExistsError:
                raise ConfigurationError(f"{new.path} exists, and is not overwritten: nothing was written") from None
            except OSError as err:
                raise ConfigurationError(
                    f"{new.path} cannot be written, so nothing was: {err.strerror}: make {new.path.parent} writable"
                ) from err
            undo.callback(_restore, new)
        undo.pop_all()


def _staged(new: NewFile, temporary: ExitStack) -> Path:
    """Write the text to a temporary file beside it."""
    path = new.path.with_name(f".{new.path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    temporary.callback(path.unlink, missing_ok=True)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(new.text)
        opened.flush()
        mode = new.mode
        if new.replaces is not None:
            held = new.path.stat()
            try:
                os.fchown(descriptor, held.st_uid if os.geteuid() == 0 else -1, held.st_gid)
            except PermissionError:  # it would be another group that gets access
                mode &= 0o707
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    return path


def _name(staged: Path, new: NewFile) -> None:
    if new.replaces is not None:
        staged.replace(new.path)
        return
    try:
        os.link(staged, new.path)
    except OSError as err:
        if err.errno not in _NO_HARD_LINKS or new.path.exists():
            raise
        staged.rename(new.path)


def _restore(new: NewFile) -> None:
    if new.replaces is None:
        new.path.unlink(missing_ok=True)
    else:
        with ExitStack() as temporary:
            _staged(replace(new, text=new.replaces), temporary).replace(new.path)

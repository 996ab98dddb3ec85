"""The option --output of commands that write personal data: one file, for this user alone, complete or absent."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from callarchive.domain.errors import ArchiveError, ConfigurationError


def check_target(file: Path, *, force: bool) -> None:
    """Raise ConfigurationError unless the file can be created, or replaced with --force."""
    if not file.parent.is_dir():
        raise ConfigurationError(f"--output {file}: there is no folder {file.parent}: create it first")
    if file.is_dir():
        raise ConfigurationError(f"--output {file}: is a folder: give a file in it, such as {file / 'NAME'}")
    if not os.path.lexists(file):
        return
    if not file.is_file():
        raise ConfigurationError(f"--output {file}: exists and is not a regular file: give another name")
    if not force:
        raise ConfigurationError(f"--output {file}: exists: give another name, or replace it with --force")


@contextmanager
def private_file(file: Path, *, force: bool) -> Iterator[BinaryIO]:
    """Yield a file that only this user can read. It gets its name when the block ends, and is removed if the block raises.

    Raises ConfigurationError if the name is taken by then (without `force`), ArchiveError if it cannot be written.
    """
    check_target(file, force=force)
    temporary = file.parent / f".{file.name[:100]}.{secrets.token_hex(4)}.part"
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w+b") as written:
                yield written
                written.flush()
                os.fsync(descriptor)
            if not force:  # takes the name, so that a file that was made meanwhile is not replaced
                os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            temporary.replace(file)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
    except FileExistsError as err:
        raise ConfigurationError(f"--output {file}: exists: give another name, or replace it with --force") from err
    except OSError as err:
        advice = ": free some space, or write to another disk with --output" if err.errno == errno.ENOSPC else ""
        raise ArchiveError(f"{file} cannot be written: {err.strerror}{advice}") from err

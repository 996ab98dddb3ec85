"""Parsing of SFTP replies."""

import stat
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import paramiko
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callarchive.domain.errors import AccessDeniedError, ArchiveError, ObjectNotFoundError, TransferError
from callarchive.storage.landing.sftp.messages import ATTRS, DATA, HANDLE, NAME, STATUS, Reply, SessionLostError


def attributes(**values: int) -> Any:  # typed loosely: the stubs lack `_pack`, and have `attr` hold texts
    made = paramiko.SFTPAttributes()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def reply(kind: int, *fields: Any) -> Reply:
    """A reply whose body was packed by paramiko."""
    message = paramiko.Message()
    for item in fields:
        if isinstance(item, paramiko.SFTPAttributes):
            item._pack(message)  # type: ignore[attr-defined]  # the stubs lack it
        elif isinstance(item, bytes):
            message.add_string(item)
        else:
            message.add_int(item)
    return Reply(request=1, kind=kind, body=message.asbytes())


def test_attributes_are_read_field_by_field() -> None:
    sent = reply(ATTRS, attributes(st_size=2**40, st_mode=0o100644, st_uid=1, st_gid=2, st_atime=5, st_mtime=86400))
    read = sent.attributes("file")
    assert (read.size_bytes, read.mode) == (2**40, 0o100644)
    assert read.modified_at == datetime(1970, 1, 2, tzinfo=UTC)
    assert read.is_file()
    assert not read.is_folder()


def test_missing_attributes_are_none() -> None:
    sent = attributes()
    sent.attr = {b"vendor@example.com": b"whatever"}
    read = reply(ATTRS, sent).attributes("file")
    assert (read.size_bytes, read.mode, read.modified_at) == (None, None, None)
    assert not read.is_file()


@pytest.mark.parametrize(
    ("mode", "long_name", "kind"),
    [
        (None, b"drwxr-xr-x 1 a b 0 Jan 1 x", stat.S_IFDIR),
        (None, b"-rw-r--r-- 1 a b 0 Jan 1 x", stat.S_IFREG),
        (0o100644, b"lrwxrwxrwx 1 a b 0 Jan 1 x", stat.S_IFLNK),
        (0o040755, b"-rw-r--r-- 1 a b 0 Jan 1 x", stat.S_IFDIR),
        (0o100644, b"", stat.S_IFREG),
    ],
)
def test_kind_of_a_listed_file_is_from_its_mode_or_its_line(mode: int | None, long_name: bytes, kind: int) -> None:
    sent = attributes() if mode is None else attributes(st_mode=mode)
    (entry,) = reply(NAME, 1, b"x", long_name, sent).entries("folder")
    assert entry.name == b"x"
    assert stat.S_IFMT(entry.attributes.mode or 0) == kind


@pytest.mark.parametrize(
    ("status", "error"),
    [(2, ObjectNotFoundError), (3, AccessDeniedError), (4, TransferError), (7, SessionLostError), (99, TransferError)],
)
def test_status_becomes_an_error_that_names_the_place(status: int, error: type[ArchiveError]) -> None:
    refused = reply(STATUS, status, b"\x1b[31mOh no\n, 6591234567", b"en")
    with pytest.raises(error, match=r"sftp://host/file") as raised:
        refused.attributes("sftp://host/file")
    assert "\x1b" not in str(raised.value)
    assert "6591234567" not in "".join(map(str, raised.value.args))
    with pytest.raises(error):
        Reply(request=1, kind=STATUS, body=status.to_bytes(4, "big")).handle("sftp://host/file")


READERS: list[Callable[[Reply], object]] = [
    lambda reply: reply.handle("file"),
    lambda reply: reply.data("file"),
    lambda reply: reply.attributes("file"),
    lambda reply: reply.entries("file"),
]


@given(kind=st.sampled_from([STATUS, HANDLE, DATA, NAME, ATTRS, 200]), body=st.binary(max_size=64))
def test_any_bytes_raise_only_our_own_errors(kind: int, body: bytes) -> None:
    for reader in READERS:
        try:
            reader(Reply(request=1, kind=kind, body=body))
        except ArchiveError:
            continue


@given(st.integers(0, 40))
def test_truncated_names_are_refused(length: int) -> None:
    whole = reply(NAME, 1, b"file.mp3", b"-rw-r--r-- 1", attributes(st_size=5, st_mode=0o100644))
    with pytest.raises(SessionLostError, match="ends too early"):
        Reply(request=1, kind=NAME, body=whole.body[: min(length, len(whole.body) - 1)]).entries("folder")

"""A landing on an SFTP server. A lost session is replaced here; after several attempts the server is unavailable."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import paramiko

from callarchive.domain.errors import ConfigurationError, TransferError, UnavailableError
from callarchive.domain.evidence import Evidence
from callarchive.domain.landing_objects import LandingObject
from callarchive.runtime.retry import Backoff, retry
from callarchive.settings import AccountSettings, TransferSettings
from callarchive.storage.landing import Download, Listing
from callarchive.storage.landing.deadlines import Patience
from callarchive.storage.landing.sftp.connection import Connection, connect
from callarchive.storage.landing.sftp.credentials import load_private_key, read_password
from callarchive.storage.landing.sftp.download import SftpDownload
from callarchive.storage.landing.sftp.host_keys import read_known_hosts
from callarchive.storage.landing.sftp.messages import READ_SIZE_MAX, SessionLostError
from callarchive.storage.landing.sftp.open_files import OpenFiles
from callarchive.storage.landing.sftp.server import Server
from callarchive.storage.landing.sftp.session import SftpSession
from callarchive.storage.landing.sftp.session_pool import SessionPool
from callarchive.storage.landing.sftp.tree import SftpTree
from callarchive.storage.landing.sftp.walk import SftpWalk

_ATTEMPTS = 3
_AHEAD_BYTES = 64 << 20
"""How far the requests of all downloads together may run ahead of their consumers: bounds their memory."""
_AHEAD_MAX_BYTES = 2 << 20
"""For one download: 50 MB/s over 40 ms, like OpenSSH's client. More costs page faults on short lines."""
_AHEAD_MIN_BYTES = 2 * READ_SIZE_MAX

_T = TypeVar("_T")


class SftpLanding:
    """A folder on an SFTP server. Thread-safe. Nothing is contacted before the first call.

    The path in the account's `landing` is absolute on the server; without one the landing is the folder after log-in.

    Args:
        concurrency: the most concurrent downloads.
        backoff_s: the first pause between attempts to connect or to list.
        outage_s: how long calls fail at once after the server was unavailable.
    """

    walks_folders = True

    def __init__(
        self,
        account: AccountSettings,
        transfer: TransferSettings,
        *,
        concurrency: int,
        backoff_s: float = 0.5,
        outage_s: float = 10.0,
    ) -> None:
        self.concurrency = concurrency
        path = urlsplit(account.landing).path
        self._server = _server(account, stall_timeout_s=transfer.stall_timeout_s)
        self.uri = self._server.uri + path
        try:
            root = unquote(path, errors="strict").encode("utf-8") or b"."
        except UnicodeError as err:
            raise ConfigurationError(
                f"account {account.subaccount_id}: accounts.landing: the path of {self.uri} is not UTF-8"
            ) from err
        self._tree = SftpTree(self.uri, root)
        self._deadline_s = transfer.deadline_s
        self._patience = Patience(transfer.deadline_s)
        self._backoff = Backoff(first_s=backoff_s)
        self._ahead_bytes = max(_AHEAD_MIN_BYTES, min(_AHEAD_BYTES // concurrency, _AHEAD_MAX_BYTES))
        self._key: paramiko.PKey | None = None
        self._key_loaded = threading.Lock()
        self._files = OpenFiles()
        self._pool = SessionPool(
            self._connect,
            uri=self.uri,
            callers_max=concurrency,
            attempts=_ATTEMPTS,
            backoff=self._backoff,
            outage_s=outage_s,
        )

    def list(self, folder: str) -> Listing:
        """Return all files below `folder`, at any depth, ordered by path; an empty listing if the folder does not exist.

        Symbolic links are ignored, and so are names that `places.check_path` refuses or that are not UTF-8.
        """
        return self._listing(folder.rstrip("/"), None)

    def pages(self, folder: str, *, skip: Callable[[str], bool] | None = None) -> Iterator[Listing]:
        """Yield the same as one page, because a lost session restarts it; omit folders for which `skip` is true."""
        yield self._listing(folder.rstrip("/"), skip)

    def uri_of(self, path: str) -> str:
        """Return the full URL of a file, percent-encoded."""
        return self._tree.uri_of(path)

    def existing_folders(self, names: Sequence[str]) -> dict[str, Evidence[str]]:
        """Return for each name whether it is a directory below the root. Symbolic links are not followed."""
        return self._repeatedly(lambda session, deadline: self._tree.existing_folders(session, names, deadline))

    @contextmanager
    def open(self, path: str) -> Iterator[Download]:
        """Open a file for reading. Its deadline begins here."""
        deadline = time.monotonic() + self._deadline_s
        session, handle, described = self._files.opened(lambda: self._begin(path, deadline), deadline=deadline)
        try:
            yield SftpDownload(session, handle, described, deadline=deadline, ahead_bytes=self._ahead_bytes)
        finally:
            session.close_handle(handle)
            self._pool.release(session)
            self._files.closed()

    def stat_many(
        self,
        paths: Iterable[str],
        *,
        confirm_absent: bool = True,  # noqa: ARG002 - each path is requested by itself anyway
    ) -> dict[str, Evidence[LandingObject]]:
        """Return the server's current description of each path; a folder or link is no file. Many share a round trip."""
        unique = list(dict.fromkeys(paths))
        return self._repeatedly(lambda session, deadline: self._tree.stat_all(session, unique, deadline))

    def delete(self, path: str) -> None:
        """Remove the file; its folder stays."""
        self._repeatedly(lambda session, deadline: self._tree.remove(session, path, deadline))

    def check(self) -> None:
        """Check that the root can be listed; only the beginning of the listing is read."""
        self._repeatedly(self._tree.check)

    def sample(self) -> Evidence[LandingObject]:
        """Return the first file in the first folders."""
        return self._repeatedly(self._tree.sample)

    def close(self) -> None:
        """Close the connections; running calls get an error."""
        self._pool.close()

    def _connect(self) -> Connection:
        with self._key_loaded:
            if self._key is None:
                self._key = load_private_key(self._server.settings, account=self._server.account)
        return connect(self._server, key=self._key)

    def _repeatedly(self, work: Callable[[SftpSession, float], _T], *, deadline: float | None = None) -> _T:
        """Return the result of `work`, retried with a new session when one is lost."""
        deadline = time.monotonic() + self._deadline_s if deadline is None else deadline

        def once() -> _T:
            session = self._pool.acquire(wait_s=deadline - time.monotonic())
            try:
                return work(session, deadline)
            except SessionLostError:
                session.retire()
                raise
            finally:
                self._pool.release(session)

        try:
            return retry(
                once,
                retryable=lambda err: isinstance(err, SessionLostError) and time.monotonic() < deadline,
                backoff=self._backoff,
                attempts=_ATTEMPTS,
                sleep=self._pool.pause,
            )
        except SessionLostError as err:
            raise UnavailableError(f"{self.uri}: {err}") from err
        except TransferError as err:
            raise UnavailableError(str(err)) from err

    def _listing(self, folder: str, skip: Callable[[str], bool] | None) -> Listing:
        """Return all files below the folder, with gaps if the server ends each session but its root can be listed."""
        walks: list[SftpWalk] = []

        def work(session: SftpSession, deadline: float) -> None:
            walks.append(SftpWalk(self._tree.folders, session, deadline, skip))
            walks[-1].go_through(folder)

        deadline = self._patience.ends_at()
        try:
            self._repeatedly(work, deadline=deadline)
        except UnavailableError:
            if not walks or not walks[-1].found:
                raise
            self.check()
        finally:
            self._patience.done(deadline)
        return walks[-1].listing(folder)

    def _begin(self, path: str, deadline: float) -> tuple[SftpSession, bytes, LandingObject]:
        """Open the file, and return the session, the file's handle and its description.

        An idle session may have ended unnoticed, so the first lost one is replaced at once.
        """
        replaced = False
        while True:
            session = self._pool.acquire(wait_s=deadline - time.monotonic())
            try:
                handle, described = self._tree.open_file(session, path, deadline)
            except SessionLostError as err:
                session.retire()
                self._pool.release(session)
                if replaced or err.silent:
                    raise SessionLostError(f"{self._tree.uri_of(path)}: {err}", silent=err.silent) from err
                replaced = True
            except BaseException:
                self._pool.release(session)
                raise
            else:
                return session, handle, described


def check_sftp_settings(account: AccountSettings) -> None:
    """Check that known_hosts and the password or private key of an SFTP landing can be read. Contacts nothing.

    Raises:
        ConfigurationError: one of them cannot be read.
    """
    if urlsplit(account.landing).scheme != "sftp":
        return
    server = _server(account, stall_timeout_s=0)
    read_known_hosts(server.settings.known_hosts, host=server.host, port=server.port, account=server.account)
    read_password(server.settings, account=server.account)
    load_private_key(server.settings, account=server.account)


def _server(account: AccountSettings, *, stall_timeout_s: float) -> Server:
    name = account.subaccount_id
    if account.sftp is None:
        raise ConfigurationError(f"account {name}: accounts.landing is sftp://, and there is no [accounts.sftp]")
    return Server.from_landing(account.landing, account=name, settings=account.sftp, stall_timeout_s=stall_timeout_s)

"""The SFTP server that 8x8 pushes to: asyncssh on loopback, which serves a local folder as its `/`.

Paths are relative to an account's landing root, like `Recording.path`.
"""

import asyncio
import hmac
import os
from collections.abc import Collection, Coroutine
from concurrent.futures import Future
from datetime import datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any, Self

from callarchive.simulator.landings import object_bytes, push_due, require
from callarchive.simulator.world import AccountPlan, Recording, World

USER = "demo"
_WAIT_S = 10.0


class SimulatedSftp:
    """An SFTP server of a folder for the user `demo`, within a `with` block, on a free port if that is 0.

    The file `host_key` keeps the server's key for the next start.
    """

    user = USER

    def __init__(
        self,
        folder: Path,
        *,
        password: str,
        host: str = "127.0.0.1",
        port: int = 0,
        host_key: Path | None = None,
    ) -> None:
        self.host = host
        self._folder = folder
        self._password = password
        self._port = port
        self._host_key_file = host_key
        self._key: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._stop: asyncio.Event
        self._acceptor: Any = None
        self._connections: set[Any] = set()
        self._denied: set[str] = set()
        self._closed: set[str] = set()
        self.opened: list[str] = []
        """The paths of all files that were opened, in order."""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Self:
        """Start the server. Raise ConfigurationError if the extra is not installed."""
        require("asyncssh")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._key = self._key or _host_key(self._host_key_file)
        running: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = Thread(target=asyncio.run, args=(self._serve(running),), name="simulated-sftp")
        self._thread.start()
        self._loop = running.result(_WAIT_S)
        try:
            self.restart()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Stop the server and keep the folder. May be called twice."""
        loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def kill(self) -> None:
        """Stop listening and abort all connections, until `restart`."""
        self._run(self._stop_listening())

    def restart(self) -> None:
        """Listen again, on the same port and with the same key."""
        self._run(self._listen())

    def deny(self, account: AccountPlan, path: str) -> None:
        """Deny opening the file at `path`. It is still listed."""
        self._denied.add(f"/{account.root}/{path}")

    def deny_folder(self, account: AccountPlan, path: str) -> None:
        """Deny access to everything in the folder. The folder itself is still listed."""
        self._closed.add(f"/{account.root}/{path}/")

    def allow_all(self) -> None:
        """Remove all denials."""
        self._denied.clear()
        self._closed.clear()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def host_key_line(self) -> str:
        """The server's line for `known_hosts`."""
        public = self._key.export_public_key("openssh").decode().split()
        return f"[{self.host}]:{self._port} {public[0]} {public[1]}"

    def put(self, account: AccountPlan, path: str, data: bytes) -> None:
        """Write the file at `path` below the account's folder, replacing any other."""
        file = self._file(account, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def delete(self, account: AccountPlan, path: str) -> None:
        """Delete the file at `path`, if any."""
        self._file(account, path).unlink(missing_ok=True)

    def paths(self, account: AccountPlan) -> list[str]:
        """Return all paths below the account's folder, sorted."""
        root = self._folder / account.root
        return sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file())

    def fill(self, world: World, *, now: datetime, exclude: Collection[str] = ()) -> list[str]:
        """Write the recordings of SFTP accounts that are ready, except those with these ids, and return their ids."""
        for account in world.accounts:
            if account.landing == "sftp":
                (self._folder / account.root).mkdir(parents=True, exist_ok=True)
        return push_due(world, "sftp", self._push, now=now, exclude=exclude, threads=2)

    def _push(self, account: AccountPlan, recording: Recording) -> None:
        """Write a recording with the time of its upload, so that filling twice changes nothing."""
        self.put(account, recording.path, object_bytes(recording))
        uploaded_at = recording.ready_at or recording.started_at + timedelta(seconds=recording.duration_s)
        os.utime(self._file(account, recording.path), (uploaded_at.timestamp(),) * 2)

    def _file(self, account: AccountPlan, path: str) -> Path:
        return self._folder / account.root / path

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        if self._loop is None:
            coroutine.close()
            raise RuntimeError("the simulated SFTP server is not running: use it in a `with`")
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_WAIT_S)

    async def _serve(self, running: Future[asyncio.AbstractEventLoop]) -> None:
        """Keep the loop running until it is stopped."""
        self._stop = asyncio.Event()
        running.set_result(asyncio.get_running_loop())
        await self._stop.wait()
        await self._stop_listening()

    async def _listen(self) -> None:
        import asyncssh

        if self._acceptor is not None:
            return
        self._acceptor = await asyncssh.listen(
            self.host,
            self._port,
            server_host_keys=[self._key],
            server_factory=_server_class(self._password, self._connections),
            sftp_factory=_files_class(self._folder, self.opened, self._denied, self._closed),
            allow_scp=False,
            reuse_address=True,
        )
        self._port = self._acceptor.get_port()

    async def _stop_listening(self) -> None:
        acceptor, self._acceptor = self._acceptor, None
        if acceptor is None:
            return
        acceptor.close()
        connections = list(self._connections)
        for connection in connections:
            connection.abort()
        await asyncio.gather(*(connection.wait_closed() for connection in connections))
        await acceptor.wait_closed()


def _host_key(file: Path | None) -> Any:
    import asyncssh

    if file is not None and file.is_file():
        return asyncssh.read_private_key(file)
    key = asyncssh.generate_private_key("ssh-ed25519")
    if file is not None:
        file.touch(mode=0o600)
        file.write_bytes(key.export_private_key("openssh"))
    return key


def _server_class(password: str, connections: set[Any]) -> Any:
    """Return the class that asyncssh instantiates for each connection of this server."""
    import asyncssh

    class Server(asyncssh.SSHServer):
        def connection_made(self, conn: Any) -> None:
            self.connection = conn
            connections.add(conn)

        def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
            connections.discard(self.connection)

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, given: str) -> bool:
            return username == USER and hmac.compare_digest(given.encode(), password.encode())

    return Server


def _files_class(folder: Path, opened: list[str], denied: Collection[str], closed: Collection[str]) -> Any:
    import asyncssh

    def allowed(path: bytes) -> bytes:
        if path.decode(errors="replace").startswith(tuple(closed)):
            raise asyncssh.SFTPPermissionDenied("this folder is denied")
        return path

    class Files(asyncssh.SFTPServer):
        def __init__(self, chan: Any) -> None:
            super().__init__(chan, chroot=str(folder).encode())

        def open(self, path: bytes, pflags: int, attrs: Any) -> object:
            opened.append(path.decode(errors="replace"))
            if opened[-1] in denied:
                raise asyncssh.SFTPPermissionDenied("this file is denied")
            return super().open(allowed(path), pflags, attrs)

        def scandir(self, path: bytes) -> Any:
            return super().scandir(allowed(path.rstrip(b"/") + b"/"))

        def stat(self, path: bytes) -> Any:
            return super().stat(allowed(path))

        def lstat(self, path: bytes) -> Any:
            return super().lstat(allowed(path))

    return Files

"""Serve a folder with asyncssh: PORT HOST_KEY FOLDER USER PASSWORD."""

import asyncio
import os
import sys

import asyncssh

port, host_key, folder, user, password = sys.argv[1:]


class Login(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, given: str) -> bool:
        return (username, given) == (user, password)


async def main() -> None:
    await asyncssh.listen(
        "127.0.0.1",
        int(port),
        server_factory=Login,
        server_host_keys=[host_key],
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=os.fsencode(folder)),
    )
    await asyncio.Event().wait()


asyncio.run(main())

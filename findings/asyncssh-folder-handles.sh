#!/usr/bin/env bash
# asyncssh: its SFTP server opens any path as a folder, and reports the end of the folder after a READDIR that failed.
#
# Versions: asyncssh 2.24.1, paramiko 5.1.0. Seen on 2026-11-30.
#
# SSH_FXP_OPENDIR is answered with a handle for a folder, for a file, and for a path that does not exist: the server looks at the path only
# at the first READDIR. That one fails ("No such file", or a failure). The next READDIR on the same handle is answered with
# SSH_FX_EOF, the regular end of a folder. The same happens to a folder whose listing fails halfway: the names read so far are dropped.
#
# Why this matters for an archive of recordings: clients learn from OPENDIR whether a folder of a day exists, send several READDIRs
# without waiting, and retry failed requests. Each of these makes a missing folder an empty one, and an empty day looks complete.
# Workaround: a handle proves nothing; a listing counts only if no READDIR of it failed.
#
# Exit status: 0 the behaviour is as described, 1 it has changed, 2 the test could not run.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

if ! python3 -m venv "$tmp/venv" ||
    ! "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check asyncssh==2.24.1 paramiko==5.1.0; then
    echo "could not install the packages" >&2
    exit 2
fi

status=0
env -i PATH="$PATH" HOME="$tmp" timeout 60 "$tmp/venv/bin/python" - "$tmp/files" <<'PYTHON' || status=$?
import asyncio
import logging
import sys
import threading
from pathlib import Path

import asyncssh
import paramiko
from paramiko.sftp import CMD_HANDLE, CMD_NAME, CMD_OPENDIR, CMD_READDIR

logging.getLogger("paramiko").setLevel(logging.CRITICAL)
files = Path(sys.argv[1])
(files / "2026-11-01").mkdir(parents=True)
(files / "2026-11-01/a.mp3").write_bytes(b"mp3")


class Server(asyncssh.SSHServer):
    """Lets everybody in."""

    def begin_auth(self, username: str) -> bool:
        return False


class Halfway(asyncssh.SFTPServer):
    """Serves `files`; the listing of `broken` fails after ten names, as on a failing disk."""

    def __init__(self, channel: asyncssh.SSHServerChannel) -> None:
        super().__init__(channel, chroot=str(files).encode())

    async def scandir(self, path: bytes):
        if not path.endswith(b"broken"):
            async for entry in super().scandir(path):
                yield entry
            return
        for number in range(10):
            yield asyncssh.SFTPName(b"%d.mp3" % number, attrs=asyncssh.SFTPAttrs(permissions=0o100644, uid=0, gid=0, size=3, nlink=1))
        raise OSError(5, "Input/output error")


loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
key = asyncssh.generate_private_key("ssh-ed25519")


async def listen() -> asyncssh.SSHAcceptor:
    return await asyncssh.listen("127.0.0.1", 0, server_factory=Server, server_host_keys=[key], sftp_factory=Halfway)


port = asyncio.run_coroutine_threadsafe(listen(), loop).result(10).get_port()
transport = paramiko.Transport(("127.0.0.1", port))
transport.start_client(timeout=10)
transport.auth_none("archiver")
client = paramiko.SFTPClient.from_transport(transport)


def readdir(handle: bytes) -> str:
    """Send one READDIR, and return the answer."""
    try:
        kind, message = client._request(CMD_READDIR, handle)
    except EOFError:
        return "end of the folder"
    except OSError as err:
        return f"error ({err.strerror or err})"
    assert kind == CMD_NAME
    return f"{message.get_int()} names"


print(f"asyncssh {asyncssh.__version__}, paramiko {paramiko.__version__}, Python {sys.version.split()[0]}\n")
seen = {}
for path in ("/2026-11-01", "/2026-11-01/a.mp3", "/2026-11-02", "/broken"):
    kind, message = client._request(CMD_OPENDIR, path.encode())
    assert kind == CMD_HANDLE
    handle = message.get_binary()
    seen[path] = [readdir(handle), readdir(handle)]
    print(f"{path:20} OPENDIR: a handle, READDIR: {seen[path][0]}, READDIR: {seen[path][1]}")
there, *others = seen.values()
if there != ["3 names", "end of the folder"]:
    sys.exit(3)
if not all(first.startswith("error") and second == "end of the folder" for first, second in others):
    sys.exit(3)
print("\nAs described: a file, a missing folder and a broken one are opened as folders, and end after a failure.")
PYTHON
case $status in
    0) ;;
    3)
        printf '\nCHANGED: the behaviour is not as described at the top of this script.\n'
        exit 1
        ;;
    *)
        echo "could not be tried: see the error above" >&2
        exit 2
        ;;
esac

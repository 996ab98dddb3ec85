#!/usr/bin/env bash
# Erlang's SFTP server: of four files that are open at once, the last three are one and the same.
#
# Versions: ssh 4.15.2 of Erlang/OTP 25 (Debian's erlang-ssh 1:25.2.3+dfsg-1+deb12u4), paramiko 5.1.0. Seen on 2026-11-30.
#
# A handle names an open file until it is closed. ssh_sftpd looks for a free number from the newest handle to the oldest, in one pass:
# that works for handles in ascending order, and the list is in descending order. The third and every further OPEN or OPENDIR of a
# session gets the handle of the second, without an error; a read from any of them returns the bytes of the file that was opened last.
#
# Why this matters for an archive of recordings: clients open several files and folders at once to hide the distance. Recordings of equal
# length, as of a constant bit rate, are then stored under each other's names with the right sizes, and folders that are open together
# list the entries of the last one, so that sessions seem to have no recording. SFTP has no checksum that would show it. Workaround:
# compare each new handle with those that are open, or open one file at a time in a session.
#
# Needs Erlang with ssh, or apt-get to download Debian's packages of it into the temporary folder.
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
    rm -rf "$tmp"
}
trap cleanup EXIT

escript=$(command -v escript || true)
if [[ -z $escript ]] || ! erl -noshell -eval 'halt(case code:lib_dir(ssh) of {error, _} -> 1; _ -> 0 end).'; then
    mkdir "$tmp/erlang"
    if ! (cd "$tmp/erlang" && apt-get download -qq erlang-{base,ssh,crypto,public-key,asn1} 2>"$tmp/apt" &&
        for package in *.deb; do dpkg -x "$package" .; done); then
        echo "Erlang is not installed, and could not be downloaded" >&2
        exit 2
    fi
    escript=$tmp/erlang/usr/lib/erlang/bin/escript
fi
if ! python3 -m venv "$tmp/venv" || ! "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check paramiko==5.1.0; then
    echo "could not install paramiko" >&2
    exit 2
fi

mkdir "$tmp/system" "$tmp/files"
"$tmp/venv/bin/python" -c "
import paramiko, sys
paramiko.RSAKey.generate(3072).write_private_key_file(sys.argv[1])" "$tmp/system/ssh_host_rsa_key"
for name in one two three four; do
    mkdir "$tmp/files/$name"
    for _ in {1..6}; do printf '%s ' "$name"; done | head -c 12 >"$tmp/files/$name/$name.mp3"
done
cat >"$tmp/server.escript" <<'ERLANG'
%% escript skips the first line
main([Home]) ->
    {ok, _} = application:ensure_all_started(ssh),
    {ok, Daemon} = ssh:daemon({127, 0, 0, 1}, 0, [
        {system_dir, Home ++ "/system"},
        {user_passwords, [{"user", "password"}]},
        {subsystems, [ssh_sftpd:subsystem_spec([{root, Home ++ "/files"}])]}
    ]),
    {ok, Information} = ssh:daemon_info(Daemon),
    {ok, Version} = application:get_key(ssh, vsn),
    io:format("~p Erlang/OTP ~s, ssh ~s~n",
        [proplists:get_value(port, Information), erlang:system_info(otp_release), Version]),
    timer:sleep(60000).
ERLANG
HOME=$tmp "$escript" "$tmp/server.escript" "$tmp" >"$tmp/log" 2>&1 &
server=$!
for _ in {1..150}; do
    if grep -qs "ssh" "$tmp/log"; then break; fi
    sleep 0.2
done
read -r port version <"$tmp/log"
echo "$version"

status=0
"$tmp/venv/bin/python" - "$port" <<'PYTHON' || status=$?
import sys

import paramiko
from paramiko.sftp import CMD_CLOSE, CMD_HANDLE, CMD_NAME, CMD_OPENDIR, CMD_READDIR

print(f"paramiko {paramiko.__version__}\n")
NAMES = ("one", "two", "three", "four")
transport = paramiko.Transport(("127.0.0.1", int(sys.argv[1])))
transport.start_client(timeout=30)
transport.auth_password("user", "password")
session = paramiko.SFTPClient.from_transport(transport)

files = [session.open(f"/{name}/{name}.mp3") for name in NAMES]
handles = [file.handle.decode() for file in files]
read = [file.read().decode() for file in files]
for name, handle, data in zip(NAMES, handles, read, strict=True):
    print(f"/{name}/{name}.mp3: handle {handle!r}, 12 bytes: {data!r}")
transport.close()

transport = paramiko.Transport(("127.0.0.1", int(sys.argv[1])))
transport.start_client(timeout=30)
transport.auth_password("user", "password")
session = paramiko.SFTPClient.from_transport(transport)
opened = []
for name in NAMES:
    kind, reply = session._request(CMD_OPENDIR, f"/{name}")
    assert kind == CMD_HANDLE
    opened.append(reply.get_binary())
listed = []
print()
for name, handle in zip(NAMES, opened, strict=True):
    entries = []
    try:
        kind, reply = session._request(CMD_READDIR, handle)
        assert kind == CMD_NAME
        for _ in range(reply.get_int()):
            entries.append(reply.get_text())
            reply.get_text()
            paramiko.SFTPAttributes._from_msg(reply)
    except EOFError:
        pass
    listed.append([entry for entry in entries if not entry.startswith(".")])
    print(f"/{name}: handle {handle.decode()!r}, lists {', '.join(listed[-1]) or 'nothing'}")
transport.close()

same = (
    handles == ["0", "1", "1", "1"]
    and read[0].startswith("one")
    and all(data == "" or data.startswith("four") for data in read[1:])
    and listed == [["one.mp3"], ["four.mp3"], [], []]
)
if not same:
    sys.exit(3)
print("\nAs described: from the third on, an open file or folder has the handle of the second.")
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

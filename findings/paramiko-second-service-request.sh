#!/usr/bin/env bash
# paramiko: its fallback from password to keyboard-interactive ends the connection at servers other than OpenSSH's.
#
# Versions: paramiko 5.1.0, asyncssh 2.24.1. Seen on 2026-11-30.
#
# The documentation of Transport.auth_password says that a server without the method `password` is asked by `keyboard-interactive` instead.
# Before the second method paramiko sends SSH_MSG_SERVICE_REQUEST once more on the same connection. OpenSSH's server grants it again;
# asyncssh's server ends the connection. paramiko hides that: it raises the first error, "Bad authentication type; allowed types:
# ['keyboard-interactive']", as if the method had not been tried, and the right password counts as refused. auth_interactive on a new
# connection is accepted, and so is auth_password of paramiko.ServiceRequestingTransport, which requests the service once.
#
# Why this matters for an archive of recordings: many SFTP servers ask for the password by keyboard-interactive only. Nothing in the
# error names the cause, ssh(1) and sftp(1) log in with the same password, and each attempt counts as a failed one at the server.
#
# Exit status: 0 the behaviour is as described, 1 it has changed, 2 the test could not run.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

if ! python3 -m venv "$tmp/venv" ||
    ! "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check paramiko==5.1.0 asyncssh==2.24.1; then
    echo "could not install the packages" >&2
    exit 2
fi

status=0
env -i PATH="$PATH" HOME="$tmp" timeout 60 "$tmp/venv/bin/python" - <<'PYTHON' || status=$?
import asyncio
import logging
import sys
import threading

import asyncssh
import paramiko

USER, PASSWORD = "archiver", "right"
logging.getLogger("paramiko").setLevel(logging.CRITICAL)
logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
ended: list[str] = []


class Server(asyncssh.SSHServer):
    """Lets USER in who answers one hidden prompt with PASSWORD."""

    def connection_lost(self, exc: Exception | None) -> None:
        ended.append("" if exc is None else str(exc))

    def password_auth_supported(self) -> bool:
        return False

    def kbdint_auth_supported(self) -> bool:
        return True

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> object:
        return "", "", "", [("Password: ", False)]

    def validate_kbdint_response(self, username: str, responses: list[str]) -> bool:
        return (username, responses) == (USER, [PASSWORD])


loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
key = asyncssh.generate_private_key("ssh-ed25519")


async def listen() -> asyncssh.SSHAcceptor:
    return await asyncssh.listen("127.0.0.1", 0, server_factory=Server, server_host_keys=[key])


port = asyncio.run_coroutine_threadsafe(listen(), loop).result(10).get_port()


def attempt(kind: type[paramiko.Transport], method: str) -> str:
    """Log in on a new connection, and return the outcome."""
    transport = kind(("127.0.0.1", port))
    try:
        transport.start_client(timeout=10)
        if method == "auth_password":
            transport.auth_password(USER, PASSWORD)
        else:
            transport.auth_interactive(USER, lambda title, instructions, prompts: [PASSWORD for _ in prompts])
    except paramiko.SSHException as err:
        return f"{type(err).__name__}: {err}, connection {'open' if transport.is_active() else 'ended'}"
    else:
        return "logged in"
    finally:
        transport.close()


print(f"paramiko {paramiko.__version__}, asyncssh {asyncssh.__version__}, Python {sys.version.split()[0]}\n")
fallback = attempt(paramiko.Transport, "auth_password")
cause = next((text for text in ended if text), "no reason")
seen = {
    "Transport.auth_password": fallback,
    "Transport.auth_interactive": attempt(paramiko.Transport, "auth_interactive"),
    "ServiceRequestingTransport.auth_password": attempt(paramiko.ServiceRequestingTransport, "auth_password"),
}
for name, text in seen.items():
    print(f"{name:42} -> {text}")
print(f"{'why the server ended the first connection':42} -> {cause}")
refused, *others = seen.values()
if not (
    refused.startswith("BadAuthenticationType")
    and "keyboard-interactive" in refused
    and refused.endswith("connection ended")
    and others == ["logged in", "logged in"]
    and "service request" in cause
):
    sys.exit(3)
print("\nAs described: the right password is refused by the fallback, and accepted where the service is requested once.")
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

"""Servers that are no SSH servers, and SSH servers that begin with something else than SFTP."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from callarchive.domain.errors import UnavailableError
from callarchive.settings import SftpSettings
from callarchive.storage.landing.sftp.connection import SessionRefusedError, connect
from callarchive.storage.landing.sftp.credentials import load_private_key
from callarchive.storage.landing.sftp.landing import SftpLanding
from callarchive.storage.landing.sftp.server import Server

OpenLanding = Callable[..., SftpLanding]


@pytest.fixture
def listening() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    """Starts servers that hand each connection to a function, and returns their ports."""
    listeners: list[socket.socket] = []

    def start(serve: Callable[[socket.socket], None]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    serve(connection)

        threading.Thread(target=accept, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def says(text: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.sendall(text)
        connection.recv(1024)

    return serve


def resets(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@pytest.mark.parametrize(
    ("serve", "said"),
    [
        (says(b"220 ProFTPD Server (Acme) [::ffff:10.0.0.1]\r\n"), "is an FTP server: .*ProFTPD.*not SSH|FTP.*ProFTPD"),
        (says(b"220 mx.example.com ESMTP Postfix\r\n"), "is a mail server"),
        (says(b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n<html>"), "is a web server .*400 Bad Request"),
        (says(b"<!DOCTYPE HTML>\n<p>Bad request syntax"), "is a web server"),
        (says(b"\x15\x03\x01\x00\x02\x02\x46"), "is a server that speaks TLS"),
        (says(b"SSH-1.5-old\r\n"), "is an SSH server of protocol 1"),
        (says(b"Exceeded MaxStartups\r\n"), "did not greet as an SSH server but says 'Exceeded MaxStartups'"),
        (says(b"+OK POP3 ready\r\n"), "says '.OK POP3 ready'"),
        (resets, r"closed the connection after 0\.\d s without a word"),
        (lambda connection: None, r"closed the connection after 0\.\d s without a word"),
        (says(b"SSH-2.0-OpenSSH_9.2p1\r\n"), r"did not agree on an SSH connection and the attempt ended after 0\.\d s"),
    ],
)
def test_server_that_is_no_ssh_server_is_named_by_its_first_bytes(
    asyncssh_server: Any, open_landing: OpenLanding, listening: Any, serve: Callable[[socket.socket], None], said: str
) -> None:
    server = asyncssh_server()
    server.known_hosts.write_text(server.known_hosts.read_text().replace(str(server.port), "*"))
    server.port = listening(serve)
    began = time.monotonic()
    with pytest.raises(UnavailableError, match=said) as refused:
        open_landing(server, timeout_s=20).check()
    assert "within 20 s" not in str(refused.value)
    assert time.monotonic() - began < 10


def test_real_web_server_is_recognised(asyncssh_server: Any, open_landing: OpenLanding) -> None:
    server = asyncssh_server()
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as web:
        threading.Thread(target=web.serve_forever, args=(0.05,), daemon=True).start()
        server.port = web.server_port
        with pytest.raises(UnavailableError, match=r"is a web server \(HTTP\), not SSH.*check the host and port"):
            open_landing(server).check()
        web.shutdown()


def test_real_tls_server_is_recognised(
    asyncssh_server: Any, open_landing: OpenLanding, listening: Any, tmp_path: Path
) -> None:
    request = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout key -out cert"
    subprocess.run(request.split(), check=True, capture_output=True, cwd=tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")

    def serve(connection: socket.socket) -> None:
        with pytest.raises(OSError, match="SSL"):
            context.wrap_socket(connection, server_side=True)

    server = asyncssh_server()
    server.port = listening(serve)
    with pytest.raises(UnavailableError, match=r"is a server that speaks TLS|without a word"):
        open_landing(server).check()


@pytest.mark.needs("sshd")
@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "echo Welcome to Acme; exec /usr/lib/openssh/sftp-server",
            "text in its place: 'Welcome to Acme.*login script",
        ),
        ("printf '\\n\\033[32mhello\\033[0m\\n'; exec /usr/lib/openssh/sftp-server", "text in its place: 'hello"),
        ("echo This account is locked; exit 1", "text in its place: 'This account is locked'"),
        ("echo WARNING: Your password has expired.; exit 1", "password of user .* has expired"),
    ],
)
def test_login_script_that_prints_is_named(openssh: Any, command: str, said: str) -> None:
    server = openssh(f'ForceCommand /bin/sh -c "{command}"')
    settings = SftpSettings(known_hosts=server.known_hosts, private_key=server.private_key)
    login = Server("127.0.0.1", server.port, server.user, "acme_sg", settings, stall_timeout_s=5)
    with (
        closing(connect(login, key=load_private_key(settings, account="acme_sg"))) as connection,
        pytest.raises(SessionRefusedError, match=said),
    ):
        connection.open_session()


@pytest.mark.needs("sshd")
def test_login_script_that_prints_to_stderr_only_is_no_fault(openssh: Any, open_landing: OpenLanding) -> None:
    server = openssh('ForceCommand /bin/sh -c "echo hello >&2; exec /usr/lib/openssh/sftp-server"')
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(server.files / "a.mp3")
    assert [item.path for item in open_landing(server).list("").objects] == ["a.mp3"]

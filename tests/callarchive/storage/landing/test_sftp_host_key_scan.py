"""Which host keys a server shows before one is pinned."""

from pathlib import Path
from typing import Any

import asyncssh
import pytest

from callarchive.domain.errors import UnavailableError
from callarchive.settings import SftpSettings
from callarchive.storage.landing.sftp.host_key_scan import shown_keys
from callarchive.storage.landing.sftp.server import Server


def server_at(port: int) -> Server:
    settings = SftpSettings(known_hosts=Path("unused"), private_key=Path("unused"), timeout_s=10)
    return Server.from_landing(f"sftp://u@127.0.0.1:{port}/x", account="a", settings=settings, stall_timeout_s=10)


@pytest.mark.needs("sshd")
def test_every_kind_of_key_is_shown_and_pinned_as_openssh_writes_it(openssh: Any, tmp_path: Path) -> None:
    keys = {name: asyncssh.generate_private_key(name) for name in ("ecdsa-sha2-nistp256", "ssh-rsa")}
    for name, key in keys.items():
        key.write_private_key(tmp_path / name)
        (tmp_path / name).chmod(0o600)
    started = openssh(*(f"HostKey {tmp_path / name}" for name in keys))
    pinned = started.known_hosts.read_text().strip()
    server = server_at(started.port)
    shown = {key.key_type: key for key in shown_keys(server)}
    assert list(shown) == ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"]
    assert pinned.startswith(shown["ssh-ed25519"].known_hosts_line(server).strip())
    for name, key in keys.items():
        assert shown[name].fingerprint == key.get_fingerprint()


def test_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(UnavailableError, match=r"sftp://127\.0\.0\.1:9 cannot be reached: "):
        shown_keys(server_at(9))

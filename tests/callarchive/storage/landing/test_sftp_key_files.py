"""Private keys and known_hosts in forms that other programs write: read, or named with the next step."""

import base64
from collections.abc import Callable
from pathlib import Path

import asyncssh
import paramiko
import pytest

from callarchive.domain.errors import ConfigurationError, HostKeyError
from callarchive.settings import SftpSettings
from callarchive.storage.landing.sftp.credentials import load_private_key
from callarchive.storage.landing.sftp.host_keys import PinnedKeys, read_known_hosts

KEYS = {kind: asyncssh.generate_private_key(kind) for kind in ("ssh-ed25519", "ssh-rsa")}
FORMS = {"ssh-ed25519": "openssh", "ssh-rsa": "pkcs1-pem"}
Change = Callable[[bytes], bytes]


def load(file: Path) -> paramiko.PKey | None:
    settings = SftpSettings.model_validate({"known_hosts": "known_hosts", "private_key": file})
    return load_private_key(settings, account="acme_sg")


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.rstrip(b"\n"),
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: b"\n" + data + b"\n\n",
    ],
)
def test_private_key_with_other_line_ends_is_read(tmp_path: Path, kind: str, change: Change) -> None:
    file = tmp_path / "key"
    file.write_bytes(change(KEYS[kind].export_private_key(FORMS[kind])))
    loaded = load(file)
    assert loaded is not None
    assert loaded.get_base64() == KEYS[kind].export_public_key().decode().split()[1]


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.replace(b"\n", b"\\n"), r"two characters \\n in place of line ends: .*printf '%b'"),
        (lambda data: b'"' + data.replace(b"\n", b"\\r\\n") + b'"', r"two characters \\n in place of line ends"),
        (lambda data: data.decode().encode("utf-16"), "UTF-16 text: save it as"),
        (lambda data: data.decode().encode("utf-16-le"), "UTF-16 text: save it as"),
        (base64.b64encode, "a key in base64: decode it with base64 -d"),
    ],
)
def test_private_key_that_was_rewritten_is_named(tmp_path: Path, kind: str, change: Change, said: str) -> None:
    file = tmp_path / "key"
    file.write_bytes(change(KEYS[kind].export_private_key(FORMS[kind])))
    with pytest.raises(ConfigurationError, match=said) as refused:
        load(file)
    assert str(refused.value).startswith(f"account acme_sg: accounts.sftp.private_key: {file} cannot be read: it ")


@pytest.mark.parametrize("form", ["openssh", "rfc4716", "pkcs8-pem"])
@pytest.mark.parametrize("kind", KEYS)
def test_public_key_in_place_of_the_private_one_is_named(tmp_path: Path, kind: str, form: str) -> None:
    (tmp_path / "key.pub").write_bytes(KEYS[kind].export_public_key(form))
    with pytest.raises(ConfigurationError, match=r"it is the public key \(\.pub\): name the private key"):
        load(tmp_path / "key.pub")


@pytest.mark.parametrize("version", [2, 3])
def test_putty_key_is_named(tmp_path: Path, version: int) -> None:
    (tmp_path / "key.ppk").write_text(f"PuTTY-User-Key-File-{version}: ssh-ed25519\r\nEncryption: none\r\n")
    with pytest.raises(ConfigurationError, match=r"a PuTTY key \(\.ppk\): convert it with puttygen"):
        load(tmp_path / "key.ppk")


LINE = f"sftp.example.com {KEYS['ssh-ed25519'].export_public_key().decode().strip()}\n"


def pinned_in(file: Path, content: bytes) -> PinnedKeys:
    file.write_bytes(content)
    return read_known_hosts(file, host="sftp.example.com", port=22, account="acme_sg")


def verify(pinned: PinnedKeys) -> None:
    pinned.verify("ssh-ed25519", KEYS["ssh-ed25519"].public_data)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + LINE.encode(),
        LINE.replace("\n", "\r\n").encode(),
        LINE.rstrip().encode(),
        b"# M\xfcller's server\n" + LINE.encode(),
    ],
    ids=["mark", "carriage returns", "no line end", "latin-1"],
)
def test_known_hosts_with_another_editors_marks_is_read(tmp_path: Path, content: bytes) -> None:
    verify(pinned_in(tmp_path / "known_hosts", content))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_known_hosts_in_utf_16_is_named(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is UTF-16 text.*PowerShell.*ssh-keyscan -p 22 sftp\.example"):
        pinned_in(tmp_path / "known_hosts", LINE.encode(encoding))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("# nothing\n@cert-authority *.example.com " + LINE.partition(" ")[2], "line 2 is of a @cert-authority"),
        (LINE.partition(" ")[2], "line 1 begins with the key: the host's name"),
        (LINE[:70] + "\n", "the key in line 1 is cut or damaged"),
        (LINE[:60] + "\n" + LINE[60:], "the key in line 1 is cut or damaged"),
        ("@cert-authority other.example.com " + LINE.partition(" ")[2], "known_hosts holds no key of that server. No"),
    ],
    ids=["authority", "no host", "cut", "wrapped", "other authority"],
)
def test_line_that_pins_nothing_is_explained(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(HostKeyError, match=said):
        verify(pinned_in(tmp_path / "known_hosts", content.encode()))

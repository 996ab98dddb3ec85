"""Host keys and log-in of the SFTP landing."""

import base64
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest

from callarchive.domain.errors import AccessDeniedError, ConfigurationError, HostKeyError
from callarchive.settings import SftpSettings
from callarchive.storage.landing.sftp.credentials import load_private_key
from callarchive.storage.landing.sftp.host_keys import fingerprint, read_known_hosts
from callarchive.storage.landing.sftp.landing import SftpLanding
from callarchive.storage.landing.sftp.server import Server

OpenLanding = Callable[..., SftpLanding]

PASSWORD = "correct horse battery staple"


def new_key() -> paramiko.PKey:
    return paramiko.ECDSAKey.generate()


def line(key: paramiko.PKey, hosts: str) -> str:
    return f"{hosts} {key.get_name()} {key.get_base64()}\n"


def test_unknown_host_key_is_refused_before_any_log_in(faulty: Any, open_landing: OpenLanding) -> None:
    faulty.known_hosts.write_text("# nothing is pinned yet\n\n")
    with pytest.raises(HostKeyError) as refused:
        open_landing(faulty).check()
    assert faulty.log_ins == []
    public = asyncssh.import_public_key(f"{faulty.host_key.get_name()} {faulty.host_key.get_base64()}")
    assert public.get_fingerprint() in str(refused.value)
    assert "ecdsa-sha2-nistp256" in str(refused.value)
    assert str(refused.value).startswith("account acme_sg: ")
    assert f"ssh-keyscan -p {faulty.port} 127.0.0.1 >> {faulty.known_hosts}" in str(refused.value)
    assert len(faulty.transports) == 1


def test_host_key_that_changes_between_two_connections_is_refused(faulty: Any, open_landing: OpenLanding) -> None:
    landing = open_landing(faulty)
    landing.check()
    assert faulty.log_ins == [("password", "pushuser")]
    faulty.host_key = new_key()
    faulty.hang_up()
    for _ in range(2):
        with pytest.raises(HostKeyError, match="none of those pinned") as refused:
            landing.check()
    assert f"ssh-keygen -R '[127.0.0.1]:{faulty.port}'" in str(refused.value)
    assert faulty.log_ins == [("password", "pushuser")]


def test_new_key_is_accepted_once_it_is_pinned(faulty: Any, open_landing: OpenLanding) -> None:
    faulty.host_key = new_key()
    landing = open_landing(faulty)
    with pytest.raises(HostKeyError):
        landing.check()
    faulty.pin()
    landing.check()


def test_revoked_host_key_is_refused_even_if_it_is_pinned(faulty: Any, open_landing: OpenLanding) -> None:
    with faulty.known_hosts.open("a") as file:
        file.write("@revoked " + line(faulty.host_key, "*"))
    with pytest.raises(HostKeyError, match="@revoked"):
        open_landing(faulty).check()
    assert faulty.log_ins == []


@pytest.mark.parametrize("pinned", ["ssh-rsa", "ecdsa-sha2-nistp256", "ssh-ed25519"])
def test_server_with_several_keys_is_asked_for_the_pinned_one(
    asyncssh_server: Any, open_landing: OpenLanding, pinned: str
) -> None:
    server = asyncssh_server(key_types=("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"))
    lines = server.known_hosts.read_text().splitlines(keepends=True)
    server.known_hosts.write_text("".join(text for text in lines if f" {pinned} " in text))
    open_landing(server).check()


@pytest.mark.parametrize("write", [None, lambda file: file.mkdir(), lambda file: file.write_bytes(b"\xff\xfe")])
def test_unreadable_known_hosts_is_a_configuration_error(
    faulty: Any, open_landing: OpenLanding, tmp_path: Path, write: Callable[[Path], None] | None
) -> None:
    faulty.known_hosts = tmp_path / "other_hosts"
    if write is not None:
        write(faulty.known_hosts)
    with pytest.raises(
        ConfigurationError, match=r"^account acme_sg: accounts\.sftp\.known_hosts: .*other_hosts cannot be read"
    ):
        open_landing(faulty).check()
    assert faulty.transports == []


KNOWN, OTHER = new_key(), new_key()


@pytest.mark.parametrize(
    ("lines", "believed"),
    [
        (line(KNOWN, "sftp.example.com"), True),
        (line(KNOWN, "SFTP.Example.COM,10.0.0.1"), True),
        (line(KNOWN, "other.example.com"), False),
        (line(OTHER, "sftp.example.com"), False),
        (line(OTHER, "sftp.example.com") + line(KNOWN, "sftp.example.com"), True),
        ("# comment\n\n  \n" + line(KNOWN, "sftp.example.com").strip() + " owner@desk\n", True),
        (line(KNOWN, "sftp.example.com").replace(" ", "\t"), True),
        (line(KNOWN, "*.example.com"), True),
        (line(KNOWN, "sft?.example.com"), True),
        (line(KNOWN, "*.example.com,!sftp.example.com"), False),
        (line(KNOWN, "[sftp.example.com]:2222"), False),
        (line(KNOWN, paramiko.HostKeys.hash_host("sftp.example.com")), True),
        (line(KNOWN, paramiko.HostKeys.hash_host("other.example.com")), False),
        ("@cert-authority " + line(KNOWN, "sftp.example.com"), False),
        ("@revoked " + line(KNOWN, "elsewhere") + line(KNOWN, "sftp.example.com"), False),
        ("@unheard-of " + line(KNOWN, "sftp.example.com"), False),
        (line(KNOWN, "sftp.example.com").replace("nistp256 ", "nistp384 "), False),
        ("sftp.example.com ecdsa-sha2-nistp256 !!!\n" + line(KNOWN, "sftp.example.com"), True),
        ("sftp.example.com 1024 35 1234567890\nnonsense\n|1|x|y ssh-rsa AAAA\n", False),
    ],
)
def test_line_of_known_hosts_pins_as_ssh_reads_it(tmp_path: Path, lines: str, believed: bool) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(lines)
    pinned = read_known_hosts(file, host="sftp.example.com", port=22, account="acme_sg")
    if believed:
        pinned.verify(KNOWN.get_name(), KNOWN.asbytes())
    else:
        with pytest.raises(HostKeyError):
            pinned.verify(KNOWN.get_name(), KNOWN.asbytes())


def test_line_with_a_port_comes_before_one_without(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(line(KNOWN, "sftp.example.com"))
    read_known_hosts(file, host="sftp.example.com", port=2222, account="acme_sg").verify(
        KNOWN.get_name(), KNOWN.asbytes()
    )
    file.write_text(
        line(KNOWN, "sftp.example.com") + line(OTHER, paramiko.HostKeys.hash_host("[sftp.example.com]:2222"))
    )
    with pytest.raises(HostKeyError):
        read_known_hosts(file, host="sftp.example.com", port=2222, account="acme_sg").verify(
            KNOWN.get_name(), KNOWN.asbytes()
        )


def test_invalid_revocation_is_not_ignored(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(line(KNOWN, "sftp.example.com") + "@revoked * ssh-rsa AAAA\n")
    with pytest.raises(ConfigurationError, match="line 2"):
        read_known_hosts(file, host="sftp.example.com", port=22, account="acme_sg")


def test_fingerprint_is_the_one_that_ssh_prints() -> None:
    public = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()
    blob = base64.b64decode(public.export_public_key().split()[1])
    assert fingerprint(blob) == public.get_fingerprint()


def test_wrong_password_is_refused_and_not_in_the_message(
    server: Any, open_landing: OpenLanding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRONG", "hunter2-is-wrong")
    landing = open_landing(server, password={"env": "WRONG"}, private_key=None)
    with pytest.raises(AccessDeniedError) as refused:
        landing.check()
    assert "hunter2-is-wrong" not in str(refused.value)
    assert repr(server.user) in str(refused.value)
    assert str(refused.value).startswith("account acme_sg: ")


def test_wrong_password_is_tried_once_for_all_calls_of_the_next_seconds(
    faulty: Any, open_landing: OpenLanding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRONG", "hunter2-is-wrong")
    landing = open_landing(faulty, password={"env": "WRONG"}, private_key=None)
    together = threading.Barrier(8)

    def check(_: int) -> bool:
        together.wait(5)
        with pytest.raises(AccessDeniedError):
            landing.check()
        return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(check, range(8)))
    with pytest.raises(AccessDeniedError):
        landing.check()
    assert faulty.log_ins == [("password", "pushuser")]


@pytest.mark.parametrize(("questions", "let_in"), [(("Password: ",), True), (("Password: ", "Code: "), False)])
def test_single_question_is_answered_with_the_password(
    faulty: Any, open_landing: OpenLanding, questions: tuple[str, ...], let_in: bool
) -> None:
    faulty.questions = questions
    landing = open_landing(faulty)
    if let_in:
        landing.check()
    else:
        with pytest.raises(AccessDeniedError):
            landing.check()


def test_missing_password_is_detected_before_anything_is_contacted(faulty: Any, open_landing: OpenLanding) -> None:
    with pytest.raises(ConfigurationError, match=r"^account acme_sg: accounts\.sftp\.password: .*NOT_SET_ANYWHERE"):
        open_landing(faulty, password={"env": "NOT_SET_ANYWHERE"}).check()
    assert faulty.transports == []


def test_log_has_no_password_and_nothing_at_info(
    faulty: Any, open_landing: OpenLanding, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="callarchive.storage.landing.sftp.landing.wire")
    open_landing(faulty).check()
    loud = [record for record in caplog.records if record.name.startswith("callarchive")]
    assert loud
    assert not any(PASSWORD in record.getMessage() for record in caplog.records)
    caplog.clear()
    logging.getLogger("callarchive.storage.landing.sftp.landing.wire").setLevel(logging.NOTSET)
    caplog.set_level(logging.INFO)
    open_landing(faulty).check()
    assert not [record for record in caplog.records if not record.name.startswith("tests.")]


def settings_for(key: Path, **more: Any) -> SftpSettings:
    return SftpSettings.model_validate({"known_hosts": "known_hosts", "private_key": key, **more})


@pytest.mark.parametrize("form", ["openssh", "pkcs8-pem", "pkcs1-pem"])
@pytest.mark.parametrize("kind", ["ssh-rsa", "ecdsa-sha2-nistp384", "ssh-ed25519"])
@pytest.mark.parametrize("passphrase", [None, "sesame"])
def test_private_key_of_every_kind_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, form: str, passphrase: str | None
) -> None:
    if (kind, form) == ("ssh-ed25519", "pkcs1-pem"):
        return  # there is no such form
    key = asyncssh.generate_private_key(kind)
    # Few rounds make an OpenSSH key quick to open; the other forms have no such setting.
    key.write_private_key(tmp_path / "key", form, passphrase=passphrase, rounds=1, ignore_few_rounds=True)
    monkeypatch.setenv("PASSPHRASE", passphrase or "not needed")
    loaded = load_private_key(settings_for(tmp_path / "key", passphrase={"env": "PASSPHRASE"}), account="acme_sg")
    assert loaded is not None
    assert loaded.get_base64() == key.export_public_key().decode().split()[1]
    if passphrase is None:
        assert load_private_key(settings_for(tmp_path / "key"), account="acme_sg") == loaded
        return
    with pytest.raises(ConfigurationError, match=r"^account acme_sg: .* is encrypted"):
        load_private_key(settings_for(tmp_path / "key"), account="acme_sg")
    monkeypatch.setenv("PASSPHRASE", f'"{passphrase}"')
    with pytest.raises(ConfigurationError, match=r"wrong accounts\.sftp\.passphrase, .* quotation mark"):
        load_private_key(settings_for(tmp_path / "key", passphrase={"env": "PASSPHRASE"}), account="acme_sg")
    monkeypatch.setenv("PASSPHRASE", "wrong")
    with pytest.raises(ConfigurationError, match=r"^account acme_sg: .* wrong accounts\.sftp\.passphrase"):
        load_private_key(settings_for(tmp_path / "key", passphrase={"env": "PASSPHRASE"}), account="acme_sg")


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"])
def test_invalid_private_key_is_a_configuration_error(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"^account acme_sg: accounts\.sftp\.private_key: "):
        load_private_key(settings_for(tmp_path / "key"), account="acme_sg")


def test_private_key_of_another_user_is_refused(server: Any, open_landing: OpenLanding, tmp_path: Path) -> None:
    asyncssh.generate_private_key("ecdsa-sha2-nistp256").write_private_key(tmp_path / "stranger")
    with pytest.raises(AccessDeniedError):
        open_landing(server, private_key=tmp_path / "stranger", password=None).check()


@pytest.mark.parametrize(
    ("landing", "host", "port", "user", "uri"),
    [
        ("sftp://push@sftp.example.com", "sftp.example.com", 22, "push", "sftp://sftp.example.com"),
        ("sftp://acme%40push@10.0.0.1:2022/a", "10.0.0.1", 2022, "acme@push", "sftp://10.0.0.1:2022"),
        ("sftp://push@[::1]:22/a", "::1", 22, "push", "sftp://[::1]"),
    ],
)
def test_server_is_read_from_the_landing(landing: str, host: str, port: int, user: str, uri: str) -> None:
    settings = SftpSettings.model_validate({"known_hosts": "known_hosts", "password": {"env": "X"}})
    server = Server.from_landing(landing, account="acme_sg", settings=settings, stall_timeout_s=1)
    assert (server.host, server.port, server.user, server.uri) == (host, port, user, uri)

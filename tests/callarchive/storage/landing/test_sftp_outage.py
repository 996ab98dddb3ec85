"""An unusable server costs a handful of log-ins, however many threads use it."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from callarchive.domain.errors import AccessDeniedError, ArchiveError, ConfigurationError, UnavailableError
from callarchive.settings import AccountSettings, SftpSettings
from callarchive.storage.landing.sftp.connection import Connection, SessionRefusedError, connect
from callarchive.storage.landing.sftp.landing import SftpLanding, check_sftp_settings
from callarchive.storage.landing.sftp.server import Server

OpenLanding = Callable[..., SftpLanding]

THREADS = 16
ATTEMPTS = 4
OFFERS_NO_SFTP = (
    "the server let us in but offers no SFTP"
    "( .*: is the sftp subsystem on, and may user '.*' use it|: it sends text in its place: 'This account .*user '.*' use SFTP)"
)


def besiege(landing: SftpLanding) -> list[ArchiveError]:
    """The errors of many threads that each want to read a file, again and again, as a day's transfers do."""
    together = threading.Barrier(THREADS)

    def insist(number: int) -> list[ArchiveError]:
        errors: list[ArchiveError] = []
        together.wait(5)
        for _ in range(ATTEMPTS):
            for work in (lambda: landing.open(f"{number}.mp3").__enter__(), landing.check):
                try:
                    work()
                except ArchiveError as err:
                    errors.append(err)
        return errors

    with ThreadPoolExecutor(THREADS) as threads:
        return [err for errors in threads.map(insist, range(THREADS)) for err in errors]


@pytest.mark.needs("sshd")
@pytest.mark.parametrize(
    ("subsystem", "options"),
    [
        (None, ()),
        ("/bin/false", ()),
        ("internal-sftp", ("ForceCommand /bin/echo This account is currently not available.",)),
    ],
)
def test_openssh_without_sftp_costs_three_log_ins_and_is_reported(
    openssh: Any, open_landing: OpenLanding, subsystem: str | None, options: tuple[str, ...]
) -> None:
    server = openssh(*options, subsystem=subsystem)
    errors = besiege(open_landing(server, concurrency=THREADS))
    assert len(errors) == THREADS * ATTEMPTS * 2
    assert {type(err) for err in errors} <= {UnavailableError, SessionRefusedError}
    for err in errors:
        assert pytest.raises(UnavailableError, match=OFFERS_NO_SFTP).matches(err)
    assert server.log.read_text().count("Accepted publickey") == 3


@pytest.fixture
def slammed() -> Iterator[tuple[int, list[None]]]:
    """A port where every connection is closed at once, and the list of them."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[None] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            seen.append(None)
            connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield int(listener.getsockname()[1]), seen
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def test_server_that_hangs_up_at_once_is_tried_three_times_for_all_threads(
    slammed: tuple[int, list[None]], faulty: Any, open_landing: OpenLanding
) -> None:
    faulty.port, seen = slammed
    errors = besiege(open_landing(faulty, concurrency=THREADS))
    assert len(errors) == THREADS * ATTEMPTS * 2
    assert len({str(err) for err in errors}) == 1
    assert len(seen) == 3


def test_unusable_server_is_left_alone_for_a_while_and_then_tried_again(faulty: Any, open_landing: OpenLanding) -> None:
    faulty.subsystem_refused = True
    patient, hasty = open_landing(faulty), open_landing(faulty, outage_s=0.2)
    for landing in (patient, hasty):
        with pytest.raises(UnavailableError, match=OFFERS_NO_SFTP):
            landing.check()
    assert len(faulty.transports) == 6
    faulty.subsystem_refused = False
    with pytest.raises(UnavailableError, match=OFFERS_NO_SFTP):
        patient.check()
    assert len(faulty.transports) == 6
    time.sleep(0.25)
    hasty.check()
    assert len(faulty.transports) == 7


def test_outage_that_is_over_is_forgotten(faulty: Any, open_landing: OpenLanding) -> None:
    faulty.subsystem_refused = True
    landing = open_landing(faulty, outage_s=0.2)
    with pytest.raises(UnavailableError):
        landing.check()
    faulty.subsystem_refused = False
    time.sleep(0.25)
    for _ in range(2):
        landing.check()
        faulty.hang_up()
    assert len(faulty.transports) == 5


def test_first_session_that_fails_once_is_tried_on_another_connection(faulty: Any, open_landing: OpenLanding) -> None:
    faulty.subsystem_refused = True
    landing = open_landing(faulty)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(landing.check)
        while not faulty.log_ins:
            time.sleep(0.001)
        faulty.subsystem_refused = False
        waiting.result(5)
    assert len(faulty.transports) <= 3


def connection_to(faulty: Any, monkeypatch: pytest.MonkeyPatch) -> Connection:
    monkeypatch.setenv("SFTP_PASSWORD", "correct horse battery staple")
    settings = SftpSettings.model_validate({"known_hosts": faulty.known_hosts, "password": {"env": "SFTP_PASSWORD"}})
    landing = f"sftp://{faulty.user}@127.0.0.1:{faulty.port}"
    server = Server.from_landing(landing, account="acme_sg", settings=settings, stall_timeout_s=5)
    return connect(server, key=None)


def test_session_refused_after_another_was_opened_is_not_reported_as_no_sftp(
    faulty: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connection_to(faulty, monkeypatch)
    connection.open_session()
    faulty.subsystem_refused = True
    with pytest.raises(SessionRefusedError, match="did not start its sftp subsystem"):
        connection.open_session()
    connection.close()


@pytest.mark.parametrize("fault", ["subsystem_refused", "cuts_off_log_ins"])
def test_refusal_of_more_sessions_does_not_end_running_ones(
    faulty: Any, open_landing: OpenLanding, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    (faulty.files / "file.mp3").write_bytes(b"x" * 1000)
    faulty.sessions_max = 1
    monkeypatch.setattr("callarchive.storage.landing.sftp.session_pool.CALLERS_PER_SESSION", 1)
    landing = open_landing(faulty, concurrency=2)
    with landing.open("file.mp3") as download:
        setattr(faulty, fault, True)
        landing.check()
        assert b"".join(download) == b"x" * 1000
    landing.check()
    assert len(faulty.log_ins) == 2


@pytest.mark.needs("sshd")
@pytest.mark.parametrize("means", ["password", "private_key"])
def test_openssh_that_hangs_up_on_a_wrong_log_in_is_tried_once(
    openssh: Any, open_landing: OpenLanding, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, means: str
) -> None:
    server = openssh("MaxAuthTries 1", "PasswordAuthentication yes", "LogLevel VERBOSE")
    monkeypatch.setenv("WRONG", "hunter2-is-wrong")
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "stranger")
    wrong: dict[str, Any] = {"private_key": None, "password": {"env": "WRONG"}}
    if means == "private_key":
        wrong = {"private_key": tmp_path / "stranger"}
    errors = besiege(open_landing(server, concurrency=THREADS, **wrong))
    assert len(errors) == THREADS * ATTEMPTS * 2
    for err in errors:
        assert str(err).startswith("account acme_sg: ")
        assert "the log-in may have been refused" in str(err)
        assert f"accounts.sftp.{means}" in str(err)
    method = {"password": "password", "private_key": "publickey"}[means]
    assert server.log.read_text().count(f"Failed {method} for {server.user}") == 1


@pytest.mark.needs("sshd")
def test_refused_log_in_at_openssh_is_access_denied(openssh: Any, open_landing: OpenLanding, tmp_path: Path) -> None:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "stranger")
    with pytest.raises(AccessDeniedError, match=r"^account acme_sg: .* accounts\.sftp\.private_key$"):
        open_landing(openssh(), private_key=tmp_path / "stranger").check()


# Settings


def account_with(*, landing: str = "sftp://push@sftp.example.com", **sftp: Any) -> AccountSettings:
    return AccountSettings.model_validate(
        {
            "subaccount_id": "acme_sg",
            "api_key": {"env": "ACME_SG_API_KEY"},
            "landing": landing,
            "session_sources": [{"kind": "log_export"}],
            **({"sftp": sftp} if sftp else {}),
        }
    )


@pytest.fixture
def encrypted(tmp_path: Path) -> dict[str, Any]:
    """A private key with the passphrase "sesame", and an empty known_hosts."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(tmp_path / "key", passphrase="sesame", rounds=1, ignore_few_rounds=True)
    (tmp_path / "known_hosts").touch()
    return {"private_key": tmp_path / "key", "known_hosts": tmp_path / "known_hosts"}


def test_settings_that_can_be_read_pass(encrypted: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "sesame")
    check_sftp_settings(account_with(**encrypted, passphrase={"env": "SECRET"}))
    check_sftp_settings(account_with(known_hosts=encrypted["known_hosts"], password={"env": "SECRET"}))
    check_sftp_settings(account_with(landing="s3://bucket/prefix"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"passphrase": {"env": "WRONG"}}, r"accounts\.sftp\.private_key: .*wrong accounts\.sftp\.passphrase"),
        ({"passphrase": {"env": "UNSET"}}, r"accounts\.sftp\.passphrase: .* UNSET is not set"),
        ({}, r"accounts\.sftp\.private_key: .* is encrypted: name accounts\.sftp\.passphrase"),
        ({"private_key": Path("/none")}, r"accounts\.sftp\.private_key: /none cannot be read: No such file"),
        ({"private_key": None, "password": {"env": "UNSET"}}, r"accounts\.sftp\.password: .* UNSET is not set"),
        ({"known_hosts": Path("/none")}, r"accounts\.sftp\.known_hosts: /none cannot be read"),
    ],
)
def test_setting_that_cannot_be_used_is_named_with_its_account(
    encrypted: dict[str, Any], monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], said: str
) -> None:
    monkeypatch.setenv("WRONG", "open-barley")
    with pytest.raises(ConfigurationError, match=rf"^account acme_sg: {said}") as refused:
        check_sftp_settings(account_with(**{**encrypted, **wrong}))
    assert "open-barley" not in str(refused.value)

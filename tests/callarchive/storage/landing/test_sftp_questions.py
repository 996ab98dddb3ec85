"""What servers ask for beside a password: by keyboard-interactive, after an expired password, as a second step."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import asyncssh
import pytest

from callarchive.domain.errors import AccessDeniedError
from callarchive.storage.landing.sftp.landing import SftpLanding

OpenLanding = Callable[..., SftpLanding]
PASSWORD = "correct horse battery staple"
USER = "pushuser"
Prompts = Sequence[tuple[str, bool]]


class Asking(asyncssh.SSHServer):
    """Lets USER in who answers every round of prompts with PASSWORD.

    Attributes:
        rounds: prompts, one round after the other.
        instructions: of each round.
        by_password: whether the method `password` is offered; it refuses everything.
        answers: what was answered.
    """

    rounds: ClassVar[Sequence[Prompts]] = ([("Password: ", False)],)
    instructions: ClassVar[str] = ""
    by_password: ClassVar[bool] = False
    answers: ClassVar[list[str]] = []

    def __init__(self, connections: list[Any]) -> None:
        self.connections = connections
        self.done = 0

    def connection_made(self, connection: Any) -> None:
        self.connections.append(connection)

    def password_auth_supported(self) -> bool:
        return self.by_password

    def validate_password(self, username: str, password: str) -> bool:
        return False

    def kbdint_auth_supported(self) -> bool:
        return True

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
        return "", self.instructions, "", self.rounds[0]

    def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> Any:
        self.answers.extend(responses)
        if any(given != PASSWORD for given in responses):
            return False
        self.done += 1
        return True if self.done == len(self.rounds) else ("", self.instructions, "", self.rounds[self.done])


def asking(*rounds: Prompts, instructions: str = "", by_password: bool = False) -> type[Asking]:
    return type(
        "Asks", (Asking,), {"rounds": rounds, "instructions": instructions, "by_password": by_password, "answers": []}
    )


@pytest.mark.parametrize("by_password", [False, True])
@pytest.mark.parametrize(
    "rounds",
    [
        [[("Password: ", False)]],
        [[("Password:", True)]],
        [[("(pushuser@sftp.example.com) Password: ", False)]],
        [[("Kennwort für pushuser: ", False)]],
        [[("Пароль: ", False)]],
        [[("", False)]],
        [[], [("Password: ", False)], []],
    ],
)
def test_password_is_the_answer_to_the_only_question(
    asyncssh_server: Any, open_landing: OpenLanding, rounds: list[Prompts], by_password: bool
) -> None:
    gate = asking(*rounds, by_password=by_password)
    server = asyncssh_server(gate=gate)
    (server.files / "a.mp3").write_bytes(b"mp3")
    landing = open_landing(server)
    assert [item.path for item in landing.list("").objects] == ["a.mp3"]
    assert gate.answers == [PASSWORD]


@pytest.mark.parametrize(
    ("rounds", "said", "answers"),
    [
        (
            [[("Password: ", False), ("One-time code: ", False)]],
            "asks 'Password:', 'One-time code:', more than",
            [],
        ),
        ([[("One-time password: ", False)]], "asks 'One-time password:', which is not the password", []),
        ([[("Verification code: ", False)]], "asks 'Verification code:', which is not the password", []),
        ([[("PASSCODE:", True)]], "asks 'PASSCODE:', which is not the password", []),
        ([[("Mother's maiden name? ", False)]], "asks .Mother's maiden name", []),
        (
            [[("Password: ", False)], [("Duo passcode: ", True)]],
            "accepts this password and then asks .Duo passcode",
            [PASSWORD],
        ),
    ],
)
def test_other_question_is_named_and_not_answered(
    asyncssh_server: Any, open_landing: OpenLanding, rounds: list[Prompts], said: str, answers: list[str]
) -> None:
    gate = asking(*rounds)
    with pytest.raises(AccessDeniedError, match=said) as refused:
        open_landing(asyncssh_server(gate=gate)).check()
    assert gate.answers == answers
    assert "accounts.sftp.private_key" in str(refused.value)
    assert str(refused.value).startswith("account acme_sg: sftp://127.0.0.1:")


@pytest.mark.parametrize("by_password", [False, True])
def test_wrong_password_is_refused_by_every_method(
    asyncssh_server: Any, open_landing: OpenLanding, monkeypatch: pytest.MonkeyPatch, by_password: bool
) -> None:
    monkeypatch.setenv("WRONG", "hunter2-is-wrong")
    gate = asking([("Password: ", False)], by_password=by_password)
    with pytest.raises(AccessDeniedError, match="does not accept user 'pushuser' with this password") as refused:
        open_landing(asyncssh_server(gate=gate), password={"env": "WRONG"}).check()
    assert gate.answers == ["hunter2-is-wrong"]
    assert "hunter2" not in str(refused.value)


def test_question_that_is_repeated_is_a_refusal(asyncssh_server: Any, open_landing: OpenLanding) -> None:
    gate = asking([("Password: ", False)], [("Password: ", False)])
    with pytest.raises(AccessDeniedError, match=r"does not accept .* prompts again: 'Password:'"):
        open_landing(asyncssh_server(gate=gate)).check()


class Expired(Asking):
    """Answers a password with the request for a new one."""

    by_password = True

    def validate_password(self, username: str, password: str) -> bool:
        raise asyncssh.PasswordChangeRequired("Your password has expired")


@pytest.mark.parametrize(
    "gate",
    [
        Expired,
        asking([("Password: ", False)], [("New password: ", False), ("Retype new password: ", False)]),
        asking([("Password: ", False)], [("Current Password: ", False)], instructions="You must change your password."),
    ],
)
def test_expired_password_is_named_as_such(asyncssh_server: Any, open_landing: OpenLanding, gate: type[Asking]) -> None:
    with pytest.raises(
        AccessDeniedError, match=r"password of user 'pushuser' has expired: .* asks for a new one"
    ) as err:
        open_landing(asyncssh_server(gate=gate)).check()
    assert "accounts.sftp.password" in str(err.value)


@pytest.mark.parametrize(
    ("quote", "said"), [('"', "begins and ends with a quotation mark"), ("'", "quotation mark"), (" ", "white space")]
)
def test_quotes_around_a_refused_password_are_pointed_out(
    asyncssh_server: Any, open_landing: OpenLanding, monkeypatch: pytest.MonkeyPatch, quote: str, said: str
) -> None:
    monkeypatch.setenv("QUOTED", f"{quote}{PASSWORD}{quote}")
    with pytest.raises(AccessDeniedError, match=f"the value of QUOTED .*{said}") as refused:
        open_landing(asyncssh_server(), password={"env": "QUOTED"}).check()
    assert PASSWORD not in str(refused.value)


@pytest.mark.needs("sshd")
def test_second_step_after_a_key_is_named(openssh: Any, open_landing: OpenLanding) -> None:
    server = openssh(
        "PasswordAuthentication yes", "AuthenticationMethods publickey,password", "KbdInteractiveAuthentication no"
    )
    with pytest.raises(AccessDeniedError, match=r"accepts this private key .* asks for more \(password\).*not both"):
        open_landing(server).check()


@pytest.mark.needs("sshd")
def test_server_that_takes_keys_only_says_which_setting_to_use(
    openssh: Any, asyncssh_server: Any, open_landing: OpenLanding, tmp_path: Path
) -> None:
    server = openssh("KbdInteractiveAuthentication no")
    with pytest.raises(AccessDeniedError, match=r"it offers: publickey: set accounts\.sftp\.private_key"):
        open_landing(server, private_key=None, password={"env": "SFTP_PASSWORD"}).check()
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "key")
    with pytest.raises(AccessDeniedError, match=r"it offers: .*: set accounts\.sftp\.password"):
        open_landing(asyncssh_server(), private_key=tmp_path / "key", password=None).check()

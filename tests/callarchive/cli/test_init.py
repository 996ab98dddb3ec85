"""`callarchive init` on a terminal, and without one, against the simulators of 8x8, S3 and SFTP."""

import base64
import logging
import os
import pty
import select
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from callarchive.cli import run as run_command
from callarchive.settings import load_settings
from callarchive.simulator.generation import generate_world
from callarchive.simulator.landings import free_port
from callarchive.simulator.running import DEMO_ACCOUNTS, Simulator
from callarchive.storage.landing.sftp.host_keys import fingerprint

# A terminal of its own, because a secret is read from /dev/tty.
ON_A_TERMINAL = """
import fcntl, os, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from callarchive.cli import main
main()
"""
TIMEOUT_S = 40
CTRL_C = "\x03"
PLACES = [
    ("Time zone", "Asia/Singapor"),
    ("Time zone", "Asia/Singapore"),
    ("First day", "2026-13-01"),
    ("First day", ""),
]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    day = date(2026, 1, 5)
    world = generate_world(seed=3, accounts=DEMO_ACCOUNTS, first_day=day, last_day=day, sessions_per_day=12)
    with Simulator.start(tmp_path_factory.mktemp("simulators"), world=world) as started:
        yield started


@pytest.fixture(autouse=True)
def only_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("CALLARCHIVE_", "AWS_")) or "_API_KEY" in name:
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Run]:
    """Return a function that runs a command in this process, in an empty folder and without a terminal."""
    root, own = logging.getLogger(), logging.getLogger("callarchive")
    handlers, levels = root.handlers[:], (root.level, own.level)
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)

    def invoke(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            run_command(list(words))
        return int(end.value.code or 0), *capsys.readouterr()

    yield invoke
    os.environ.clear()
    os.environ.update(before)
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])


def converse(folder: Path, words: Sequence[str], answers: Sequence[tuple[str, str]]) -> tuple[int, str]:
    """Run a command on a terminal, answer each question once it is shown, and return the exit code and the screen."""
    ours, theirs = pty.openpty()
    waiting = list(answers)
    shown, seen = b"", 0
    ends_at = time.monotonic() + TIMEOUT_S
    with subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, *words], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        try:
            while time.monotonic() < ends_at:
                if not select.select([ours], [], [], 1)[0]:
                    continue
                part = os.read(ours, 4096)
                shown += part
                if waiting and waiting[0][0].encode() in shown[seen:] and shown.endswith(b": "):
                    seen = len(shown)
                    reply = waiting.pop(0)[1]
                    os.write(ours, reply.encode() if reply == CTRL_C else f"{reply}\n".encode())
        except OSError:  # Linux raises it once the other end of the terminal is closed
            pass
        finally:
            os.close(ours)
            process.terminate()
        assert waiting == [], shown.decode()
        return process.wait(timeout=10), shown.decode()


def account_and_key(simulator: Simulator, account: str) -> list[tuple[str, str]]:
    return [("subaccount id", account), ("not shown", simulator.environment[f"{account.upper()}_API_KEY"])]


def shown_fingerprint(simulator: Simulator) -> str:
    return fingerprint(base64.b64decode(simulator.sftp.host_key_line.split()[2]))


def test_an_s3_landing_is_asked_for_written_and_checked(simulator: Simulator, tmp_path: Path) -> None:
    secrets = [simulator.environment[name] for name in ("DEMO_S3_API_KEY", "AWS_SECRET_ACCESS_KEY")]
    code, screen = converse(
        tmp_path,
        ["init", "--api-url", simulator.api.url],
        [
            ("subaccount id", "x"),
            ("subaccount id", "demo_s3"),
            ("not shown", "of-another-account"),
            ("[Y/n]", ""),
            ("not shown", secrets[0]),
            ("pushes recordings", "https://demo-recordings.s3.amazonaws.com"),
            ("pushes recordings", "s3://demo-recordings/upload/calls"),
            ("S3 endpoint", simulator.s3.endpoint_url),
            ("S3 region", "ap-southeast-1"),
            ("AWS access key ID", simulator.environment["AWS_ACCESS_KEY_ID"]),
            ("not shown", secrets[1]),
            ("[Y/n]", "y"),
            ("pushes recordings", "s3://demo-recordings/my-recordings-path"),
            ("S3 endpoint", ""),
            ("S3 region", ""),
            ("Source of session ids", "log-export"),
            ("Source of session ids", ""),
            *PLACES,
            ("the archive", "data/archive"),
            ("the catalog", ""),
        ],
    )
    assert code == 0, screen
    for rejected in (
        "must be 3 to 50 characters of A-Z",
        "8x8 rejected the API key (HTTP 401",
        "s3://demo-recordings/upload/calls can be listed and is empty; s3://demo-recordings/ has my-recordings-path/",
        "must be s3://bucket/prefix, or sftp:// followed by user@host:port/path",
        "'log-export' is not one of log_export, files, inbox; did you mean log_export?",
        "did you mean Asia/Singapore?",
        "'2026-13-01' is not a day",
    ):
        assert rejected in screen
    assert screen.index("8x8 accepts the API key") < screen.index("Where 8x8 pushes recordings")
    assert "s3://demo-recordings/my-recordings-path can be listed and has files" in screen
    assert "demo_s3: landing" in screen
    assert "To archive yesterday: callarchive archive --day 20" in screen
    env, config = tmp_path / ".env", tmp_path / "callarchive.toml"
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    for secret in secrets:
        assert secret not in screen + config.read_text()
        assert secret in env.read_text()
    settings = load_settings(config)
    (account,) = settings.accounts
    assert (settings.timezone, settings.archive.url) == ("Asia/Singapore", f"file://{tmp_path}/data/archive")
    assert settings.catalog.url == f"file://{tmp_path}/data/catalog"
    assert account.s3.endpoint_url == simulator.s3.endpoint_url
    assert {path.name for path in tmp_path.iterdir()} == {".env", "callarchive.toml", "data"}


def test_an_sftp_host_key_is_pinned_only_after_confirmation(simulator: Simulator, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    sftp = simulator.sftp
    landing = f"sftp://{sftp.user}@{sftp.host}:{sftp.port}/upload"
    until_the_key = [*account_and_key(simulator, "demo_sftp"), ("pushes recordings", landing)]
    words = ["init", "--api-url", simulator.api.url]
    code, screen = converse(tmp_path, words, [*until_the_key, ("[y/N]", "")])
    assert code == 3
    assert shown_fingerprint(simulator) in screen
    assert "was not confirmed" in screen
    assert {path.name for path in tmp_path.iterdir()} == {".git"}

    code, screen = converse(
        tmp_path,
        words,
        [
            *account_and_key(simulator, "demo_sftp"),
            ("pushes recordings", landing.replace(str(sftp.port), "9")),
            ("pushes recordings", landing),
            ("[y/N]", "y"),
            ("Private key file", "no-such-key"),
            ("Private key file", ""),
            ("not shown", "of-somebody-else"),
            ("[Y/n]", ""),
            ("pushes recordings", ""),
            ("Private key file", ""),
            ("not shown", simulator.environment["SIMULATED_SFTP_PASSWORD"]),
            ("Source of session ids", "files"),
            ("Path of the files", "ids.xlsx"),
            ("Path of the files", "ids-{day}.csv"),
            *PLACES,
            ("the archive", "archive"),
            ("the catalog", "archive"),
            ("the catalog", "catalog"),
        ],
    )
    assert code == 0, screen
    for rejected in (
        "cannot be reached",
        "no-such-key cannot be read: No such file or directory",
        "must end in .csv, .txt, .jsonl or .parquet",
        "must differ from archive.url",
        "git ignores .env",
    ):
        assert rejected in screen
    assert simulator.environment["SIMULATED_SFTP_PASSWORD"] not in screen
    assert (tmp_path / "known_hosts").read_text() == simulator.sftp.host_key_line + "\n"
    ignored = subprocess.run(["git", "check-ignore", ".env"], cwd=tmp_path, capture_output=True, check=True)
    assert ignored.stdout == b".env\n"


def test_what_cannot_be_checked_can_be_kept_and_the_file_that_has_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEMO_S3_API_KEY", "a-key")
    nowhere = f"http://127.0.0.1:{free_port()}"
    answers = [
        ("subaccount id", "demo_s3"),
        ("[Y/n]", "n"),
        ("pushes recordings", "s3://demo-recordings"),
        ("S3 endpoint", nowhere),
        ("S3 region", ""),
        ("AWS access key ID", "id"),
        ("not shown", "a-secret"),
        ("[Y/n]", "n"),
        ("Source of session ids", ""),
        ("Time zone", "UTC"),
        ("First day that Dagster offers; it can be changed later", ""),
        ("the archive", "archive"),
        ("the catalog", ""),
    ]
    code, screen = converse(tmp_path, ["init", "--api-url", nowhere], answers)
    assert code == 1
    assert "is taken from the environment; if it is wrong: unset DEMO_S3_API_KEY" in screen
    assert screen.count("Enter the ") == 2
    assert f"Correct a key or password in {tmp_path}/.env, anything else in {tmp_path}/callarchive.toml" in screen
    start = load_settings(tmp_path / "callarchive.toml").start_date
    assert start.day == 1
    assert timedelta(days=28) <= datetime.now(UTC).date() - start <= timedelta(days=61)


def test_ctrl_c_writes_nothing(tmp_path: Path) -> None:
    code, screen = converse(tmp_path, ["init"], [("subaccount id", "demo_s3"), ("not shown", CTRL_C)])
    assert code == 130
    assert "nothing was written" in screen
    assert "Traceback" not in screen
    assert list(tmp_path.iterdir()) == []


def sftp_words(simulator: Simulator, account: str = "demo_sftp") -> list[str]:
    sftp = simulator.sftp
    landing = f"sftp://{sftp.user}@{sftp.host}:{sftp.port}/upload"
    return ["init", "--account", account, "--api-url", simulator.api.url, "--landing", landing]


PLACE_WORDS = ("--timezone", "UTC", "--archive", "archive")


def test_without_a_terminal_options_and_variables_are_enough(
    simulator: Simulator, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = tmp_path / "password"
    password.write_text(simulator.environment["SIMULATED_SFTP_PASSWORD"])
    monkeypatch.setenv("DEMO_SFTP_API_KEY", simulator.environment["DEMO_SFTP_API_KEY"])
    words = [*sftp_words(simulator), *PLACE_WORDS, "--password-file", "password"]

    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert "--host-key is missing" in err
    for pinned in ("", simulator.sftp.host_key_line):
        (tmp_path / "known_hosts").write_text(pinned)
        code, out, err = run(*words, "--host-key", "SHA256:of-another-server")
        assert (code, out) == (3, "")
        assert "not the --host-key SHA256:of-another-server" in err
    (tmp_path / "known_hosts").unlink()
    assert {path.name for path in tmp_path.iterdir()} == {"password"}

    code, out, err = run("-q", *words, "--host-key", shown_fingerprint(simulator))
    assert (code, out, err) == (0, "", "")
    assert 'password = { file = "password" }' in (tmp_path / "callarchive.toml").read_text()
    key = simulator.environment["DEMO_SFTP_API_KEY"]
    assert (tmp_path / ".env").read_text() == f"DEMO_SFTP_API_KEY={key}\n"

    code, out, err = run("init")
    assert (code, out) == (2, "")
    assert (
        "callarchive.toml exists, and is not overwritten. To add an account to it: callarchive init --add-account"
        in err
    )


def test_an_account_is_added_without_touching_what_is_there(
    simulator: Simulator, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, env = tmp_path / "callarchive.toml", tmp_path / ".env"
    held = (
        '# ours\r\nstart_date = 2026-01-01\narchive.url = "archive"\ncatalog.url = "catalog"\n[[accounts]]\n'
        'subaccount_id = "acme"\napi_key = { env = "ACME_KEY" }\nlanding = "s3://acme-recordings"\n'
        'session_sources = [{ kind = "log_export" }]  # the last line'
    )
    config.write_bytes(held.encode())
    kept = tmp_path / "secrets" / "env"
    kept.parent.mkdir()
    kept.write_text("ACME_KEY=one")
    kept.chmod(0o640)  # a service reads it by its group
    env.symlink_to(kept)
    for name in ("DEMO_S3_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, simulator.environment[name])
    endpoint = simulator.s3.endpoint_url
    landing = [
        "--landing",
        "s3://demo-recordings/my-recordings-path",
        "--s3-endpoint",
        endpoint,
        "--s3-region",
        "eu-west-1",
    ]
    code, _, err = run("-q", "init", "--add-account", "--account", "demo_s3", "--api-url", simulator.api.url, *landing)
    assert code == 1  # doctor: nothing pushes to acme's bucket
    assert err.count("acme: ") >= 1
    assert config.read_bytes().startswith(held.encode() + b"\n\n[[accounts]]\n")
    assert kept.read_text().startswith("ACME_KEY=one\nDEMO_S3_API_KEY=")
    assert (env.is_symlink(), stat.S_IMODE(kept.stat().st_mode)) == (True, 0o640)
    assert [account.subaccount_id for account in load_settings(config).accounts] == ["acme", "demo_s3"]

    code, out, err = run("init", "--add-account", "--account", "acme", "--landing", "s3://b")
    assert (code, out) == (2, "")
    assert "Invalid value for --account: accounts: subaccount_id acme appears twice" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("init", "no terminal to ask on: give --account, --landing, --timezone, --archive"),
        ("init --account acme --timezone UTC --archive a", "give --landing; see callarchive init --help"),
        ("init -c none/callarchive.toml", "/none does not exist: mkdir -p "),
        ("init --add-account", "no configuration at "),
        ("init --account a/b", "Invalid value for --account: must be 3 to 50 characters"),
        ("init --account acme", "ACME_API_KEY or --api-key-file is missing"),
        ("init --account 8x8.sg", "_8X8_SG_API_KEY or --api-key-file is missing"),
        ("init --api-key-file k --landing s3://Bad_Bucket", "Invalid value for --landing: names no valid bucket"),
        ("init --api-key-file k --landing sftp://u:p@host/x", "contains a password: move it to accounts.sftp.password"),
        ("init --api-key-file k --landing s3://bkt", "AWS credentials are missing: set AWS_ACCESS_KEY_ID and"),
        ("init --api-key-file k --landing s3://bkt --s3-endpoint minio:9000", "--s3-endpoint: must be http(s)://host"),
        (
            "init --api-key-file k --landing s3://bkt --host-key SHA256:x",
            "the landing is s3://, which has no SFTP login",
        ),
        ("init --api-url voice.8x8.com", "Invalid value for --api-url: must be http(s)://host[:port]"),
    ],
)
def test_a_mistake_names_the_option_and_writes_nothing(run: Run, tmp_path: Path, words: str, message: str) -> None:
    given = words.split()
    if "--api-key-file" in given or "--api-url" in given:
        given += ["--account", "acme"]
    needed = {"--account": "acme", "--landing": "s3://bkt", "--timezone": "UTC", "--archive": "a"}
    if "--account" in given and "--timezone" not in given:
        given += [word for option, value in needed.items() if option not in given for word in (option, value)]
    code, out, err = run(*given)
    assert (code, out) == (2, "")
    assert err.count(message) == 1, err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--timezone", "Asia/Singapor"), "Invalid value for --timezone: Asia/Singapor is not an IANA time zone"),
        (("--start-date", "2026-02-30"), "Invalid value for --start-date: '2026-02-30' is not a day: the last day of"),
        (("--start-date", "2199-01-01"), "Invalid value for --start-date: 2199-01-01 has not begun"),
        (("--archive", "ftp://x/y"), "Invalid value for --archive: must be file:///absolute/path, a path, or s3://"),
        (("--catalog", "archive"), "Invalid value for --catalog: must differ from archive.url"),
        (("--source", "sql"), "Invalid value for --source: choose another, then write the query into the file"),
        (("--source", "file"), "'file' is not one of log_export, files, inbox; did you mean files?"),
        (("--files", "ids.xlsx"), "Invalid value for --files: "),
        (("--source", "inbox", "--files", "ids.csv"), "Invalid value for --files: it requires --source files"),
    ],
)
def test_an_invalid_choice_names_the_option(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    first = ("init", "--account", "acme", "--api-key-file", "key", "--landing", "s3://bkt")
    code, out, err = run(*first, *PLACE_WORDS, *words)
    assert (code, out) == (2, "")
    assert err.count(message) == 1, err
    assert list(tmp_path.iterdir()) == []


def test_a_profile_that_does_not_exist_is_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    code, out, err = run(
        "init",
        "--account",
        "acme",
        "--api-key-file",
        "key",
        "--landing",
        "s3://bkt",
        "--timezone",
        "UTC",
        "--archive",
        "a",
    )
    assert (code, out) == (2, ""), err
    assert err == "configuration error: S3: The config profile (nobody) could not be found\n"
    assert list(tmp_path.iterdir()) == []

"""What the command line replies to mistakes: each is printed once, says what was expected, and has its exit code."""

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from callarchive.cli import run as run_command

SESSION = "e35e3d0e-065a-11ec-b119-676cb2bc33ef"
YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)
CONFIGURATION = """\
start_date = 2026-01-01
archive.url = "archive"
catalog.url = "catalog"
lookups.deadline_s = 1.5
"""
ACCOUNT = """
[[accounts]]
subaccount_id = "acme_{name}"
api_url = "http://127.0.0.1:9"
api_key = {{ env = "ACME_KEY" }}
landing = "s3://acme-recordings/{name}"
session_sources = [{{ kind = "files", path = "{name}-{{day}}.txt" }}]
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a valid configuration of two accounts, whose API is a port that nobody listens on."""
    file = tmp_path / "callarchive.toml"
    file.write_text(CONFIGURATION + ACCOUNT.format(name="one") + ACCOUNT.format(name="two"))
    (tmp_path / "latin-1.toml").write_bytes("timezone = 'Zürich'".encode("latin-1"))
    (tmp_path / "empty.toml").touch()
    monkeypatch.setenv("CALLARCHIVE_CONFIG", str(file))
    monkeypatch.setenv("ACME_KEY", "key")
    monkeypatch.chdir(tmp_path)
    return file


@pytest.fixture
def run(config: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    root, own = logging.getLogger(), logging.getLogger("callarchive")
    handlers, levels = root.handlers[:], (root.level, own.level)

    def invoke(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            run_command(list(words))
        return int(end.value.code or 0), *capsys.readouterr()

    yield invoke
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        # days
        ("archive --day 2026-11-31", 2, "'2026-11-31' is not a day: the last day of that month is 2026-11-30"),
        ("archive --day 2026-02-29", 2, "'2026-02-29' is not a day: the last day of that month is 2026-02-28"),
        ("archive --day 2026-11-00", 2, "'2026-11-00' is not a day: the last day of that month is 2026-11-30"),
        ("verify --from 2026-13-01", 2, "'2026-13-01' is not a day: a year has the months 1 to 12"),
        ("archive --day yesterday", 2, f"'yesterday' is not a day: write YYYY-MM-DD, such as {YESTERDAY}"),
        ("status --to 05.11.2026", 2, f"'05.11.2026' is not a day: write YYYY-MM-DD, such as {YESTERDAY}"),
        ("forecast --from 20261105", 2, f"'20261105' is not a day: write YYYY-MM-DD, such as {YESTERDAY}"),
        ("demo --last-day 2026-11", 2, f"'2026-11' is not a day: write YYYY-MM-DD, such as {YESTERDAY}"),
        ("archive --day=", 2, f"'' is not a day: write YYYY-MM-DD, such as {YESTERDAY}"),
        # ranges
        ("archive", 2, f"give it, such as --day {YESTERDAY}, or give --from and --to"),
        ("archive --from 2026-01-05", 2, f"give both, such as --from 2026-01-05 --to {YESTERDAY}: no --to"),
        ("forecast", 2, f" --to {YESTERDAY}: no --from and no --to"),
        ("archive --day 2026-01-05 --to 2026-01-06", 2, "give either --day, or --from and --to"),
        ("archive --from 2026-01-06 --to 2026-01-05", 2, "--from 2026-01-06 is after --to 2026-01-05"),
        ("forecast --from 2026-01-06 --to 2026-01-05", 2, "--from 2026-01-06 is after --to 2026-01-05"),
        ("verify --from 2026-01-06 --to 2026-01-05", 2, "--from 2026-01-06 is after --to 2026-01-05"),
        ("status --from 2026-01-06 --to 2026-01-05", 2, "--from 2026-01-06 is after --to 2026-01-05"),
        ("archive --day 2199-01-01", 2, f"2199-01-01 has not begun: in UTC it is {YESTERDAY + timedelta(days=1)}"),
        ("archive --from 2026-01-01 --to 2199-01-01", 2, "Invalid value for --to: 2199-01-01 has not begun"),
        ("archive --day 0206-11-01", 2, "0206-11-01 is before 2015-01-01, when there were no recordings"),
        ("status --from 2199-01-01", 2, f"--from: 2199-01-01 is after the latest day to show, {YESTERDAY}"),
        ("status --to 2025-12-31", 2, "--to: 2025-12-31 is before start_date, 2026-01-01: give --from too"),
        ("verify", 1, "no day is archived in"),
        # ids and accounts
        ("find xyz", 2, f"'xyz' is not a session or recording id: write a UUID, such as {SESSION}"),
        (f"find {SESSION[:-1]}", 2, "an id has 32 hexadecimal digits, this has 31"),
        (f"find s3://acme/{SESSION}.mp3", 2, f"it contains one: callarchive find {SESSION}"),
        (f"find {SESSION}", 1, "archive that day first: callarchive archive --day 2021-08-26"),
        ("find 00000000-0000-4000-8000-000000000000", 1, "nor in the inbox: archive its day first"),
        ("push-config show --account acme_on", 2, "has acme_one, acme_two; did you mean acme_one?"),
        ("webhooks list --account ACME_TWO", 2, "has acme_one, acme_two; did you mean acme_two?"),
        ("webhooks list --type VRX", 2, "'VRX' is not one of VCS, VCA, VSS, VRU, VNU; did you mean VRU?"),
        # commands and options
        ("archve", 2, "No such command 'archve'. Did you mean 'archive'?"),
        ("webhooks lst", 2, "No such command 'lst'. Did you mean 'list'?"),
        ("archive --dya 2026-01-05", 2, "No such option: --dya (Possible options: --day)"),
        ("archive 2026-01-05", 2, "write --day before the day: callarchive archive --day 2026-01-05\n"),
        ("archive 2026-01-05 2026-01-07 -q", 2, "callarchive archive --from 2026-01-05 --to 2026-01-07\n"),
        ("archive --recheck 2026-01-05", 2, "callarchive archive --day 2026-01-05 --recheck\n"),
        ("archive --day 2026-01-05 2026-01-06", 2, "Got unexpected extra argument(s) (2026-01-06)"),
        ("status 2026-01-05", 2, "callarchive status --from 2026-01-05 --to 2026-01-05\n"),
        ("--day 2026-01-05 archive", 2, "--day belongs after the command: callarchive archive --day 2026-01-05\n"),
        ("--account acme_one push-config show", 2, "callarchive push-config show --account acme_one\n"),
        ("--type=VRU webhooks list", 2, "--type=VRU belongs after the command: callarchive webhooks list --type=VRU\n"),
        ("--jsn status", 2, "No such option: --jsn (Possible options: --json)"),
        ("archive -d 2026-01-05", 2, "No such option: -d"),
        ("setup", 2, "No such command 'setup'. Did you mean callarchive init?"),
        ("help", 2, "No such command 'help'. Did you mean callarchive --help?"),
        ("pushconfig show", 2, "No such command 'pushconfig'. Did you mean 'push-config'?"),
        ("webhook list", 2, "No such command 'webhook'. Did you mean 'webhooks'?"),
        ("alerts tst", 2, "No such command 'tst'. Did you mean 'test'?"),
        ("doctor acme_one", 2, "Got unexpected extra argument(s) (acme_one)"),
        ("init --add-acount", 2, "No such option: --add-acount (Possible options: --account, --add-account)"),
        ("status --support", 2, "No such option: --support (Possible options: --support-text)"),
        ("find", 2, "Missing argument 'ID'"),
        ("evidence", 2, "Missing argument 'ID'"),
        ("evidence xyz", 2, f"'xyz' is not a session or recording id: write a UUID, such as {SESSION}"),
        (f"evidence {SESSION} --with-number", 2, "No such option: --with-number (Possible options: --with-numbers)"),
        (f"evidence {SESSION} -o .", 2, "--output .: is a folder: give a file in it"),
        ("webhooks list --type vru,vss", 2, "Invalid value for --type: repeat it: --type VRU --type VSS\n"),
        ("push-config show --account=", 2, "--account '': no such account; the configuration has acme_one, acme_two"),
        ("push-config delete", 2, "Cannot ask without a terminal: confirm with --yes"),
        (
            "push-config apply -q",
            2,
            'add it with protocol, host, port, username, password = { env = "NAME" } and path\n',
        ),
        ("alerts test", 2, "no channel is configured: add [alerts.webhook] or [alerts.smtp]"),
        ("forecast --from 2015-01-01 --to 2199-12-31", 2, "Invalid value for --from/--to: at most 3660 days"),
        # numbers
        ("verify --sample 0", 2, "'0' is not a share above 0 and at most 1, such as 0.05"),
        ("verify --sample 5%", 2, "'5%' is not a share above 0 and at most 1, such as 0.05"),
        ("verify --sample nan", 2, "'nan' is not a share above 0 and at most 1, such as 0.05"),
        ("verify --seed 1.5", 2, "'1.5' is not a whole number, such as the 42"),
        ("webhooks serve --port 65536", 2, "'65536' is not a port from 0 to 65535, such as 8080"),
        ("demo --sessions many", 2, "'many' is not a whole number from 1 to 20000, such as 22"),
        ("verify --sample -1", 2, "'-1' is not a share above 0 and at most 1, such as 0.05"),
        ("webhooks serve --port http", 2, "'http' is not a port from 0 to 65535, such as 8080"),
        ("demo --sessions 0", 2, "'0' is not a whole number from 1 to 20000, such as 22"),
        # files and servers
        ("demo --last-day 2199-01-01", 2, "Invalid value for --last-day: 2199-01-01 has not begun: in UTC it is "),
        ("demo -q -d /proc/x", 2, "/proc/x cannot be created (No such file or directory): choose another directory"),
        ("demo -q -d .", 2, " has a callarchive.toml of yours: choose another directory"),
        ("status -c /", 2, "/ cannot be read: it is a folder; name the file in it, such as /callarchive.toml"),
        ("status -c latin-1.toml", 2, "latin-1.toml cannot be read: byte 14 is not UTF-8; save it as UTF-8"),
        ("status -c empty.toml", 2, "  start_date: is missing\n"),
        (
            "webhooks serve -q --host no-host.invalid",
            1,
            "Choose a free --port, and as --host an address of this machine",
        ),
        ("status -c none.toml", 2, "none.toml: write one with callarchive init"),
        ("status --config=none.toml", 2, "none.toml: write one with callarchive init"),
        ("status -c", 2, "Option '-c' requires an argument"),
        (
            "-c none.toml status",
            2,
            "none.toml: write one with callarchive init, or set CALLARCHIVE_CONFIG",
        ),
        (
            "push-config show",
            1,
            "account acme_one: GET recording-push-config: http://127.0.0.1:9: the connection failed",
        ),
        ("push-config show", 1, "next step: callarchive doctor checks every address and connection"),
    ],
)
def test_a_mistake_is_explained_once_on_stderr(run: Run, words: str, code: int, message: str) -> None:
    returned, out, err = run(*words.split(" "))
    assert (returned, out) == (code, "")
    assert err.count(message) == 1, err
    assert "Value error" not in err
    assert "Input should" not in err


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("start_date", "start_dat", "start_dat: unknown key; did you mean start_date?"),
        ("archive.url", "archiv.url", "archiv: unknown key; did you mean archive?"),
        ("lookups.deadline_s", "lookups.deadline", "lookups.deadline: unknown key; did you mean deadline_s?"),
        (
            "lookups.deadline_s",
            "transfer.retry_after_max_s",
            "transfer.retry_after_max_s: unknown key; it belongs in [lookups]",
        ),
        ("lookups.deadline_s = 1.5", "lookups.timezone = 'UTC'", "it belongs at the top, before the first [section]"),
        ("lookups.deadline_s", "lookups.zzzzzz", "lookups.zzzzzz: unknown key\n"),
        ("[[accounts]]", "[[account]]", "account: unknown key; did you mean accounts?"),
        ("env =", "envv =", "accounts.0.api_key.envv: unknown key; did you mean env?"),
        ("api_url", "api_ulr", "accounts.0.api_ulr: unknown key; did you mean api_url?"),
        ("api_url", "known_hosts", "accounts.0.known_hosts: unknown key; it belongs in [accounts.sftp]"),
        ("path =", "paht =", "accounts.0.session_sources.0.paht: unknown key; did you mean path?"),
        ("lookups.d", "timezone = 'Asia/Singapor'\nlookups.d", "did you mean Asia/Singapore?"),
        ("lookups.d", "timezone = 'berlin'\nlookups.d", "did you mean Europe/Berlin?"),
        ("lookups.d", "timezone = 'GMT+8'\nlookups.d", "an offset is not a zone, name a place that has it"),
        ("lookups.d", "timezone = 'SGT'\nlookups.d", "SGT is not an IANA time zone name such as Asia/Singapore\n"),
    ],
)
def test_an_unknown_key_or_zone_gets_a_suggestion(run: Run, config: Path, old: str, new: str, line: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    code, out, err = run("status")
    assert (code, out) == (2, "")
    assert err.count(line) == (2 if "accounts.0" in line and "accounts.1" in line else 1), err


def test_a_variable_with_a_mistyped_key_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLARCHIVE_TRANSFR__CONCURRENCY", "3")
    code, _, err = run("status")
    assert code == 2
    assert "transfr: unknown key; did you mean transfer? (set by CALLARCHIVE_TRANSFR__CONCURRENCY)" in err


def test_a_failed_day_is_reported_once(run: Run, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}-2026-01-05.txt").write_text(SESSION)
    code, out, err = run("archive", "--day", "2026-01-05")
    assert (code, out) == (1, "")
    assert err.count("error: 2026-01-05: acme_one: ") == 1, err
    assert err.count("; acme_two: ") == 1, err
    assert err.count("next step: callarchive doctor") == 1


def test_an_api_that_does_not_respond_is_waited_for_on_the_first_day_only(
    run: Run, config: Path, tmp_path: Path
) -> None:
    config.write_text(config.read_text().replace("lookups.deadline_s = 1.5\n", "lookups.deadline_s = 2\n"))
    for number, name in enumerate(("one", "two")):
        for day in (5, 6, 7):
            (tmp_path / f"{name}-2026-01-0{day}.txt").write_text(f"0000000{number}-0000-4000-8000-00000000000{day}")
    code, out, err = run("archive", "--from", "2026-01-05", "--to", "2026-01-07")
    assert (code, out) == (1, "")
    first, *others = [line for line in err.splitlines() if line.startswith("error: 2026-01-")]
    assert "within 2 s" in first
    assert [line.count("Connection refused (1 attempt)") for line in others] == [2, 2]


def test_a_day_before_the_start_date_is_noted_unless_quiet(run: Run) -> None:
    note = "2025-12-31 is before start_date (2026-01-01), where Dagster's partitions begin\n"
    assert note in run("archive", "--day", "2025-12-31")[2]
    assert "start_date" not in run("-q", "archive", "--day", "2025-12-31")[2]


def test_quiet_commands_print_nothing_but_errors(run: Run) -> None:
    for words, error in (
        ("status", "something needs attention"),
        ("doctor", "acme_one: API key: "),
        ("verify", "no day is"),
    ):
        code, out, err = run("-q", *words.split())
        assert (code, out) == (1, "")
        assert err.startswith(f"error: {error}"), err
        assert len(err.splitlines()) == 1

"""Every mistake in the configuration is one ConfigurationError that names its key; no secret is ever shown."""

import os
import pickle
import traceback
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from callarchive.domain.errors import ConfigurationError
from callarchive.settings import FilesSource, LogExportSource, Settings, load_settings

MINIMAL = """
start_date = 2026-01-01

[archive]
url = "file:///srv/callarchive/archive"

[catalog]
url = "file:///srv/callarchive/catalog"

[transfer]
concurrency = 16

[lookups]

[checks]

[dagster]

[inbox]

[[accounts]]
subaccount_id = "acme_sg"
api_key = { env = "ACME_SG_API_KEY" }
landing = "s3://acme-recordings/my-recordings-path"
# account

[accounts.s3]

[[accounts.session_sources]]
kind = "log_export"
"""

SFTP = MINIMAL.replace("s3://acme-recordings/my-recordings-path", "sftp://user@host:2222/upload").replace(
    "[accounts.s3]",
    '[accounts.sftp]\nknown_hosts = "known_hosts"\npassword = { env = "ACME_SFTP_PASSWORD" }\n',
)

WHOLE = """
timezone   = "UTC"
start_date = 2026-01-01

[archive]
url = "file:///srv/callarchive/archive"

[catalog]
url = "file:///srv/callarchive/catalog"

[transfer]
concurrency = 16
duration_tolerance_s = 2.0

[[accounts]]
subaccount_id = "acme_sg"
api_url = "https://voice.8x8.com"
api_key = { env = "ACME_SG_API_KEY" }
requests_per_second = 100
landing = "s3://acme-recordings/my-recordings-path"
phone_numbers = "drop"

[accounts.s3]
endpoint_url = "http://127.0.0.1:9000"
region = "ap-southeast-1"

[accounts.sftp]
password = { env = "ACME_SFTP_PASSWORD" }
known_hosts = "known_hosts"

[[accounts.session_sources]]
kind = "log_export"
[[accounts.session_sources]]
kind = "files"
path = "inbox/sessions-{day}.csv"

[accounts.push]
protocol = "SFTP"
host = "203.0.113.7"
port = 22
username = "pushuser"
password = { env = "ACME_PUSH_PASSWORD" }
path = "/upload/recordings/"

[accounts.webhooks]
url = "https://hooks.acme.example/webhooks/acme_sg"
auth_header = { env = "ACME_WEBHOOK_AUTH" }
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Unset our variables, use an empty working directory, and restore what a `.env` sets."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith(("CALLARCHIVE_", "ACME_")):
            del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)


def load(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "callarchive.toml"
    file.write_text(text, encoding="utf-8")
    return load_settings(file)


def refusal(tmp_path: Path, text: str) -> str:
    """Return the message, without its first line if that names the file."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)
    assert caught.value.exit_code == 2
    return str(caught.value).removeprefix(f"{tmp_path / 'callarchive.toml'}:\n")


def test_the_documented_example_is_accepted(tmp_path: Path) -> None:
    settings = load(tmp_path, WHOLE)
    account = settings.accounts[0]
    assert settings.zone == ZoneInfo("UTC")
    assert settings.start_date == date(2026, 1, 1)
    assert settings.archive.url == "file:///srv/callarchive/archive"
    assert (settings.transfer.concurrency, settings.transfer.duration_tolerance_s) == (16, 2.0)
    assert (account.api_url, account.requests_per_second) == ("https://voice.8x8.com", 100)
    assert (account.s3.endpoint_url, account.s3.region) == ("http://127.0.0.1:9000", "ap-southeast-1")
    assert account.session_sources == (
        LogExportSource(kind="log_export"),
        FilesSource(kind="files", path=str(tmp_path / "inbox/sessions-{day}.csv")),
    )
    assert account.push is not None
    assert account.push.host == "203.0.113.7"
    assert account.webhooks is not None
    assert settings.path == tmp_path / "callarchive.toml"


def test_a_minimal_file_gets_the_documented_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path, MINIMAL)
    assert settings.timezone == "UTC"
    assert settings.transfer.missing_after_hours == 24
    assert settings.accounts[0].phone_numbers == "drop"
    assert settings.accounts[0].api_url == "https://voice.8x8.com"


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("start_date = 2026-01-01", "colour"),
        ("[archive]", "archive.colour"),
        ("[catalog]", "catalog.colour"),
        ("[inbox]", "inbox.colour"),
        ("[transfer]", "transfer.colour"),
        ("[lookups]", "lookups.colour"),
        ("[checks]", "checks.colour"),
        ("[dagster]", "dagster.colour"),
        ("[[accounts]]", "accounts.0.colour"),
        ("[accounts.s3]", "accounts.0.s3.colour"),
        ("[[accounts.session_sources]]", "accounts.0.session_sources.0.colour"),
    ],
)
def test_an_unknown_key_in_any_section_is_reported(tmp_path: Path, section: str, key: str) -> None:
    text = MINIMAL.replace(section, f'{section}\ncolour = "red"', 1)
    assert refusal(tmp_path, text) == f"  {key}: unknown key"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('lock_mode = "GOVERNANCE"', "archive.objects: lock_mode and lock_days must be set together"),
        ("lock_days = 30", "archive.objects: lock_mode and lock_days must be set together"),
        ('lock_mode = "governance"\nlock_days = 30', "archive.objects.lock_mode: "),
        ('lock_mode = "COMPLIANCE"\nlock_days = 0', "archive.objects.lock_days: "),
        ('storage_class = "GLACIER"', "archive.objects.storage_class: cannot be read without a restore"),
        ('storage_class = "DEEP_ARCHIVE"', "archive.objects.storage_class: cannot be read without a restore"),
        ('storage_class = ""', "archive.objects.storage_class: "),
        ('kms_key_id = ""', "archive.objects.kms_key_id: "),
        ('colour = "red"', "archive.objects.colour: unknown key"),
    ],
)
def test_options_of_objects_that_cannot_work_are_refused(tmp_path: Path, lines: str, message: str) -> None:
    text = MINIMAL.replace("file:///srv/callarchive/archive", "s3://kept/archive")
    assert message in refusal(tmp_path, text.replace("[catalog]", f"[archive.objects]\n{lines}\n[catalog]"))


@pytest.mark.parametrize(
    "lines",
    ['storage_class = "GLACIER_IR"', 'kms_key_id = "alias/x"', 'lock_mode = "COMPLIANCE"\nlock_days = 1'],
)
def test_options_of_objects_need_a_bucket(tmp_path: Path, lines: str) -> None:
    text = MINIMAL.replace("[catalog]", f"[archive.objects]\n{lines}\n[catalog]")
    key = lines.partition(" ")[0]
    assert f"archive.objects.{key}: applies to an archive in a bucket (s3://) only" in refusal(tmp_path, text)
    objects = load(tmp_path, text.replace("file:///srv/callarchive/archive", "s3://kept/archive")).archive.objects
    assert getattr(objects, key) is not None


def test_options_of_objects_can_be_set_in_the_environment(tmp_path: Path) -> None:
    os.environ["CALLARCHIVE_ARCHIVE__OBJECTS__LOCK_MODE"] = "COMPLIANCE"
    os.environ["CALLARCHIVE_ARCHIVE__OBJECTS__LOCK_DAYS"] = "2555"
    objects = load(tmp_path, MINIMAL.replace("file:///srv/callarchive/archive", "s3://kept/archive")).archive.objects
    assert (objects.lock_mode, objects.lock_days, objects.storage_class) == ("COMPLIANCE", 2555, None)


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("[accounts.sftp]", "accounts.0.sftp.colour"),
        ("[accounts.push]", "accounts.0.push.colour"),
        ("[accounts.webhooks]", "accounts.0.webhooks.colour"),
    ],
)
def test_an_unknown_key_in_an_optional_section_is_reported(tmp_path: Path, section: str, key: str) -> None:
    assert refusal(tmp_path, WHOLE.replace(section, f"{section}\ncolour = 1")) == f"  {key}: unknown key"


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("start_date = 2026-01-01", "start_date"),
        ('url = "file:///srv/callarchive/archive"', "archive.url"),
        ('url = "file:///srv/callarchive/catalog"', "catalog.url"),
        ('subaccount_id = "acme_sg"', "accounts.0.subaccount_id"),
        ('api_key = { env = "ACME_SG_API_KEY" }', "accounts.0.api_key"),
        ('landing = "s3://acme-recordings/my-recordings-path"', "accounts.0.landing"),
        ('[[accounts.session_sources]]\nkind = "log_export"', "accounts.0.session_sources"),
    ],
)
def test_a_missing_required_key_is_reported(tmp_path: Path, line: str, key: str) -> None:
    assert line in MINIMAL
    assert refusal(tmp_path, MINIMAL.replace(line, "")) == f"  {key}: is missing"


def test_a_missing_section_is_reported(tmp_path: Path) -> None:
    text = MINIMAL.replace('[archive]\nurl = "file:///srv/callarchive/archive"', "")
    assert refusal(tmp_path, text) == "  archive: is missing"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("concurrency = 16", 'concurrency = "many"', "transfer.concurrency: "),
        ("concurrency = 16", "concurrency = 0", "transfer.concurrency: "),
        ("concurrency = 16", "concurrency = 2.5", "transfer.concurrency: "),
        ("concurrency = 16", "duration_tolerance_s = nan", "transfer.duration_tolerance_s: "),
        ("concurrency = 16", "missing_after_hours = -1", "transfer.missing_after_hours: "),
        ("start_date = 2026-01-01", 'start_date = "yesterday"', "start_date: "),
        ("[lookups]", '[lookups]\nrecheck = "never"', "lookups.recheck: "),
        ("[checks]", "[checks]\nmax_failed_lookup_share = 1.5", "checks.max_failed_lookup_share: "),
        ("[dagster]", "[dagster]\nschedule_hour = 24", "dagster.schedule_hour: "),
        ("[dagster]", "[dagster]\nlook_back_days = -1", "dagster.look_back_days: "),
        ("[dagster]", "[dagster]\ncatch_up_days = 1.5", "dagster.catch_up_days: "),
        ("# account", 'phone_numbers = "encrypt"', "accounts.0.phone_numbers: "),
        ("# account", "requests_per_second = 0", "accounts.0.requests_per_second: "),
        ("[[accounts]]", "[accounts]", "accounts: "),
        ('kind = "log_export"', 'kind = "telepathy"', "accounts.0.session_sources.0: must be "),
        ('kind = "log_export"', 'path = "ids.csv"', "accounts.0.session_sources.0: "),
        ('kind = "log_export"', 'kind = "files"', "accounts.0.session_sources.0.path: is missing"),
        ('kind = "log_export"', 'kind = "files"\npath = "ids.xls"', "accounts.0.session_sources.0.path: must end in "),
        ('kind = "log_export"', 'kind = "files"\npath = "s3://A/i.csv"', "accounts.0.session_sources.0.path: names no"),
    ],
)
def test_an_invalid_value_is_one_line_that_names_its_key(tmp_path: Path, old: str, new: str, expected: str) -> None:
    message = refusal(tmp_path, MINIMAL.replace(old, new, 1))
    assert message.startswith("  " + expected)
    assert "\n" not in message


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "UTC+8", "America", "UTC\\u0000"])
def test_an_invalid_time_zone_is_refused(tmp_path: Path, name: str) -> None:
    message = refusal(tmp_path, f'timezone = "{name}"\n' + MINIMAL)
    assert message.startswith("  timezone: ")
    assert "is not an IANA time zone name such as Asia/Singapore" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "url",
    [
        "https://host/x",
        "file://host/x",
        "s3://",
        "s3://Upper/x",
        "s3://key:hunter2@bucket/x",
        "",
        "file://",
        "ftp://h/x",
    ],
)
@pytest.mark.parametrize("section", ["archive", "catalog"])
def test_an_invalid_store_url_is_refused_with_its_key(tmp_path: Path, section: str, url: str) -> None:
    message = refusal(tmp_path, MINIMAL.replace(f"file:///srv/callarchive/{section}", url))
    assert message.startswith(f"  {section}.url: ")
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "url",
    [
        "http://host/x",
        "file:///srv",
        "",
        "sftp://host/x",
        "sftp://user@/x",
        "sftp://user:hunter2@host/x",
        "sftp://user:hunter2@host:x1/x",
        "sftp://user@host:99999/x",
        "sftp://user:hunter2@[::1/x",
        "sftp://user:hunter2@ho\\u2100st/x",
        "sftp://user@host/a/../b",
        "s3://bucket/../x",
        "s3://bad_bucket!/x",
        "s3://key:hunter2@bucket/x",
    ],
)
def test_an_invalid_landing_is_refused_with_its_key_and_without_its_password(tmp_path: Path, url: str) -> None:
    message = refusal(tmp_path, SFTP.replace("sftp://user@host:2222/upload", url))
    assert message.startswith("  accounts.0.landing: ")
    assert "hunter2" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "url",
    [
        "voice.8x8.com",
        "ftp://voice.8x8.com",
        "https://",
        "https://user:hunter2@voice.8x8.com",
        "https://host:99999",
        "https://host:port",
        "https://[::1",
        "https://host/?key=hunter2",
        "https://host/#x",
    ],
)
@pytest.mark.parametrize(
    ("marker", "line", "key"),
    [
        ("# account", "api_url", "accounts.0.api_url"),
        ("[accounts.s3]", "[accounts.s3]\nendpoint_url", "accounts.0.s3.endpoint_url"),
    ],
)
def test_an_invalid_http_url_is_refused_with_its_key(
    tmp_path: Path, url: str, marker: str, line: str, key: str
) -> None:
    message = refusal(tmp_path, MINIMAL.replace(marker, f'{line} = "{url}"'))
    assert message.startswith(f"  {key}: ")
    assert "hunter2" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "url",
    [
        "inbox.sqlite3",
        "postgresql+psycopg://inbox:hunter2@db/inbox",
        "postgresql://db/inbox?user=inbox&password=hunter2",
        "mysql://inbox@db/hunter2",
    ],
)
def test_an_invalid_database_url_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    message = refusal(tmp_path, MINIMAL.replace("[inbox]", f'[inbox]\nurl = "{url}"'))
    assert message.startswith("  inbox.url: ")
    assert "hunter2" not in message


@pytest.mark.parametrize("account", ["ab", "a" * 51, "acme/sg", "acme sg", "acmé", "acme\\n", "../etc"])
def test_an_invalid_subaccount_id_is_refused(tmp_path: Path, account: str) -> None:
    message = refusal(tmp_path, MINIMAL.replace('"acme_sg"', f'"{account}"'))
    assert message == "  accounts.0.subaccount_id: must be 3 to 50 characters of A-Z a-z 0-9 - . _ &"


def test_a_duplicate_subaccount_is_refused(tmp_path: Path) -> None:
    account = MINIMAL[MINIMAL.index("[[accounts]]") :]
    assert refusal(tmp_path, MINIMAL + account) == "  accounts: subaccount_id acme_sg appears twice"


def test_archive_and_catalog_must_differ(tmp_path: Path) -> None:
    message = refusal(tmp_path, MINIMAL.replace("callarchive/catalog", "callarchive/x/../archive/"))
    assert message.startswith("  catalog.url: ")


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    text = MINIMAL.replace("concurrency = 16", 'concurrency = "many"').replace("[dagster]", "[dagster]\nhour = 1")
    assert [line.split(":")[0].strip() for line in refusal(tmp_path, text).splitlines()] == [
        "transfer.concurrency",
        "dagster.hour",
    ]


def test_the_message_begins_with_the_name_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, "")
    assert str(caught.value).splitlines()[0] == f"{tmp_path / 'callarchive.toml'}:"


def test_invalid_toml_is_reported_with_its_line(tmp_path: Path) -> None:
    assert "line 3" in refusal(tmp_path, "a = 1\nb = 2\nc = = 3\n")


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "callarchive.toml"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"callarchive\.toml cannot be read"):
        load_settings(file)


def test_the_error_for_a_missing_file_suggests_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.toml.*CALLARCHIVE_CONFIG"):
        load_settings(tmp_path / "absent.toml")


def test_the_home_of_an_unknown_user_is_a_configuration_error(tmp_path: Path) -> None:
    message = refusal(tmp_path, MINIMAL.replace("file:///srv/callarchive/archive", "~no-such-user-here/x"))
    assert message.startswith("  archive.url: ")
    with pytest.raises(ConfigurationError):
        load_settings("~no-such-user-here/callarchive.toml")


@pytest.mark.parametrize("beginning", ["\ufeff", ""])
def test_a_byte_order_mark_is_ignored(tmp_path: Path, beginning: str) -> None:
    assert load(tmp_path, beginning + MINIMAL).accounts[0].subaccount_id == "acme_sg"


def test_the_file_is_found_by_its_variable_and_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "named.toml"
    named.write_text('timezone = "Asia/Singapore"\n' + MINIMAL, encoding="utf-8")
    Path("callarchive.toml").write_text(MINIMAL, encoding="utf-8")
    assert load_settings().timezone == "UTC"
    monkeypatch.setenv("CALLARCHIVE_CONFIG", str(named))
    assert load_settings().timezone == "Asia/Singapore"


def test_relative_paths_are_relative_to_the_file_and_not_to_the_working_directory(tmp_path: Path) -> None:
    text = SFTP.replace("file:///srv/callarchive/archive", "data/archive").replace(
        "[inbox]", '[inbox]\nurl = "sqlite:///in.db"'
    )
    text = text.replace('kind = "log_export"', 'kind = "files"\npath = "ids/{day}.csv"')
    text = text.replace('{ env = "ACME_SFTP_PASSWORD" }', '{ file = "secrets/sftp" }')
    settings = load(tmp_path, text)
    (account,) = settings.accounts
    (source,) = account.session_sources
    assert settings.archive.url == f"file://{tmp_path}/data/archive"
    assert settings.inbox.url == f"sqlite:///{tmp_path}/in.db"
    assert isinstance(source, FilesSource)
    assert source.path == f"{tmp_path}/ids/{{day}}.csv"
    assert source.folder == tmp_path / "ids"
    assert account.sftp is not None
    assert account.sftp.known_hosts == tmp_path / "known_hosts"
    assert account.sftp.password is not None
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/sftp").write_text("hunter2\n", encoding="utf-8")
    assert account.sftp.password.reveal() == "hunter2"


def test_absolute_paths_and_urls_are_unchanged(tmp_path: Path) -> None:
    settings = load(tmp_path, MINIMAL.replace("file:///srv/callarchive/catalog", "s3://acme-catalog/tables/"))
    assert settings.archive.url == "file:///srv/callarchive/archive"
    assert settings.catalog.url == "s3://acme-catalog/tables"


# --- SFTP -------------------------------------------------------------------------------------------------------------


def test_an_sftp_landing_without_its_section_is_refused(tmp_path: Path) -> None:
    message = refusal(
        tmp_path, MINIMAL.replace("s3://acme-recordings/x", "").replace("s3://acme-recordings", "sftp://u@h")
    )
    assert message == "  accounts.0: landing is sftp://: [accounts.sftp] with known_hosts and a login is missing"


def test_an_sftp_landing_without_known_hosts_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, SFTP.replace('known_hosts = "known_hosts"', "")) == (
        "  accounts.0.sftp.known_hosts: is missing"
    )


@pytest.mark.parametrize(
    ("replacement", "expected"),
    [
        ('password = { env = "A" }\nprivate_key = "id"', "accounts.0.sftp: set either password or private_key"),
        ("", "accounts.0.sftp: set either password or private_key"),
        ('password = { env = "A" }\npassphrase = { env = "B" }', "accounts.0.sftp: passphrase requires private_key"),
    ],
)
def test_exactly_one_sftp_credential_is_required(tmp_path: Path, replacement: str, expected: str) -> None:
    message = refusal(tmp_path, SFTP.replace('password = { env = "ACME_SFTP_PASSWORD" }', replacement))
    assert message.startswith("  " + expected)


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"hunter2"', "accounts.0.api_key: secrets are not allowed in the configuration"),
        ("42", "accounts.0.api_key: "),
        ('{ env = "A", file = "b" }', "accounts.0.api_key: set one of"),
        ("{ }", "accounts.0.api_key: set one of"),
        ('{ env = "" }', "accounts.0.api_key.env: "),
        ('{ value = "hunter2" }', "accounts.0.api_key.value: unknown key"),
        ('{ env = ["hunter2"] }', "accounts.0.api_key.env: "),
    ],
)
def test_a_secret_must_be_exactly_one_reference(tmp_path: Path, value: str, expected: str) -> None:
    text = MINIMAL.replace('{ env = "ACME_SG_API_KEY" }', value)
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)
    assert f"  {expected}" in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_literal_secret_in_the_environment_is_refused_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLARCHIVE_ACCOUNTS__0__API_KEY", "hunter2")
    message = refusal(tmp_path, MINIMAL)
    assert message.startswith("  accounts.0.api_key: secrets are not allowed in the configuration")
    assert "hunter2" not in message


def test_hash_without_a_key_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, MINIMAL.replace("# account", 'phone_numbers = "hash"'))
    assert message.startswith('  accounts.0: phone_numbers = "hash" needs phone_hash_key')


def test_all_unset_secrets_of_the_main_job_are_reported(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").touch()
    text = SFTP.replace("# account", 'phone_numbers = "hash"\nphone_hash_key = { env = "ACME_HASH" }')
    settings = load(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        settings.require_secrets()
    assert str(caught.value).splitlines() == [
        "accounts.0.api_key: the environment variable ACME_SG_API_KEY is not set",
        "accounts.0.phone_hash_key: the environment variable ACME_HASH is not set",
        "accounts.0.sftp.password: the environment variable ACME_SFTP_PASSWORD is not set",
    ]


def test_an_empty_secret_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_SG_API_KEY", "")
    with pytest.raises(ConfigurationError, match=r"accounts\.0\.api_key: .*ACME_SG_API_KEY is not set"):
        load(tmp_path, MINIMAL).require_secrets()


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff"])
def test_a_missing_empty_or_unreadable_secret_file_is_reported_with_its_key(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    settings = load(tmp_path, MINIMAL.replace('{ env = "ACME_SG_API_KEY" }', '{ file = "key" }'))
    with pytest.raises(ConfigurationError) as caught:
        settings.require_secrets()
    assert str(caught.value).startswith(f"accounts.0.api_key: the file {tmp_path / 'key'} ")


def test_an_impossible_secret_file_name_is_a_configuration_error(tmp_path: Path) -> None:
    settings = load(tmp_path, MINIMAL.replace('{ env = "ACME_SG_API_KEY" }', '{ file = "k\\u0000" }'))
    with pytest.raises(ConfigurationError, match=r"accounts\.0\.api_key"):
        settings.require_secrets()


def test_the_main_job_needs_no_secrets_of_push_and_webhooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "known_hosts").touch()
    settings = load(tmp_path, WHOLE)
    monkeypatch.setenv("ACME_SG_API_KEY", "one")
    monkeypatch.setenv("ACME_SFTP_PASSWORD", "two")
    settings.require_secrets()
    push = settings.accounts[0].push
    assert push is not None
    with pytest.raises(ConfigurationError, match="ACME_PUSH_PASSWORD"):
        push.password.reveal()


def test_a_secret_variable_may_begin_with_our_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLARCHIVE_API_KEY", "hunter2")
    settings = load(tmp_path, MINIMAL.replace("ACME_SG_API_KEY", "CALLARCHIVE_API_KEY"))
    assert settings.accounts[0].api_key.reveal() == "hunter2"


def test_an_override_may_name_another_variable_with_our_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLARCHIVE_ACCOUNTS__0__API_KEY__ENV", "CALLARCHIVE_OTHER_KEY")
    monkeypatch.setenv("CALLARCHIVE_OTHER_KEY", "hunter2")
    assert load(tmp_path, MINIMAL).accounts[0].api_key.reveal() == "hunter2"


def test_no_representation_of_the_settings_contains_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "known_hosts").touch()
    monkeypatch.setenv("ACME_SG_API_KEY", "hunter2")
    (tmp_path / "sftp").write_text("hunter3", encoding="utf-8")
    settings = load(tmp_path, SFTP.replace('{ env = "ACME_SFTP_PASSWORD" }', '{ file = "sftp" }'))
    settings.require_secrets()
    forms = [repr(settings), str(settings), settings.model_dump_json(), repr(pickle.dumps(settings))]
    try:
        settings.model_validate({"start_date": settings})
    except ValidationError as err:
        captured = traceback.TracebackException.from_exception(err, capture_locals=True)
        forms.append("".join(captured.format()))
    assert len(forms) == 5
    for form in forms:
        assert "hunter" not in form


# --- the environment --------------------------------------------------------------------------------------------------


def test_the_environment_overrides_scalars_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLARCHIVE_TIMEZONE", "Asia/Singapore")
    monkeypatch.setenv("CALLARCHIVE_START_DATE", "2026-02-03")
    monkeypatch.setenv("CALLARCHIVE_TRANSFER__CONCURRENCY", "3")
    monkeypatch.setenv("CALLARCHIVE_ACCOUNTS__0__API_URL", "http://127.0.0.1:8123/")
    monkeypatch.setenv("CALLARCHIVE_ACCOUNTS__0__S3__REGION", "eu-west-1")
    settings = load(tmp_path, MINIMAL)
    assert settings.timezone == "Asia/Singapore"
    assert settings.start_date == date(2026, 2, 3)
    assert settings.transfer.concurrency == 3
    assert settings.accounts[0].api_url == "http://127.0.0.1:8123"
    assert settings.accounts[0].s3.region == "eu-west-1"


def test_the_environment_can_add_a_section_that_the_file_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLARCHIVE_CATALOG__URL", "data")
    text = MINIMAL.replace('[catalog]\nurl = "file:///srv/callarchive/catalog"', "")
    assert load(tmp_path, text).catalog.url == f"file://{tmp_path}/data"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CALLARCHIVE_COLOUR", "colour: unknown key"),
        ("CALLARCHIVE_TRANSFER__CONCURENCY", "transfer.concurency: unknown key"),
        ("CALLARCHIVE_ACCOUNTS__1__API_URL", "CALLARCHIVE_ACCOUNTS__1__API_URL: there is no accounts.1"),
        ("CALLARCHIVE_ACCOUNTS__X__API_URL", "CALLARCHIVE_ACCOUNTS__X__API_URL: there is no accounts.x"),
        ("CALLARCHIVE_TIMEZONE__X", "CALLARCHIVE_TIMEZONE__X: timezone is a value"),
        ("CALLARCHIVE_TRANSFER__CONCURRENCY", "transfer.concurrency: "),
    ],
)
def test_a_meaningless_variable_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    monkeypatch.setenv(name, "red")
    message = refusal(tmp_path, 'timezone = "UTC"\n' + MINIMAL)
    assert expected in message
    assert name in message, "the key alone is not in the file"


def test_an_env_file_beside_the_configuration_is_read_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(
        "ACME_SG_API_KEY=from-file\nCALLARCHIVE_TRANSFER__CONCURRENCY=5\nCALLARCHIVE_LOOKUPS__CONCURRENCY=5\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("CALLARCHIVE_TRANSFER__CONCURRENCY", "7")
    settings = load(tmp_path, MINIMAL)
    assert settings.accounts[0].api_key.reveal() == "from-file"
    assert (settings.transfer.concurrency, settings.lookups.concurrency) == (7, 5)


@pytest.mark.parametrize("content", [b"\xff\xfe=1", b"ACME_X=a\x00b"])
def test_an_env_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".env").write_bytes(content)
    assert str(tmp_path / ".env") in refusal(tmp_path, MINIMAL)


def test_settings_are_immutable(tmp_path: Path) -> None:
    settings = load(tmp_path, MINIMAL)
    with pytest.raises(ValueError, match="frozen"):
        settings.timezone = "Asia/Singapore"
    with pytest.raises(ValueError, match="frozen"):
        settings.accounts[0].api_url = "http://elsewhere"


@pytest.mark.parametrize("key", ["known_hosts", "private_key"])
def test_a_missing_sftp_file_is_reported_with_its_key(tmp_path: Path, key: str) -> None:
    for name in ("known_hosts", "private_key"):
        if name != key:
            (tmp_path / name).write_text("")
    config = tmp_path / "callarchive.toml"
    config.write_text(
        'start_date = 2026-01-01\narchive = { url = "a" }\ncatalog = { url = "c" }\n'
        '[[accounts]]\nsubaccount_id = "acme"\napi_key = { file = "callarchive.toml" }\n'
        'landing = "sftp://u@127.0.0.1/x"\nsftp = { known_hosts = "known_hosts", private_key = "private_key" }\n'
        'session_sources = [{ kind = "log_export" }]\n'
    )
    with pytest.raises(ConfigurationError, match=rf"^accounts\.0\.sftp\.{key}: {tmp_path}/{key} cannot be read"):
        load_settings(config).require_secrets()

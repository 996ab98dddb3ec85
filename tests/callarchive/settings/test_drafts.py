"""A configuration in the making, and the files that are written together."""

import io
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given, settings
from hypothesis import strategies as st

from callarchive.domain.errors import ConfigurationError
from callarchive.settings.drafts import Draft, variable_name
from callarchive.settings.new_files import NewFile, write_together


@settings(max_examples=40)
@given(value=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_a_secret_is_read_back_unchanged_or_refused(value: str) -> None:
    draft = Draft(Path("/"))
    draft.secrets["ACME_KEY"] = value
    try:
        text = draft.dotenv("OTHER=1")
    except ConfigurationError as err:
        assert "${" in value
        assert value not in str(err)  # noqa: PT017
    else:
        assert dotenv_values(stream=io.StringIO(text)) == {"OTHER": "1", "ACME_KEY": value}


@pytest.mark.parametrize(
    ("existing", "value"),
    [("", "a\rb"), ("", "a\r\nb"), ("", "a\udcffb"), ("OTHER='never closed", "a b")],
    ids=["carriage return", "Windows line end", "not UTF-8", "unbalanced"],
)
def test_a_secret_that_the_file_would_change_is_refused(existing: str, value: str) -> None:
    draft = Draft(Path("/"))
    draft.secrets["ACME_KEY"] = value
    with pytest.raises(ConfigurationError, match="ACME_KEY cannot be read back"):
        draft.dotenv(existing)


def test_a_secret_fills_an_empty_variable_and_never_changes_another_value() -> None:
    draft = Draft(Path("/"))
    draft.secrets["ACME_KEY"] = "new"
    assert dotenv_values(stream=io.StringIO(draft.dotenv("ACME_KEY="))) == {"ACME_KEY": "new"}
    assert draft.dotenv("ACME_KEY=new\n") == "ACME_KEY=new\n"
    with pytest.raises(ConfigurationError, match="another value of ACME_KEY") as raised:
        draft.dotenv("ACME_KEY=old\n")
    assert "old" not in str(raised.value)


def test_accounts_with_similar_ids_have_variables_of_their_own(tmp_path: Path) -> None:
    held = Draft(tmp_path)
    for key, value in (("subaccount_id", "acme_sg"), ("api_key", {"env": "ACME_SG_API_KEY"})):
        held.put_account(key, value)
    draft = Draft(tmp_path, "\ufeff" + held.toml())  # saved by an editor that writes a byte order mark
    draft.put_account("subaccount_id", "acme-sg")
    assert draft.variable("API_KEY") == "ACME_SG_API_KEY_2"
    assert draft.variable("SFTP_PASSWORD") == "ACME_SG_SFTP_PASSWORD"
    assert draft.toml().count("[[accounts]]") == 2


def test_an_answer_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    draft = Draft(tmp_path)
    draft.put("archive.url", "/srv/\udcff")
    with pytest.raises(ConfigurationError, match="cannot be written as TOML"):
        draft.toml()


def test_a_rejected_value_leaves_the_draft_unchanged(tmp_path: Path) -> None:
    draft = Draft(tmp_path)
    draft.put_account("landing", "s3://acme-recordings")
    before = draft.toml()
    for key, value in (("landing", "ftp://x"), ("sftp", {"known_hosts": "k"}), ("nonsense", "1")):
        with pytest.raises(ConfigurationError):
            draft.put_account(key, value)
    assert draft.toml() == before


def test_inline_accounts_cannot_be_extended(tmp_path: Path) -> None:
    held = (
        'start_date = 2026-01-01\narchive.url = "a"\ncatalog.url = "c"\naccounts = [{ subaccount_id = "acme", '
        'api_key = { env = "K" }, landing = "s3://bkt", session_sources = [{ kind = "inbox" }] }]\n'
    )
    with pytest.raises(ConfigurationError, match="write accounts as"):
        Draft(tmp_path, held).toml()


def test_a_file_that_needs_the_environment_cannot_be_extended(tmp_path: Path) -> None:
    held = Draft(tmp_path).toml().replace("[archive]", "[inbox]").replace("unset-a", "sqlite:///i")
    with pytest.raises(ConfigurationError, match=r"by hand: archive: is missing"):
        Draft(tmp_path, held)


def test_the_variable_of_an_account_is_a_valid_name() -> None:
    assert variable_name("acme-sg.1&2", "API_KEY") == "ACME_SG_1_2_API_KEY"
    assert variable_name("8x8_sg", "API_KEY") == "_8X8_SG_API_KEY"


def test_files_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    one, two, taken = NewFile(tmp_path / "one", "1", mode=0o600), NewFile(tmp_path / "two", "2"), tmp_path / "taken"
    taken.write_text("kept")
    two.path.write_text("old")
    two = replace(two, replaces="old")
    for last in (NewFile(taken, "new"), NewFile(tmp_path / "no-folder" / "x", "new")):
        with pytest.raises(ConfigurationError, match=str(last.path)):
            write_together([one, two, last])
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"taken": "kept", "two": "old"}
    write_together([one, two])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"taken": "kept", "one": "1", "two": "2"}
    assert one.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_that_is_extended_keeps_its_owner_and_group(tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.write_text("1")
    os.chown(held, 1234, 2345)
    write_together([NewFile(held, "2", replaces="1", mode=0o640)])
    found = held.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 2345, 0o640)

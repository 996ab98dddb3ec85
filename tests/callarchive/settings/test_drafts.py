"""A configuration in the making, and the files that are written together."""

import io
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

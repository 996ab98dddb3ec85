from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from callarchive.domain.errors import ConfigurationError
from callarchive.settings import AccountSettings
from callarchive.sources import unite
from callarchive.sources.opening import open_sources

A = "11111111-1111-4111-8111-11111111111a"


class Nothing:
    """8x8 with one call on the day, and a store that keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "export.csv"
        self._file.write_text(f"SessionId,SourceEndpoint,InitiatedAt\n{A},+65 6123 4567,2026-11-01T10:00:00Z\n")

    @contextmanager
    def call_log(self, start: datetime, end: datetime) -> Iterator[list[Path]]:
        yield [self._file]

    def save_call_log(self, day: date, subaccount_id: str, files: Sequence[Path], mask: object) -> None: ...

    @contextmanager
    def load_call_log(self, day: date, subaccount_id: str) -> Iterator[list[Path] | None]:
        yield None


def account(*sources: dict[str, str], **options: Any) -> AccountSettings:
    return AccountSettings.model_validate(
        {
            "subaccount_id": "acme_sg",
            "api_key": {"env": "KEY"},
            "landing": "s3://bucket/prefix",
            "session_sources": list(sources),
            **options,
        }
    )


def open_all(settings: AccountSettings, tmp_path: Path) -> list[Any]:
    fake = Nothing(tmp_path)
    return open_sources(
        settings,
        ZoneInfo("UTC"),
        voice=fake,
        responses=fake,
        inbox=lambda: None,
        clock=lambda: datetime(2026, 11, 20, tzinfo=UTC),
    )


def test_sources_are_opened_in_order_without_side_effects(tmp_path: Path) -> None:
    settings = account({"kind": "files", "path": "/nowhere/{day}.csv"}, {"kind": "log_export"})
    assert [source.kind for source in open_all(settings, tmp_path)] == ["files", "log_export"]


def test_a_session_in_export_and_list_has_both_as_sources(tmp_path: Path) -> None:
    (tmp_path / "2026-11-01.txt").write_text(A)
    settings = account({"kind": "log_export"}, {"kind": "files", "path": f"{tmp_path}/{{day}}.txt"})
    [session] = unite(source.find(date(2026, 11, 1)) for source in open_all(settings, tmp_path)).sessions
    assert session.sources == ("files", "log_export")
    assert session.started_at == datetime(2026, 11, 1, 10, tzinfo=UTC)


def test_phone_numbers_are_dropped_unless_the_account_keeps_them(tmp_path: Path) -> None:
    def number(**options: Any) -> str | None:
        [source] = open_all(account({"kind": "log_export"}, **options), tmp_path)
        found: str | None = source.find(date(2026, 11, 1)).sessions[0].source_number
        return found

    assert number() is None
    assert number(phone_numbers="keep") == "+65 6123 4567"


def test_a_missing_hash_key_is_reported_before_anything_is_read(tmp_path: Path) -> None:
    settings = account({"kind": "log_export"}, phone_numbers="hash", phone_hash_key={"env": "CALLARCHIVE_NO_SUCH_KEY"})
    with pytest.raises(ConfigurationError, match="CALLARCHIVE_NO_SUCH_KEY is not set"):
        open_all(settings, tmp_path)

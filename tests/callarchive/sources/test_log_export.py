from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from callarchive.domain.errors import ExportError, ExportFailedError, SourceError
from callarchive.domain.models import RowProblem, Session
from callarchive.domain.phone_numbers import PhoneNumberMask
from callarchive.sources.gathering import SourceContext
from callarchive.sources.log_export import LogExportSessions

A = "11111111-1111-4111-8111-11111111111a"
B = "11111111-1111-4111-8111-11111111111b"
C = "11111111-1111-4111-8111-11111111111c"
DAY = date(2026, 11, 1)
COLUMNS = (
    "SessionId,CallId,SubAccountId,SourceEndpoint,DestinationEndpoint,InitiatedAt,DisconnectedAt,DurationInSec,"
    "UnitPriceCurrency,TotalPriceOfCall,SessionStatus\r\n"
)


class Calls:
    """A simulated 8x8: returns the same files for every request, and records the requests."""

    def __init__(self, folder: Path, *texts: str) -> None:
        self.requested: list[tuple[datetime, datetime]] = []
        self.error: Exception | None = None
        self.files = []
        for number, text in enumerate(texts):
            self.files.append(folder / f"{number}.csv")
            self.files[-1].write_text(text, newline="")

    @contextmanager
    def call_log(self, start: datetime, end: datetime) -> Iterator[list[Path]]:
        self.requested.append((start, end))
        if self.error is not None:
            raise self.error
        yield self.files


class Kept:
    """A simulated response store."""

    def __init__(self) -> None:
        self.logs: dict[tuple[date, str], list[Path]] = {}
        self.masked_as: list[str | None] = []

    def save_call_log(self, day: date, subaccount_id: str, files: Sequence[Path], mask: PhoneNumberMask) -> None:
        assert all(file.exists() for file in files)
        self.logs[day, subaccount_id] = list(files)
        self.masked_as.append(mask("+65"))

    @contextmanager
    def load_call_log(self, day: date, subaccount_id: str) -> Iterator[list[Path] | None]:
        yield self.logs.get((day, subaccount_id))


def source(
    calls: Calls,
    *,
    timezone: str = "UTC",
    now: datetime = datetime(2026, 11, 20, tzinfo=UTC),
    kept: Kept | None = None,
    reread: bool = False,
) -> LogExportSessions:
    context = SourceContext(
        subaccount_id="acme_sg",
        timezone=ZoneInfo(timezone),
        mask=lambda number: None if number is None else f"<{number}>",
        clock=lambda: now,
    )
    return LogExportSessions(context, calls, Kept() if kept is None else kept, reread=reread)


def test_legs_of_the_export_become_sessions_of_the_day(tmp_path: Path) -> None:
    calls = Calls(
        tmp_path,
        COLUMNS + f"{A},a1,acme_sg,+651,+652,2026-11-01T10:00:00,2026-11-01T10:02:00,115,USD,0.02,COMPLETED\r\n"
        f"{A},a2,acme_sg,+653,+651,2026-11-01T10:00:05,2026-11-01T10:02:01,110,USD,0.03,COMPLETED\r\n"
        f"{B},b1,acme_sg,+654,,2026-11-01T11:00:00,2026-11-01T11:00:20,,USD,0,NO ANSWER\r\n",
    )
    findings = source(calls).find(DAY)
    assert findings.problems == ()
    assert findings.sessions == (
        Session(
            "acme_sg",
            A,
            started_at=datetime(2026, 11, 1, 10, 0, 0, tzinfo=UTC),
            ended_at=datetime(2026, 11, 1, 10, 2, 1, tzinfo=UTC),
            session_status="COMPLETED",
            call_count=2,
            call_duration_s=115.0,
            price=Decimal("0.05"),
            price_currency="USD",
            source_number="<+651>",
            destination_number="<+652>",
            sources=("log_export",),
        ),
        Session(
            "acme_sg",
            B,
            started_at=datetime(2026, 11, 1, 11, 0, 0, tzinfo=UTC),
            ended_at=datetime(2026, 11, 1, 11, 0, 20, tzinfo=UTC),
            session_status="NO_ANSWER",
            call_count=1,
            price=Decimal(0),
            price_currency="USD",
            source_number="<+654>",
            sources=("log_export",),
        ),
    )


@pytest.mark.parametrize(
    ("timezone", "day", "start", "end"),
    [
        ("UTC", DAY, "2026-10-31T12:00:00Z", "2026-11-02T12:00:00Z"),
        ("Asia/Singapore", DAY, "2026-10-31T04:00:00Z", "2026-11-02T04:00:00Z"),
        ("America/New_York", DAY, "2026-10-31T16:00:00Z", "2026-11-02T17:00:00Z"),  # 25 hours long
        ("America/New_York", date(2026, 3, 8), "2026-03-07T17:00:00Z", "2026-03-09T16:00:00Z"),  # 23
    ],
)
def test_twelve_hours_on_either_side_of_the_day_are_requested(
    timezone: str, day: date, start: str, end: str, tmp_path: Path
) -> None:
    calls = Calls(tmp_path)
    source(calls, timezone=timezone).find(day)
    assert calls.requested == [(datetime.fromisoformat(start), datetime.fromisoformat(end))]


def test_the_future_is_not_requested(tmp_path: Path) -> None:
    calls = Calls(tmp_path)
    now = datetime(2026, 11, 1, 15, 30, tzinfo=UTC)
    source(calls, now=now).find(DAY)
    assert calls.requested == [(datetime(2026, 10, 31, 12, tzinfo=UTC), now)]


@pytest.mark.parametrize("early", [timedelta(0), timedelta(days=30)])
def test_a_day_that_has_not_begun_is_refused_without_a_request(early: timedelta, tmp_path: Path) -> None:
    calls = Calls(tmp_path)
    with pytest.raises(SourceError, match="2026-11-01 has not begun"):
        source(calls, now=datetime(2026, 10, 31, 12, tzinfo=UTC) - early).find(DAY)
    assert calls.requested == []


def test_a_session_over_midnight_belongs_to_the_day_of_its_first_leg_alone(tmp_path: Path) -> None:
    calls = Calls(
        tmp_path,
        COLUMNS + f"{A},a2,,,,2026-11-02T00:00:03,2026-11-02T00:09:00,,,,\r\n"
        f"{A},a1,,,,2026-11-01T23:59:57,2026-11-02T00:09:01,,,,\r\n",
    )
    found = {day: source(calls).find(date(2026, 11, day)) for day in (1, 2, 3)}
    assert {day: [session.session_id for session in findings.sessions] for day, findings in found.items()} == {
        1: [A],
        2: [],
        3: [],
    }
    assert found[1].sessions[0].ended_at == datetime(2026, 11, 2, 0, 9, 1, tzinfo=UTC)
    assert all(findings.problems == () for findings in found.values())


def test_legs_of_one_session_may_be_in_several_files(tmp_path: Path) -> None:
    calls = Calls(
        tmp_path,
        COLUMNS + f"{A},a1,,,,2026-11-01T10:00:00,,5,,,\r\n",
        COLUMNS + f"{A},a1,,,,2026-11-01T10:00:00,,5,,,\r\n{A},a2,,,,2026-11-01T09:00:00,,7,,,\r\n",
        COLUMNS,
    )
    [session] = source(calls).find(DAY).sessions
    assert (session.call_count, session.call_duration_s) == (2, 7.0)
    assert session.started_at == datetime(2026, 11, 1, 9, tzinfo=UTC)


def test_an_export_without_files_is_a_day_without_sessions_and_is_kept(tmp_path: Path) -> None:
    kept = Kept()
    findings = source(Calls(tmp_path), kept=kept).find(DAY)
    assert (findings.sessions, findings.problems) == ((), ())
    assert kept.logs == {(DAY, "acme_sg"): []}


def test_an_empty_export_file_is_not_a_day_without_calls(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="file 1 of 1: empty") as caught:
        source(Calls(tmp_path, "")).find(DAY)
    assert caught.value.retryable


def test_an_export_file_with_other_content_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="call log of 2026-11-01, file 2 of 2 has no column session_id"):
        source(Calls(tmp_path, COLUMNS, "<html>\n<body>")).find(DAY)


def test_a_bad_row_is_reported_with_its_files_number_not_a_temporary_name(tmp_path: Path) -> None:
    good = f"{A},a1,,,,2026-11-01T10:00:00,,,,,\r\n"
    calls = Calls(tmp_path, COLUMNS + good, COLUMNS + "oops,a1,,,,2026-11-01T10:00:00,,,,,\r\n")
    assert source(calls).find(DAY).problems == (
        RowProblem("log_export", "call log of 2026-11-01, file 2 of 2", 2, "not a session id (a UUID): 'oops'"),
    )


def test_an_error_of_8x8_is_not_an_empty_day(tmp_path: Path) -> None:
    calls = Calls(tmp_path)
    calls.error = ExportFailedError("no")
    kept = Kept()
    with pytest.raises(ExportFailedError):
        source(calls, kept=kept).find(DAY)
    assert kept.logs == {}


def test_a_kept_call_log_is_read_without_a_request_and_without_masking_twice(tmp_path: Path) -> None:
    calls = Calls(tmp_path, COLUMNS + f"{A},a1,,+651,,2026-11-01T10:00:00,,,,,\r\n")
    kept = Kept()
    source(calls, kept=kept).find(DAY)
    assert kept.masked_as == ["<+65>"]
    [session] = source(calls, kept=kept, reread=True).find(DAY).sessions
    assert session.source_number == "+651"
    assert len(calls.requested) == 1
    assert len(kept.masked_as) == 1


def test_a_kept_empty_call_log_is_a_day_without_sessions(tmp_path: Path) -> None:
    kept = Kept()
    calls = Calls(tmp_path)
    source(calls, kept=kept).find(DAY)
    assert source(calls, kept=kept, reread=True).find(DAY).sessions == ()


def test_a_call_log_that_was_never_kept_cannot_be_reread(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no call log of 2026-11-01 is kept"):
        source(Calls(tmp_path), reread=True).find(DAY)


LEG = f"{A},a1,,,,2026-11-01T10:00:00,,,,,"
CUT_INSIDE = (
    "SessionId,InitiatedAt,Content\r\n"
    f'{A},2026-11-01T10:00:00,"short"\r\n'
    f'{B},2026-11-01T11:00:00,"a flow\r\nof several lines\r\n'
)


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        ([COLUMNS], "has no row"),
        ([COLUMNS, COLUMNS], "has no row"),
        ([COLUMNS + COLUMNS], "has no row"),
        (["\r\n\r\n"], "has no row"),
        ([""], "file 1 of 1: empty"),
        ([COLUMNS + LEG + "\r\n", ""], "file 2 of 2: empty"),
        ([CUT_INSIDE], "file 1 of 1: ends inside the row of line 3"),
        ([CUT_INSIDE.removesuffix("of several lines\r\n")], "ends inside the row of line 3"),
        ([CUT_INSIDE, COLUMNS + LEG + "\r\n"], "file 1 of 2: ends inside the row of line 3"),
    ],
)
def test_an_export_that_may_have_been_cut_is_retried_once_and_then_fails(
    texts: list[str], why: str, tmp_path: Path
) -> None:
    calls, kept = Calls(tmp_path, *texts), Kept()
    with pytest.raises(ExportError, match=why) as caught:
        source(calls, kept=kept).find(DAY)
    assert caught.value.retryable
    assert "acme_sg" in str(caught.value)
    assert (len(calls.requested), kept.logs) == (2, {})


def test_a_second_export_that_is_whole_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "first"
    folder.mkdir()
    calls = Calls(folder, COLUMNS)

    class Twice(Calls):
        @contextmanager
        def call_log(self, start: datetime, end: datetime) -> Iterator[list[Path]]:
            if not self.requested:
                self.requested.append((start, end))
                yield calls.files
            else:
                with super().call_log(start, end) as files:
                    yield files

    whole = Twice(tmp_path, COLUMNS + LEG + "\r\n")
    assert [session.session_id for session in source(whole).find(DAY).sessions] == [A]
    assert len(whole.requested) == 2


@pytest.mark.parametrize(
    "content",
    [
        f'{B},2026-11-01T11:00:00,"two\r\nlines"\r\n',
        f'{B},2026-11-01T11:00:00,"{{"say":"hi"}}"\r\n',
        f'{B},2026-11-01T11:00:00,5" pipe\r\n{C},2026-11-01T12:00:00,fine\r\n',
    ],
)
def test_line_breaks_and_quotes_in_a_field_are_not_a_cut(content: str, tmp_path: Path) -> None:
    calls = Calls(tmp_path, f"SessionId,InitiatedAt,Content\r\n{A},2026-11-01T10:00:00,x\r\n{content}")
    findings = source(calls).find(DAY)
    assert A in {session.session_id for session in findings.sessions}
    assert len(calls.requested) == 1


def test_an_export_whose_rows_name_no_session_is_refused(tmp_path: Path) -> None:
    rows = "".join(f"{number},a{number},,,,2026-11-01T10:00:00,,,,,\r\n" for number in range(5))
    with pytest.raises(SourceError, match=r"none of its 5 rows names a session.*file 1 of 1, line 2: not a session id"):
        source(Calls(tmp_path, COLUMNS + rows)).find(DAY)


def test_a_kept_call_log_without_rows_is_not_a_day_without_calls(tmp_path: Path) -> None:
    kept = Kept()
    kept.logs[DAY, "acme_sg"] = Calls(tmp_path, COLUMNS).files
    with pytest.raises(SourceError, match="run the day without re-reading"):
        source(Calls(tmp_path), kept=kept, reread=True).find(DAY)

import itertools
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from callarchive.domain.models import Findings, RowProblem, Session
from callarchive.sources.call_log_csv import LegFacts, LogRow
from callarchive.sources.gathering import Gathering, Problems, SourceContext

DAY = date(2026, 11, 1)
NOW = datetime(2026, 11, 20, tzinfo=UTC)
V4 = "11111111-1111-4111-8111-11111111111a"
OTHER_V4 = "11111111-1111-4111-8111-11111111111b"
NOON = "2026-11-01T12:00:00Z"


def gather(
    *legs: LegFacts | LogRow,
    day: date = DAY,
    timezone: str = "UTC",
    dated_by_file: bool = False,
    requested: tuple[datetime, datetime] | None = None,
    mask: Callable[[str | None], str | None] = lambda number: number,
) -> Findings:
    context = SourceContext(subaccount_id="acme_sg", timezone=ZoneInfo(timezone), mask=mask, clock=lambda: NOW)
    gathering = Gathering(context, source="log_export", day=day, dated_by_file=dated_by_file, requested=requested)
    for line, leg in enumerate(legs, 2):
        gathering.add(leg if isinstance(leg, LogRow) else LogRow(line, leg), file="calls.csv")
    return gathering.findings()


def leg(call_id: str, started_at: str = NOON, **facts: str) -> LegFacts:
    return LegFacts(session_id=V4, call_id=call_id, started_at=started_at, **facts)


def only(findings: Findings) -> Session:
    assert findings.problems == ()
    [session] = findings.sessions
    return session


def reasons(findings: Findings) -> list[tuple[int | None, str]]:
    return [(problem.line, problem.reason) for problem in findings.problems]


def test_legs_become_one_session_from_the_first_start_to_the_last_end() -> None:
    session = only(
        gather(
            leg("2", "2026-11-01T12:00:30Z", ended_at="2026-11-01T12:04:00Z", call_duration_s="205"),
            leg("1", "2026-11-01T12:00:00Z", ended_at="2026-11-01T12:04:01Z", call_duration_s="210.5"),
            leg("3", "2026-11-01T12:01:00Z", ended_at="2026-11-01T12:01:10Z"),
        )
    )
    assert session == Session(
        "acme_sg",
        V4,
        started_at=datetime(2026, 11, 1, 12, 0, tzinfo=UTC),
        ended_at=datetime(2026, 11, 1, 12, 4, 1, tzinfo=UTC),
        call_count=3,
        call_duration_s=210.5,
        sources=("log_export",),
    )


def test_the_same_call_id_counts_once() -> None:
    twice = leg("1", price="0.5", price_currency="USD")
    session = only(gather(twice, twice, leg("2", price="0.25", price_currency="USD"), twice))
    assert (session.call_count, session.price) == (2, Decimal("0.75"))


def test_a_call_id_counts_once_among_many() -> None:
    assert only(gather(*(leg(str(number % 50)) for number in range(500)))).call_count == 50


def test_a_repeated_row_without_a_call_id_is_charged_once() -> None:
    session = only(gather(leg("", price="0.5"), leg("", price="0.5")))
    assert (session.price, session.call_count) == (Decimal("0.5"), None)


def test_the_worst_leg_gives_the_quality_of_the_call() -> None:
    assert only(gather(leg("1", mos="4.21"), leg("2", mos=" 3.5 "), leg("3"), leg("4", mos=" "))).mos == 3.5
    assert only(gather(leg("1"))).mos is None


@pytest.mark.parametrize("text", ["4,1", "0", "-1", "5.01", "nan", "inf", "N/A", "4.2 (good)"])
def test_a_quality_that_is_no_score_is_null_and_a_problem(text: str) -> None:
    findings = gather(leg("1", mos=text))
    assert [session.mos for session in findings.sessions] == [None]
    assert reasons(findings) == [(2, f"MOS is not a score from 1 to 5: {text!r}")]


def test_an_id_in_upper_case_is_the_same_session() -> None:
    upper = LegFacts(session_id=V4.upper(), call_id="2", started_at=NOON)
    session = only(gather(leg("1"), upper, upper))
    assert (session.session_id, session.call_count) == (V4, 2)


@pytest.mark.parametrize("quoting", ["'{}", '="{}"', " {} ", '"{}"', "\ufeff{}"])
def test_a_spreadsheets_quotes_around_an_id_are_removed(quoting: str) -> None:
    assert only(gather(LegFacts(session_id=quoting.format(V4), started_at=NOON))).session_id == V4


@pytest.mark.parametrize(
    "bad",
    ["=cmd|' /C calc'!A0", "../../etc/passwd", "x" * 10_000, V4[:-1], V4 + "\0", "１" * 36, "{{" + V4, f"={V4}"],
)
def test_an_invalid_uuid_is_set_aside_with_its_line_and_shortened(bad: str) -> None:
    findings = gather(LegFacts(session_id=bad), leg("1"))
    assert len(findings.sessions) == 1
    [problem] = findings.problems
    assert (problem.source, problem.file, problem.line) == ("log_export", "calls.csv", 2)
    assert problem.reason.startswith("not a session id (a UUID): ")
    assert len(problem.reason) < 100
    assert problem.reason.isascii()


def test_a_phone_number_in_the_place_of_an_id_is_not_shown() -> None:
    [problem] = gather(LegFacts(session_id="+6591234567")).problems
    assert "6591234567" not in problem.reason


def test_a_row_without_an_id_is_set_aside() -> None:
    assert reasons(gather(LegFacts(call_id="1", started_at=NOON))) == [(2, "has no session id")]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("COMPLETED", "COMPLETED"),
        ("completed", "COMPLETED"),
        ("NO ANSWER", "NO_ANSWER"),
        ("no-answer", "NO_ANSWER"),
        (" CANCELLED ", "CANCELED"),
        ("Cancelled", "CANCELED"),
        ("SOMETHING NEW", "SOMETHING_NEW"),
        ("", None),
        ("  ", None),
    ],
)
def test_a_status_has_one_spelling(text: str, status: str | None) -> None:
    assert only(gather(leg("1", session_status=text))).session_status == status


def test_the_last_legs_status_wins_in_any_order() -> None:
    legs = [
        leg("1", "2026-11-01T12:00:00Z", session_status="BUSY"),
        leg("2", "2026-11-01T12:00:02Z", session_status="COMPLETED"),
        leg("3", "2026-11-01T12:00:01Z", session_status="FAILED"),
        leg("4", "2026-11-01T12:00:03Z"),
    ]
    for order in itertools.permutations(legs):
        assert only(gather(*order)).session_status == "COMPLETED"


def test_a_status_that_is_not_a_word_is_a_problem() -> None:
    findings = gather(leg("1", session_status="=1+1"), leg("2", "2026-11-01T11:00:00Z", session_status="BUSY"))
    assert reasons(findings) == [(2, "SessionStatus is not a word: '=1+1'")]
    assert findings.sessions[0].session_status == "BUSY"


def test_prices_of_all_legs_are_added_exactly() -> None:
    legs = [leg(str(number), price="0.1", price_currency="USD") for number in range(3)]
    session = only(gather(*legs, leg("4", price="", price_currency="")))
    assert (session.price, session.price_currency) == (Decimal("0.3"), "USD")


def test_a_free_leg_without_a_currency_does_not_change_the_sum() -> None:
    session = only(gather(leg("1", price="0"), leg("2", price="0.5", price_currency="usd"), leg("3", price="0.00")))
    assert (session.price, session.price_currency) == (Decimal("0.5"), "USD")


def test_prices_in_two_currencies_have_no_sum() -> None:
    session = only(gather(leg("1", price="1", price_currency="USD"), leg("2", price="1", price_currency="SGD")))
    assert (session.price, session.price_currency) == (None, None)


def test_a_session_without_prices_has_none() -> None:
    session = only(gather(leg("1", price_currency="USD")))
    assert (session.price, session.price_currency) == (None, None)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e400", "0,25", "free", "99999999"])
def test_an_unreadable_price_makes_the_sum_unknown_and_is_reported(text: str) -> None:
    findings = gather(leg("1", price=text, price_currency="USD"), leg("2", price="1", price_currency="USD"))
    assert findings.sessions[0].price is None
    assert [line for line, _ in reasons(findings)] == [2]


def test_a_price_fits_the_catalogs_column() -> None:
    assert only(gather(leg("1", price="0.123456789"))).price == Decimal("0.123457")


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "1e400", "1_0", "ten", "1e9"])
def test_an_unreadable_duration_is_a_problem_and_none(text: str) -> None:
    findings = gather(leg("1", call_duration_s=text))
    assert findings.sessions[0].call_duration_s is None
    assert [line for line, _ in reasons(findings)] == [2]


def test_a_lists_call_count_replaces_the_number_of_legs() -> None:
    assert only(gather(leg("", call_count="3"))).call_count == 3
    findings = gather(leg("", call_count="2.5"))
    assert findings.sessions[0].call_count is None
    assert [line for line, _ in reasons(findings)] == [2]


def test_phone_numbers_are_the_first_legs_masked() -> None:
    masked: list[str | None] = []

    def mask(number: str | None) -> str | None:
        masked.append(number)
        return f"<{number}>"

    session = only(
        gather(
            leg("2", "2026-11-01T12:00:01Z", source_number="+652", destination_number="+653"),
            leg("1", "2026-11-01T12:00:00Z", source_number=" '+651", destination_number=""),
            mask=mask,
        )
    )
    assert masked == ["+651", None]
    assert (session.source_number, session.destination_number) == ("<+651>", "<None>")


def test_a_bare_row_does_not_hide_a_legs_numbers() -> None:
    bare, full = LegFacts(session_id=V4), LegFacts(session_id=V4, call_id="1", source_number="+651")
    for order in ([bare, full], [full, bare]):
        assert only(gather(*order, dated_by_file=True)).source_number == "+651"


def test_rows_of_another_subaccount_are_problems() -> None:
    findings = gather(leg("1", subaccount_id="acme_my"), leg("2", subaccount_id="ACME_SG"), leg("3", subaccount_id=" "))
    assert findings.sessions[0].call_count == 2
    assert reasons(findings) == [(2, "belongs to another subaccount, 'acme_my'")]


def test_an_unreadable_time_is_reported_and_the_id_dates_the_session(uuid1_at: Callable[..., str]) -> None:
    session_id = uuid1_at(datetime(2026, 11, 1, 9, tzinfo=UTC))
    findings = gather(LegFacts(session_id=session_id, started_at="yesterday"))
    assert findings.sessions == (Session("acme_sg", session_id, sources=("log_export",)),)
    assert reasons(findings) == [(2, "start (InitiatedAt or started_at) is no time of a call: 'yesterday'")]


@pytest.mark.parametrize("unset", ["", " ", "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00Z", "0001-01-01T00:00:00"])
def test_a_time_that_was_never_set_is_none_and_not_a_problem(unset: str, uuid1_at: Callable[..., str]) -> None:
    session_id = uuid1_at(datetime(2026, 11, 1, 9, tzinfo=UTC))
    session = only(gather(LegFacts(session_id=session_id, started_at=unset, ended_at=unset)))
    assert (session.started_at, session.ended_at) == (None, None)


@pytest.mark.parametrize("text", ["2014-12-31T23:59:59Z", "2026-11-23T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_an_implausible_time_is_a_problem(text: str) -> None:
    findings = gather(leg("1", ended_at=text))
    assert findings.sessions[0].ended_at is None
    assert [line for line, _ in reasons(findings)] == [2]


def test_the_uuids_time_is_never_reported_as_a_start(uuid1_at: Callable[..., str]) -> None:
    session = only(gather(LegFacts(session_id=uuid1_at(datetime(2026, 11, 1, 9, tzinfo=UTC)))))
    assert session.started_at is None


def test_a_rows_time_takes_precedence_over_the_uuids(uuid1_at: Callable[..., str]) -> None:
    yesterday = uuid1_at(datetime(2026, 10, 31, 9, tzinfo=UTC))
    assert len(gather(LegFacts(session_id=yesterday, started_at=NOON)).sessions) == 1


def test_an_id_without_a_date_is_reported() -> None:
    findings = gather(LegFacts(session_id=V4))
    assert findings.sessions == ()
    assert reasons(findings) == [(2, f"session {V4} has no readable time, and its id gives none: its day is unknown")]


def test_an_implausible_time_in_an_id_dates_nothing(uuid1_at: Callable[..., str]) -> None:
    findings = gather(*(LegFacts(session_id=uuid1_at(datetime(year, 11, 1, tzinfo=UTC))) for year in (1999, 2030)))
    assert findings.sessions == ()
    assert len(findings.problems) == 2


def test_an_ids_time_outside_the_requested_range_dates_nothing(uuid1_at: Callable[..., str]) -> None:
    requested = datetime(2026, 10, 31, 18, tzinfo=UTC), datetime(2026, 11, 2, 6, tzinfo=UTC)
    inside = uuid1_at(datetime(2026, 11, 2, 5, tzinfo=UTC))
    outside = uuid1_at(datetime(2026, 11, 5, tzinfo=UTC))
    findings = gather(LegFacts(session_id=inside), LegFacts(session_id=outside), requested=requested)
    assert findings.sessions == ()
    assert [line for line, _ in reasons(findings)] == [3]


def test_the_day_of_a_file_takes_precedence_over_its_rows_times(uuid1_at: Callable[..., str]) -> None:
    elsewhere = uuid1_at(datetime(2026, 1, 1, tzinfo=UTC))
    findings = gather(
        LegFacts(session_id=V4),
        LegFacts(session_id=elsewhere),
        LegFacts(session_id=OTHER_V4, started_at="2026-10-01T00:00:00Z"),
        dated_by_file=True,
    )
    assert findings.problems == ()
    assert {session.session_id: session.started_at for session in findings.sessions} == {
        V4: None,
        elsewhere: None,
        OTHER_V4: datetime(2026, 10, 1, tzinfo=UTC),
    }


def test_bad_rows_of_other_days_are_skipped(uuid1_at: Callable[..., str]) -> None:
    other_day = "2026-11-05T12:00:00Z"
    findings = gather(
        LegFacts(session_id="bad", started_at=other_day),
        LegFacts(session_id="bad", started_at=NOON),
        leg("1", other_day, subaccount_id="acme_my"),
        LegFacts(session_id=uuid1_at(datetime(2026, 11, 5, tzinfo=UTC)), started_at="unreadable"),
        leg("1", other_day, price="free"),
    )
    assert [line for line, _ in reasons(findings)] == [3]
    assert findings.sessions == ()


@pytest.mark.parametrize(
    ("timezone", "day", "first_instant", "hours"),
    [
        ("UTC", date(2028, 2, 29), "2028-02-29T00:00:00Z", 24),
        ("Asia/Singapore", date(2026, 11, 1), "2026-10-31T16:00:00Z", 24),
        ("America/New_York", date(2026, 3, 8), "2026-03-08T05:00:00Z", 23),
        ("America/New_York", date(2026, 11, 1), "2026-11-01T04:00:00Z", 25),
        ("Australia/Lord_Howe", date(2026, 4, 5), "2026-04-04T13:00:00Z", 24.5),
        ("Asia/Beirut", date(2026, 3, 29), "2026-03-28T22:00:00Z", 23),
    ],
)
def test_every_hour_of_a_long_or_short_day_falls_in_exactly_one_of_three(
    timezone: str, day: date, first_instant: str, hours: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.NOW", datetime(2028, 12, 1, tzinfo=UTC))
    begin = datetime.fromisoformat(first_instant)
    seconds = [-3600, -1, 0, 1, 3600, 7200, hours * 3600 - 1, hours * 3600, hours * 3600 + 3600]
    for second in seconds:
        at = (begin + timedelta(seconds=second)).isoformat()
        found = [
            len(gather(leg("1", at), day=day + timedelta(days=offset), timezone=timezone).sessions)
            for offset in (-1, 0, 1)
        ]
        assert found == [second < 0, 0 <= second < hours * 3600, second >= hours * 3600]


def test_a_session_across_midnight_belongs_to_its_first_legs_day_alone() -> None:
    legs = leg("b", "2026-11-02T00:00:10Z"), leg("a", "2026-11-01T23:59:50Z")
    counts = [gather(*legs, day=day).sessions for day in (date(2026, 10, 31), DAY, date(2026, 11, 2))]
    assert [len(sessions) for sessions in counts] == [0, 1, 0]
    assert counts[1][0].call_count == 2


def test_only_the_id_of_a_flawed_row_is_used_and_the_flaw_is_reported() -> None:
    findings = gather(
        LogRow(9, LegFacts(session_id=V4), "has 3 fields where the header has 5"),
        LogRow(10, LegFacts(), "has a misplaced quote"),
        LogRow(11, LegFacts(session_id="no id"), "has 3 fields where the header has 5"),
        dated_by_file=True,
    )
    assert [session.session_id for session in findings.sessions] == [V4]
    assert reasons(findings) == [
        (9, "has 3 fields where the header has 5: only its session id is used"),
        (10, "has a misplaced quote"),
        (11, "has 3 fields where the header has 5; not a session id (a UUID): 'no id'"),
    ]


def test_the_order_of_rows_does_not_matter() -> None:
    rows = [
        leg("1", "2026-11-01T12:00:00Z", source_number="1", session_status="BUSY", price="1"),
        leg("2", "2026-11-01T12:00:00Z", source_number="2", session_status="FAILED", price="2"),
        leg("3", "", source_number="3", session_status="ERROR", ended_at="2026-11-01T13:00:00Z"),
        leg("4", "2026-11-01T12:30:00Z", source_number="4", call_duration_s="7"),
    ]
    assert len({gather(*order) for order in itertools.permutations(rows)}) == 1


def test_sessions_are_ordered_by_id() -> None:
    findings = gather(LegFacts(session_id=OTHER_V4), LegFacts(session_id=V4), dated_by_file=True)
    assert [session.session_id for session in findings.sessions] == [V4, OTHER_V4]


def test_a_thousand_problems_are_kept_and_the_rest_counted() -> None:
    problems = Problems("files")
    for line in range(1, 1058):
        problems.add(file="ids.txt", line=line, reason="bad")
    kept = problems.all()
    assert kept[0] == RowProblem("files", "ids.txt", 1, "bad")
    assert kept[999] == RowProblem("files", "ids.txt", 1000, "bad")
    assert kept[1000:] == (RowProblem("files", "ids.txt", None, "... and 57 more"),)

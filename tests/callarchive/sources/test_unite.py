from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callarchive.domain.models import Findings, RowProblem, Session
from callarchive.sources import unite

A = "11111111-1111-4111-8111-11111111111a"
B = "11111111-1111-4111-8111-11111111111b"


def at(hour: int) -> datetime:
    return datetime(2026, 11, 1, hour, tzinfo=UTC)


def one(**facts: object) -> Findings:
    return Findings((Session("acme", A, **facts),))  # type: ignore[arg-type]


def test_the_union_of_nothing_is_empty() -> None:
    assert unite([]) == Findings()
    assert unite([Findings(), Findings()]) == Findings()


def test_a_session_of_two_sources_has_both_kinds_sorted() -> None:
    united = unite([one(sources=("log_export",)), one(sources=("files",))])
    assert united.sessions == (Session("acme", A, sources=("files", "log_export")),)


def test_sessions_of_two_accounts_stay_separate_and_ordered() -> None:
    found = unite([Findings((Session("b", A), Session("b", B))), Findings((Session("a", B),))])
    assert [(session.subaccount_id, session.session_id) for session in found.sessions] == [("a", B), ("b", A), ("b", B)]


@pytest.mark.parametrize(
    ("better", "worse"), [("log_export", "inbox"), ("inbox", "sql"), ("sql", "files"), ("files", "something")]
)
def test_a_fact_comes_from_the_better_source_in_any_order(better: str, worse: str) -> None:
    trusted = one(session_status="COMPLETED", call_count=2, sources=(better,))
    other = one(session_status="BUSY", call_count=9, sources=(worse,))
    for order in ([trusted, other], [other, trusted]):
        [session] = unite(order).sessions
        assert (session.session_status, session.call_count) == ("COMPLETED", 2)


def test_a_fact_that_the_better_source_lacks_comes_from_the_next() -> None:
    [session] = unite([one(sources=("log_export",)), one(call_duration_s=3.5, sources=("files",))]).sessions
    assert session.call_duration_s == 3.5


def test_zero_is_a_fact() -> None:
    [session] = unite(
        [one(call_duration_s=0.0, sources=("log_export",)), one(call_duration_s=9.0, sources=("files",))]
    ).sessions
    assert session.call_duration_s == 0.0


def test_the_start_is_the_earliest_and_the_end_the_latest_of_any_source() -> None:
    [session] = unite(
        [
            one(started_at=at(9), ended_at=at(10), sources=("log_export",)),
            one(started_at=at(8), ended_at=at(9), sources=("files",)),
            one(ended_at=at(11), sources=("inbox",)),
        ]
    ).sessions
    assert (session.started_at, session.ended_at) == (at(8), at(11))


def test_price_and_currency_come_from_one_source() -> None:
    [session] = unite(
        [
            one(price=Decimal(1), sources=("log_export",)),
            one(price=Decimal(2), price_currency="USD", sources=("files",)),
        ]
    ).sessions
    assert (session.price, session.price_currency) == (Decimal(1), None)


def test_two_sources_of_a_kind_that_disagree_are_united_the_same_in_any_order() -> None:
    one_list, other_list = one(call_count=1, sources=("files",)), one(call_count=2, sources=("files",))
    assert unite([one_list, other_list]) == unite([other_list, one_list])


def test_problems_of_all_sources_are_kept_in_a_fixed_order() -> None:
    of_files = RowProblem("files", "a.csv", 7, "bad"), RowProblem("files", "a.csv", 3, "worse")
    of_export = (RowProblem("log_export", "call log", 1, "bad"),)
    for order in ([of_files, of_export], [of_export, of_files]):
        assert unite([Findings((), problems) for problems in order]).problems == of_export + of_files


_SESSIONS = st.builds(
    Session,
    subaccount_id=st.sampled_from(["a", "b"]),
    session_id=st.sampled_from([A, B]),
    started_at=st.none() | st.sampled_from([at(1), at(2), at(3)]),
    ended_at=st.none() | st.sampled_from([at(4), at(5)]),
    session_status=st.none() | st.sampled_from(["BUSY", "FAILED"]),
    call_count=st.none() | st.integers(0, 3),
    price=st.none() | st.sampled_from([Decimal(0), Decimal("0.5")]),
    price_currency=st.none() | st.sampled_from(["USD", "SGD"]),
    sources=st.sampled_from([("files",), ("log_export",), ("inbox",), ("sql",)]),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(_SESSIONS, max_size=8), st.randoms())
def test_the_order_of_findings_never_matters(sessions: list[Session], random: object) -> None:
    findings = [Findings((session,)) for session in sessions]
    shuffled = findings.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    united = unite(findings)
    assert unite(shuffled) == united
    keys = [(session.subaccount_id, session.session_id) for session in united.sessions]
    assert keys == sorted({(session.subaccount_id, session.session_id) for session in sessions})

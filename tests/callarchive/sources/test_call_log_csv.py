import csv
import io
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callarchive.domain.errors import SourceError
from callarchive.sources.call_log_csv import LegFacts, LogRow, read_call_log

A = "11111111-1111-4111-8111-11111111111a"
B = "11111111-1111-4111-8111-11111111111b"
C = "11111111-1111-4111-8111-11111111111c"

EXPORT_COLUMNS = (
    "SessionId,CallId,AccountId,SubAccountId,Direction,SourceCountryCode,SourceCountry,SourceOperator,SourceMCC,"
    "SourceMNC,SourceEndpoint,DestinationCountryCode,DestinationCountry,DestinationOperator,DestinationMCC,"
    "DestinationMNC,DestinationEndpoint,InitiatedAt,ConnectedAt,DisconnectedAt,DurationInSec,Product,BillingUnit,"
    "BillingIncrement,BillableDurationInSec,UnitPrice,UnitPriceCurrency,TotalPriceOfCall,CallType,SipStatus,"
    "SessionStatus,CallStatus,TTSLength,MOS,Content"
)


def read(data: str | bytes) -> list[LogRow]:
    raw = data.encode() if isinstance(data, str) else data
    return list(read_call_log(io.BytesIO(raw), file="calls.csv"))


def ids(data: str | bytes) -> list[str]:
    return [row.facts.session_id for row in read(data)]


def test_every_value_of_an_export_row_is_read() -> None:
    row = (
        f"{A},{B},acme,acme_sg,outbound,65,Singapore,Singtel,525,01,+6591234567,65,Singapore,M1,525,03,+6581234567,"
        "2026-11-01T10:00:00Z,2026-11-01T10:00:05Z,2026-11-01T10:01:05Z,60,NumberMasking,second,1+1,61,0.01,USD,"
        "0.61,pstn,200,COMPLETED,BUSY,,4.2,"
    )
    assert read(f"{EXPORT_COLUMNS}\r\n{row}\r\n") == [
        LogRow(
            2,
            LegFacts(
                session_id=A,
                call_id=B,
                subaccount_id="acme_sg",
                started_at="2026-11-01T10:00:00Z",
                ended_at="2026-11-01T10:01:05Z",
                session_status="COMPLETED",
                call_count="",
                call_duration_s="60",
                price="0.61",
                price_currency="USD",
                source_number="+6591234567",
                destination_number="+6581234567",
                mos="4.2",
            ),
        )
    ]


@pytest.mark.parametrize(
    "name", ["session_id", "SessionId", "Session Id", "sessionid", "SESSION-ID", " sessionID ", '"SessionId"']
)
def test_the_session_id_column_has_several_spellings(name: str) -> None:
    assert ids(f"{name}\n{A}\n") == [A]


def test_columns_may_be_in_any_order_among_others() -> None:
    [row] = read(f"Colour,initiated at,SESSION_ID,Shape\nred,2026-11-01T10:00:00Z,{A},round\n")
    assert row == LogRow(2, LegFacts(session_id=A, started_at="2026-11-01T10:00:00Z"))


def test_8x8s_column_takes_precedence_over_the_catalogs() -> None:
    [row] = read(f"started_at,InitiatedAt,session_id\n2020-01-01,2026-11-01T10:00:00Z,{A}\n")
    assert row.facts.started_at == "2026-11-01T10:00:00Z"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_detected_in_the_header(delimiter: str) -> None:
    [row] = read(f"CallId{delimiter}SessionId\n{B}{delimiter}{A}\n")
    assert (row.facts.session_id, row.facts.call_id) == (A, B)


def test_a_comma_inside_a_semicolon_file_is_text() -> None:
    [row] = read(f"SessionId;TotalPriceOfCall\n{A};0,25\n")
    assert row.facts.price == "0,25"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_of_three_line_endings_is_accepted(end: str) -> None:
    assert [(row.line, row.facts.session_id) for row in read(f"session_id{end}{A}{end}{B}{end}")] == [(2, A), (3, B)]


def test_the_last_line_needs_no_line_ending() -> None:
    assert ids(f"session_id\n{A}\n{B}") == [A, B]


def test_a_byte_order_mark_is_not_part_of_the_first_name() -> None:
    assert ids(b"\xef\xbb\xbfsession_id\n" + A.encode()) == [A]


def test_invalid_utf_8_affects_no_other_column() -> None:
    [row] = read(b"operator,session_id\nT\xe9l\xe9com," + A.encode())
    assert row == LogRow(2, LegFacts(session_id=A))


def test_a_nul_byte_is_an_ordinary_character() -> None:
    assert ids(f"session_id,x\n{A},a\0b\n{B}\0,\n") == [A, f"{B}\0"]


def test_a_row_has_the_number_of_its_first_line_also_after_quoted_line_breaks() -> None:
    data = f'\nsession_id,note\n{A},"one\ntwo\r\n\nfour"\n{B},\n\n\n{C},"x\ny"\n'
    assert [(row.line, row.facts.session_id) for row in read(data)] == [(3, A), (7, B), (10, C)]


def test_a_field_may_be_longer_than_the_csv_modules_limit() -> None:
    long = "x" * 300_000
    assert ids(f'session_id,Content\n{A},{long}\n{B},"{long}\n{long}"\n') == [A, B]


def test_empty_lines_and_repeated_headers_are_skipped() -> None:
    assert ids(f"SessionId,CallId\n\n{A},1\n,\n   \nSessionId,CallId\n , \n{B},2\n") == [A, B]


@pytest.mark.parametrize("data", ["", "\n\n  \n", "\ufeff", "SessionId", "SessionId,CallId\r\n"])
def test_a_file_without_rows_yields_none(data: str) -> None:
    assert read(data) == []


def test_a_row_of_the_wrong_width_keeps_only_an_id_in_the_first_column() -> None:
    data = f"SessionId,CallId,InitiatedAt\n{A},1\n{B},2,2026-11-01T10:00:00Z,extra\n{C},3,2026-11-01T11:00:00Z\n"
    assert read(data) == [
        LogRow(2, LegFacts(session_id=A), "has 2 fields where the header has 3"),
        LogRow(3, LegFacts(session_id=B), "has 4 fields where the header has 3"),
        LogRow(4, LegFacts(session_id=C, call_id="3", started_at="2026-11-01T11:00:00Z")),
    ]


def test_a_row_of_the_wrong_width_loses_an_id_in_another_column() -> None:
    assert read(f"CallId,SessionId,MOS\n{A},{B}\n{A},{B},4,5\n") == [
        LogRow(2, LegFacts(), "has 2 fields where the header has 3"),
        LogRow(3, LegFacts(), "has 4 fields where the header has 3"),
    ]


def test_empty_fields_beyond_the_last_column_are_ignored() -> None:
    assert read(f"SessionId,MOS\n{A},4,,\n") == [LogRow(2, LegFacts(session_id=A, mos="4"))]


MISPLACED = "has a misplaced quote"
OPEN = "opens quotes that are not closed"


def test_a_quote_that_is_never_closed_swallows_no_rows() -> None:
    data = f'SessionId,Content\n{A},fine\n{B},"open\n{C},fine too\n'
    assert read(data) == [
        LogRow(2, LegFacts(session_id=A)),
        LogRow(3, LegFacts(session_id=B), OPEN),
        LogRow(4, LegFacts(session_id=C)),
    ]


def test_a_quote_that_a_later_rows_quote_seems_to_close_swallows_no_rows() -> None:
    data = f'SessionId,Content\n{A},"open\n{B},fine\n{C},"also open'
    assert [(row.line, row.facts.session_id, row.flaw) for row in read(data)] == [
        (2, A, OPEN),
        (3, B, None),
        (4, C, OPEN),
    ]


def test_unescaped_quotes_affect_only_their_own_row() -> None:
    data = "SessionId,CallId,Content\n" + f'{A},1,"{{"say":"hi"}}"\n' * 500 + f"{B},2,\n"
    rows = read(data)
    assert len(rows) == 501
    assert rows[499] == LogRow(501, LegFacts(session_id=A), MISPLACED)
    assert rows[500] == LogRow(502, LegFacts(session_id=B, call_id="2"))


def test_a_file_of_quotes_that_never_close_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callarchive.sources.call_log_csv._MOST_REREAD", 10_000)
    # Whichever line is the first, each leaves a quote open that the next one closes and opens again.
    data = "SessionId,Content\n" + 'a",""",b\n' * 1000
    with pytest.raises(SourceError, match=r"calls\.csv, line \d+: not a CSV file: too many quotes"):
        read(data)


def test_an_endless_line_is_refused_and_not_read_into_memory() -> None:
    data = b"SessionId\n" + b"x" * (40 * 1024 * 1024)
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match=r"calls\.csv, line 2: longer than 16 Mi characters: not a CSV file"):
            list(read_call_log(io.BytesIO(data), file="calls.csv"))
        assert tracemalloc.get_traced_memory()[1] < 100 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_an_endless_first_line_is_not_an_empty_file() -> None:
    with pytest.raises(SourceError, match=r"calls\.csv, line 1: longer than 16 Mi characters: not a CSV file"):
        read(b"x" * (17 * 1024 * 1024))


def test_many_empty_lines_do_not_hide_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callarchive.sources.call_log_csv._LONGEST_RECORD", 1000)
    assert [(row.line, row.facts.session_id) for row in read("\n" * 5000 + f"session_id\n{A}")] == [(5002, A)]


def test_a_file_without_session_ids_is_refused_and_its_columns_listed() -> None:
    with pytest.raises(SourceError, match=r"calls\.csv has no column session_id .* CallId, InitiatedAt\."):
        read("CallId,InitiatedAt\n1,2\n")


def test_the_first_row_of_a_file_without_a_header_is_not_shown() -> None:
    with pytest.raises(SourceError) as caught:
        read(f"{A},+6591234567,2026-11-01T10:00:00Z\n")
    assert A not in str(caught.value)
    assert "6591234567" not in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"\x89PNG\r\n\x1a\n\0\0", "session_id\n".encode("utf-16"), b"<!DOCTYPE html>\n<html>"]
)
def test_files_that_are_not_csv_are_refused(data: bytes) -> None:
    with pytest.raises(SourceError, match=r"calls\.csv has no column session_id"):
        read(data)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab,;\"\n\r\t\0 ='\ufeffé"), max_size=80))
def test_no_text_below_a_header_crashes_the_reader(text: str) -> None:
    for row in read("session_id,b\n" + text):
        assert row.line >= 2


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_file_crashes_the_reader(data: bytes) -> None:
    try:
        read(data)
    except SourceError:
        return


_FIELD = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=20)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.uuids().map(str), _FIELD, _FIELD), max_size=20), st.sampled_from([",", ";", "\t"]))
def test_the_output_of_a_csv_writer_is_read_back(rows: list[tuple[str, str, str]], delimiter: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerow(["CallId", "SessionId", "SourceEndpoint"])
    for session_id, one, two in rows:
        writer.writerow([one, session_id, two])
    found = [(row.facts.session_id, row.facts.call_id, row.facts.source_number) for row in read(out.getvalue())]
    assert found == rows

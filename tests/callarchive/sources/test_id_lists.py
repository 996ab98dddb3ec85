import gzip
import io
import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callarchive.domain.errors import SourceError
from callarchive.sources.call_log_csv import LegFacts, LogRow
from callarchive.sources.id_lists import read_jsonl, read_parquet, read_txt

A = "11111111-1111-4111-8111-11111111111a"
B = "11111111-1111-4111-8111-11111111111b"


def txt(data: bytes) -> list[LogRow]:
    return list(read_txt(io.BytesIO(data), file="ids.txt"))


def jsonl(*lines: str | bytes) -> list[LogRow]:
    data = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    return list(read_jsonl(io.BytesIO(data), file="ids.jsonl"))


def parquet(table: pa.Table, **options: Any) -> list[LogRow]:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    buffer.seek(0)
    return list(read_parquet(buffer, file="ids.parquet"))


def test_a_text_list_has_one_id_per_line() -> None:
    data = f"\ufeff# bookings\r\n\r\n{A}\r\n  {B}  # late\n   # indented\n{A}".encode()
    assert [(row.line, row.facts.session_id) for row in txt(data)] == [(3, A), (4, B), (6, A)]


def test_a_text_list_with_only_comments_has_no_rows() -> None:
    assert txt(b"# no calls\n\n") == []


def test_a_line_that_is_not_utf_8_is_reported_and_the_others_are_read() -> None:
    assert txt(f"{A}\n".encode() + b"\xe9\n") == [LogRow(1, LegFacts(session_id=A)), LogRow(2, LegFacts(), "not UTF-8")]


def test_an_overlong_line_is_reported_and_the_next_is_read() -> None:
    rows = txt(b"x" * 3_000_000 + f"\n{A}\n".encode())
    assert [(row.line, row.facts.session_id, row.flaw) for row in rows] == [
        (1, "", "longer than 1024 KiB"),
        (2, A, None),
    ]


@pytest.mark.parametrize("read", [read_txt, read_jsonl])
@pytest.mark.parametrize("data", [b"\xff\xfe" + A.encode("utf-16-le"), b"\x89PNG\r\n\x1a\n\0", b"\x80\x81\n\xfe\n"])
def test_files_that_are_not_text_are_refused(read: Any, data: bytes) -> None:
    with pytest.raises(SourceError, match=r"ids\.txt.*not UTF-8 text"):
        list(read(io.BytesIO(data), file="ids.txt"))


@pytest.mark.parametrize("key", ["session_id", "sessionId", "SessionId", "sessionid"])
def test_an_objects_session_id_has_several_spellings(key: str) -> None:
    assert jsonl(json.dumps({"x": [1, {}], key: A})) == [LogRow(1, LegFacts(session_id=A))]


def test_an_objects_values_are_read() -> None:
    value = {
        "sessionId": A,
        "startTime": "2026-11-01T10:00:00Z",
        "ended_at": "2026-11-01T10:05:00Z",
        "sessionStatus": "NO ANSWER",
        "callCount": 2,
        "call_duration_s": 61.5,
        "price": 0.1,
        "price_currency": "SGD",
        "SubAccountId": None,
    }
    assert jsonl(json.dumps(value)) == [
        LogRow(
            1,
            LegFacts(
                session_id=A,
                started_at="2026-11-01T10:00:00Z",
                ended_at="2026-11-01T10:05:00Z",
                session_status="NO ANSWER",
                call_count="2",
                call_duration_s="61.5",
                price="0.1",
                price_currency="SGD",
            ),
        )
    ]


def test_a_bare_string_is_an_id_and_empty_lines_are_skipped() -> None:
    assert jsonl("", f'"{A}"', "  ", f'"{B}"\r') == [
        LogRow(2, LegFacts(session_id=A)),
        LogRow(4, LegFacts(session_id=B)),
    ]


@pytest.mark.parametrize(
    ("line", "flaw"),
    [
        ("{", "not JSON: JSONDecodeError"),
        ("9" * 5000, "not JSON: ValueError"),
        ("[" * 100_000, "not readable JSON: nested too deeply"),
        ("17", "neither an object nor a string: int"),
        ("null", "neither an object nor a string: NoneType"),
        ("[[1]]", "neither an object nor a string: list"),
        ('{"call": 1}', "has no session_id (or sessionId)"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_a_malformed_line_is_reported_and_its_neighbours_are_read(line: str | bytes, flaw: str) -> None:
    assert jsonl(f'"{A}"', line, f'"{B}"') == [
        LogRow(1, LegFacts(session_id=A)),
        LogRow(2, LegFacts(), flaw),
        LogRow(3, LegFacts(session_id=B)),
    ]


def test_an_array_on_a_line_is_its_values() -> None:
    rows = jsonl("[]", f'["{A}", {{"SessionId": "{B}"}}, 17]', f'"{A}"')
    assert [(row.line, row.facts.session_id, row.flaw) for row in rows] == [
        (2, A, None),
        (2, B, None),
        (2, "", "neither an object nor a string: int"),
        (3, A, None),
    ]


def test_a_document_over_several_lines_is_refused_with_the_line_of_its_fault() -> None:
    with pytest.raises(SourceError, match=r"ids\.jsonl, line 3: .*no list of ids or objects.*on each line"):
        jsonl("[", f'"{A}",', f'"{B}" "{A}"', "]")


def test_a_first_line_that_is_cut_does_not_hide_the_others() -> None:
    assert [row.facts.session_id for row in jsonl('{"session_id": "1', f'"{A}"', f'"{B}"')] == ["", A, B]


def test_a_large_file_of_indented_objects_is_read() -> None:
    names = [str(uuid.UUID(int=number)) for number in range(20_000)]
    text = "\n".join(json.dumps({"session_id": name}, indent=2) for name in names)
    assert [row.facts.session_id for row in jsonl(text)] == names


@pytest.mark.parametrize("text", [f"{A},x", f"{A} {B[:-1]}", "one, two"])
def test_a_line_of_ids_and_other_words_is_one_bad_row(text: str) -> None:
    assert [row.facts.session_id for row in txt(text.encode())] == [text]


def test_a_table_as_text_is_refused_with_the_next_step() -> None:
    with pytest.raises(SourceError, match=r"ids\.txt, line 2: names columns, so this is a table: name the file \.csv"):
        txt(f"# bookings\nSession ID;start\n{A};2026-11-01\n".encode())


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (gzip.compress(b"PAR1", mtime=0), "a gzip file"),
        (b"PK\x03\x04\x14\0", "an Excel workbook"),
        (f"session_id\n{A}\n".encode(), "text, such as CSV"),
        (f"session_id\n{A}\n".encode("utf-16"), "text, such as CSV"),
        (f'["{A}"]'.encode(), "JSON"),
        (b"<!doctype html>", "a web page"),
    ],
)
def test_a_parquet_file_that_is_something_else_is_named(content: bytes, kind: str) -> None:
    with pytest.raises(SourceError, match=rf"ids\.parquet is .*{kind}.*, not Parquet: write the list as Parquet"):
        list(read_parquet(io.BytesIO(content), file="ids.parquet"))


@pytest.mark.parametrize("value", ["true", "[]", "{}", '{"a": 1}'])
def test_a_value_of_another_type_is_rejected_later(value: str) -> None:
    [row] = jsonl(f'{{"session_id": {value}, "price": {value}}}')
    assert row.facts.session_id == row.facts.price
    assert row.facts.price.startswith("(")


def test_a_lone_surrogate_is_replaced() -> None:
    [row] = jsonl('{"session_id": "' + A + '", "source_number": "\\ud800+65"}')
    assert row.facts.source_number == "?+65"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100))
def test_no_bytes_crash_the_readers_of_text(data: bytes) -> None:
    for read in (read_txt, read_jsonl):
        try:
            rows = list(read(io.BytesIO(data), file="x"))
        except SourceError:
            continue
        assert all(row.facts.session_id or row.flaw or read is read_jsonl for row in rows)


def test_a_parquet_file_is_read_row_by_row() -> None:
    started = datetime(2026, 11, 1, 10, 0, 0, 5, tzinfo=UTC)
    table = pa.table(
        {
            "noise": pa.array([[1], [2], [3]]),
            "SessionId": pa.array([A, None, B]),
            "started_at": pa.array([started, None, None], pa.timestamp("us", "UTC")),
            "call_count": pa.array([2, None, None], pa.int8()),
            "price": pa.array([Decimal("0.250000"), None, None], pa.decimal128(18, 6)),
        }
    )
    assert parquet(table) == [
        LogRow(
            1,
            LegFacts(session_id=A, started_at="2026-11-01T10:00:00.000005+00:00", call_count="2", price="0.250000"),
        ),
        LogRow(3, LegFacts(session_id=B)),
    ]


def test_a_parquet_time_without_zone_is_utc() -> None:
    table = pa.table({"session_id": [A], "started_at": pa.array([datetime(2026, 11, 1, 10)], pa.timestamp("ms"))})
    [row] = parquet(table)
    assert row.facts.started_at == "2026-11-01T10:00:00+00:00"


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([A, B], pa.large_string()),
        pa.array([A, B]).dictionary_encode(),
        pa.array([uuid.UUID(A).bytes, uuid.UUID(B).bytes], pa.binary(16)),
        pa.array([A.encode(), B.encode()], pa.binary()),
    ],
)
def test_a_parquet_id_may_be_of_several_types(ids: pa.Array) -> None:
    assert [row.facts.session_id for row in parquet(pa.table({"session_id": ids}))] == [A, B]


def test_parquet_rows_are_counted_across_row_groups_and_batches() -> None:
    names = [str(uuid.UUID(int=number)) for number in range(40_000)]
    rows = parquet(pa.table({"session_id": names}), row_group_size=15_000)
    assert [row.line for row in rows] == list(range(1, 40_001))
    assert [row.facts.session_id for row in rows] == names


def test_an_empty_parquet_file_has_no_rows() -> None:
    assert parquet(pa.table({"session_id": pa.array([], pa.string())})) == []
    assert list(read_parquet(io.BytesIO(b""), file="ids.parquet")) == []


def test_a_parquet_file_without_session_ids_is_refused_and_its_columns_listed() -> None:
    with pytest.raises(SourceError, match=r"ids\.parquet has no column session_id .* are call, day\. Rename"):
        parquet(pa.table({"call": [1], "day": [2]}))


@pytest.mark.parametrize("cut", [1, 4, 100, -1, -20])
def test_a_parquet_file_cut_short_is_refused(cut: int) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"session_id": [A, B]}), buffer)
    with pytest.raises(SourceError, match=r"ids\.parquet: not a whole, readable Parquet file"):
        list(read_parquet(io.BytesIO(buffer.getvalue()[:cut]), file="ids.parquet"))


def test_a_parquet_file_with_a_damaged_page_is_refused() -> None:
    buffer = io.BytesIO()
    names = [str(uuid.uuid4()) for _ in range(1000)]
    pq.write_table(pa.table({"session_id": names}), buffer, compression="zstd", use_dictionary=False)
    data = bytearray(buffer.getvalue())
    data[2000:2400] = bytes(400)
    with pytest.raises(SourceError, match=r"ids\.parquet: not a whole, readable Parquet file"):
        list(read_parquet(io.BytesIO(bytes(data)), file="ids.parquet"))

import gzip
import os
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from callarchive.domain.errors import AccessDeniedError, ConfigurationError, SourceError, UnavailableError
from callarchive.domain.models import RowProblem
from callarchive.settings import S3Settings
from callarchive.sources.files import FilesSessions
from callarchive.sources.gathering import SourceContext

A = "11111111-1111-4111-8111-11111111111a"
B = "11111111-1111-4111-8111-11111111111b"
DAY = date(2026, 11, 1)
NEXT = date(2026, 11, 2)


def source(path: str | Path, *, s3: S3Settings | None = None, timezone: str = "UTC") -> FilesSessions:
    context = SourceContext(
        subaccount_id="acme_sg",
        timezone=ZoneInfo(timezone),
        mask=lambda _: None,
        clock=lambda: datetime(2026, 11, 20, tzinfo=UTC),
    )
    return FilesSessions(context, str(path), s3 or S3Settings())


def ids(path: str | Path, day: date = DAY, **options: Any) -> list[str]:
    return [session.session_id for session in source(path, **options).find(day).sessions]


def write(path: Path, kind: str) -> None:
    """Write A and B to a file of the format."""
    if kind == "parquet":
        pq.write_table(pa.table({"session_id": [A, B]}), path)
    else:
        path.write_text({"csv": f"session_id\n{A}\n{B}\n", "txt": f"{A}\n{B}\n", "jsonl": f'"{A}"\n"{B}"\n'}[kind])


@pytest.mark.parametrize("kind", ["csv", "txt", "jsonl", "parquet"])
def test_each_file_format_gives_the_days_sessions(kind: str, tmp_path: Path) -> None:
    write(tmp_path / f"ids-2026-11-01.{kind}", kind)
    findings = source(tmp_path / f"ids-{{day}}.{kind}").find(DAY)
    assert findings.problems == ()
    assert [(session.session_id, session.sources) for session in findings.sessions] == [
        (A, ("files",)),
        (B, ("files",)),
    ]


def test_the_extension_may_be_in_capitals(tmp_path: Path) -> None:
    write(tmp_path / "IDS-2026-11-01.CSV", "csv")
    assert ids(tmp_path / "IDS-{day}.CSV") == [A, B]


def test_the_day_may_be_in_the_folder_too(tmp_path: Path) -> None:
    (tmp_path / "2026-11-01").mkdir()
    write(tmp_path / "2026-11-01" / "ids-2026-11-01.txt", "txt")
    assert ids(tmp_path / "{day}" / "ids-{day}.txt") == [A, B]


@pytest.mark.parametrize("kind", ["csv", "txt", "jsonl", "parquet"])
def test_an_empty_file_is_a_day_without_calls(kind: str, tmp_path: Path) -> None:
    (tmp_path / f"ids-2026-11-01.{kind}").touch()
    assert ids(tmp_path / f"ids-{{day}}.{kind}") == []


def test_a_missing_file_is_not_an_empty_day(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"/ids-2026-11-01\.csv does not exist.* without calls write an empty file"):
        ids(tmp_path / "ids-{day}.csv")


def test_a_missing_list_of_all_days_is_reported_without_that_hint(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"/ids\.csv does not exist, so the sessions in it are unknown$"):
        ids(tmp_path / "no" / "ids.csv")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "ids.csv").mkdir()
    with pytest.raises(SourceError, match=r"ids\.csv is a folder: name the file"):
        ids(tmp_path / "ids.csv")


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ids.csv")
    with pytest.raises(SourceError, match=r"ids\.csv is not a regular file"):
        ids(tmp_path / "ids.csv")


def test_a_file_in_the_place_of_a_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "list").touch()
    with pytest.raises(SourceError, match=r"/list/ids\.csv does not exist"):
        ids(tmp_path / "list" / "ids.csv")


def test_a_name_that_the_file_system_rejects_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read: File name too long"):
        ids(tmp_path / ("x" * 300 + ".csv"))


def test_a_file_without_read_permission_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "ids.csv", "csv")
    if os.geteuid() == 0:  # root reads everything

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
    (tmp_path / "ids.csv").chmod(0)
    with pytest.raises(SourceError, match=r"ids\.csv cannot be read: Permission denied; have its owner"):
        ids(tmp_path / "ids.csv")


@pytest.mark.parametrize("kind", ["csv", "txt", "jsonl", "parquet"])
def test_a_file_with_other_content_fails_the_day(kind: str, tmp_path: Path) -> None:
    (tmp_path / f"ids.{kind}").write_bytes(b"\x1f\x8b\x08\0\0\0\0\0\xff\xfe\x80")
    with pytest.raises(SourceError, match=rf"ids\.{kind}"):
        ids(tmp_path / f"ids.{kind}")


def test_a_list_of_all_days_assigns_each_session_to_one_day(tmp_path: Path, uuid1_at: Callable[..., str]) -> None:
    by_uuid = uuid1_at(datetime(2026, 11, 2, 0, 0, tzinfo=UTC))
    (tmp_path / "ids.csv").write_text(
        f"session_id,started_at\n{A},2026-11-01T23:59:59.999Z\n{B},2026-11-02 00:00:00\n{by_uuid},\n"
    )
    assert ids(tmp_path / "ids.csv", date(2026, 10, 31)) == []
    assert ids(tmp_path / "ids.csv", DAY) == [A]
    assert ids(tmp_path / "ids.csv", NEXT) == sorted([B, by_uuid])
    assert ids(tmp_path / "ids.csv", date(2026, 11, 3)) == []


def test_a_list_of_all_days_is_cut_in_the_configured_zone(tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text(f"session_id,started_at\n{A},2026-11-01T15:59:59Z\n{B},2026-11-01T16:00:00Z\n")
    assert ids(tmp_path / "ids.csv", DAY, timezone="Asia/Singapore") == [A]
    assert ids(tmp_path / "ids.csv", NEXT, timezone="Asia/Singapore") == [B]


def test_an_id_without_a_date_is_a_problem_in_a_list_of_all_days(tmp_path: Path, uuid1_at: Callable[..., str]) -> None:
    (tmp_path / "ids.txt").write_text(f"# ids\n{A}\n{uuid1_at(datetime(2026, 11, 1, 12, tzinfo=UTC))}\n")
    findings = source(tmp_path / "ids.txt").find(DAY)
    assert len(findings.sessions) == 1
    [problem] = findings.problems
    assert (problem.file, problem.line) == (str(tmp_path / "ids.txt"), 2)
    assert A in problem.reason


@pytest.mark.parametrize("kind", ["csv", "txt", "jsonl", "parquet"])
def test_bare_ids_in_a_list_of_all_days_are_dated_by_their_uuid_or_reported(
    kind: str, tmp_path: Path, uuid1_at: Callable[..., str]
) -> None:
    of_day, of_next, old, ahead = (
        uuid1_at(datetime.fromisoformat(f"{at}+00:00"))
        for at in ("2026-11-01T23:59:59", "2026-11-02T00:00:00", "2014-12-31T00:00:00", "2026-11-23T00:00:00")
    )
    ids_there = [of_day, of_next, A, old, ahead, of_day.upper()]
    if kind == "parquet":
        pq.write_table(pa.table({"session_id": ids_there}), tmp_path / "ids.parquet")
    else:
        lines = [f'"{id_}"' for id_ in ids_there] if kind == "jsonl" else ids_there
        header = ["session_id"] if kind == "csv" else []
        (tmp_path / f"ids.{kind}").write_text("\n".join([*header, *lines]))
    for day, wanted in ((DAY, [of_day]), (NEXT, [of_next]), (date(2026, 11, 23), [])):
        findings = source(tmp_path / f"ids.{kind}").find(day)
        assert [session.session_id for session in findings.sessions] == wanted
        assert [session.started_at for session in findings.sessions] == [None] * len(wanted), "a UUID is no start"
        first = 2 if kind == "csv" else 1
        named = {problem.line: problem.reason.split()[1] for problem in findings.problems}
        assert named == {first + 2: A, first + 3: old, first + 4: ahead}


def test_bad_rows_are_reported_with_file_and_line_and_fail_nothing(tmp_path: Path) -> None:
    file = tmp_path / "ids-2026-11-01.csv"
    file.write_text(f"session_id,note\n{A},ok\nnot-an-id,\n{B},ok\n")
    findings = source(tmp_path / "ids-{day}.csv").find(DAY)
    assert [session.session_id for session in findings.sessions] == [A, B]
    assert findings.problems == (RowProblem("files", str(file), 3, "not a session id (a UUID): 'not-an-id'"),)


def test_reading_twice_gives_the_same_findings(tmp_path: Path) -> None:
    write(tmp_path / "ids-2026-11-01.csv", "csv")
    files = source(tmp_path / "ids-{day}.csv")
    assert files.find(DAY) == files.find(DAY)


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[S3Settings, Any]]:
    """Yield the server's settings, and a client that can fill its bucket `lists`."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")
    client.create_bucket(Bucket="lists")
    yield S3Settings(endpoint_url=s3_server, region="us-east-1"), client
    client.close()


@pytest.mark.parametrize("kind", ["csv", "txt", "jsonl", "parquet"])
def test_each_kind_of_file_is_read_from_s3_too(kind: str, s3: tuple[S3Settings, Any], tmp_path: Path) -> None:
    settings, client = s3
    write(tmp_path / "ids", kind)
    client.upload_file(str(tmp_path / "ids"), "lists", f"in box/2026-11-01.{kind}")
    assert ids(f"s3://lists/in box/{{day}}.{kind}", s3=settings) == [A, B]


def test_a_missing_object_is_not_an_empty_day(s3: tuple[S3Settings, Any]) -> None:
    settings, client = s3
    client.put_object(Bucket="lists", Key="empty-2026-11-01.csv", Body=b"")
    assert ids("s3://lists/empty-{day}.csv", s3=settings) == []
    with pytest.raises(SourceError, match=r"s3://lists/empty-2026-11-02\.csv does not exist.*write an empty file"):
        ids("s3://lists/empty-{day}.csv", NEXT, s3=settings)


def test_a_missing_bucket_is_a_configuration_error(s3: tuple[S3Settings, Any]) -> None:
    with pytest.raises(ConfigurationError, match="there is no such bucket"):
        ids("s3://elsewhere/ids.csv", s3=s3[0])


def test_missing_s3_credentials_are_reported(s3: tuple[S3Settings, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    with pytest.raises(AccessDeniedError, match="no AWS credentials were found"):
        ids("s3://lists/ids.csv", s3=s3[0])


def test_an_endpoint_that_does_not_respond_is_an_outage(
    s3: tuple[S3Settings, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
    with pytest.raises(UnavailableError, match="cannot be reached"):
        ids("s3://lists/ids.csv", s3=S3Settings(endpoint_url="http://127.0.0.1:9", region="us-east-1"))


FORMS: dict[str, bytes] = {
    "separator.csv": f"sep=;\r\nsession_id;note\r\n{A};x\r\n{B};y,z\r\n".encode(),
    "quoted separator.csv": f'"sep=,"\n\nsession_id,note\n{A},x\n{B},y;z\n'.encode(),
    "bar.csv": f"\ufeffSEP=|\nnote;more|session_id\n1|{A}\n2|{B}\n".encode(),
    "tab.csv": f"sep=\t\nsession_id\tnote\n{A}\tx\n{B}\ty\n".encode(),
    "marked.csv": f"session_id\n{A}\n{B}\n".encode("utf-16"),
    "big-endian.csv": f"\ufeffsession_id\tnote\r\n{A}\té\r\n{B}\t\r\n".encode("utf-16-be"),
    "unmarked.csv": f"session_id\n{A}\n{B}\n".encode("utf-16-le"),
    "unmarked.txt": f"{A}\n{B}\n".encode("utf-16-be"),
    "unmarked.jsonl": f'"{A}"\n"{B}"\n'.encode("utf-16-le"),
    "wide.txt": f"{A}\n{B}".encode("utf-32"),
    "packed.csv": gzip.compress(f"session_id\n{A}\n{B}\n".encode()),
    "packed.txt": gzip.compress(f"{A}\n{B}\n".encode("utf-16")),
    "packed.jsonl": gzip.compress(f'"{A}"\n{{"sessionId": "{B}"}}'.encode()),
    "long.txt": (f"{A}\n{B}\n" + f"# {'é' * 50_000}\n" * 20).encode("utf-16"),
    "braces.csv": f"session_id\n{{{A.upper()}}}\n({B})\n".encode(),
    "bare.csv": f"session_id\n{A.replace('-', '')}\n{B.replace('-', '').upper()}\n".encode(),
    "urn.txt": f"urn:uuid:{A}\nURN:UUID:{B.upper()}\n".encode(),
    "quotes.csv": f"session_id,note\n'{A}',\n`{B}`,\n".encode(),
    "commas.txt": f'"{A}",\n"{B}"\n'.encode(),
    "spaces.txt": f"\u00a0{A}\u00a0\n\u200b{B} \u202f\n".encode(),
    "list.txt": f"{A},{B}\n".encode(),
    "header.txt": f"Session ID\n{A}\n{B}\n".encode(),
    "semicolons.txt": f"# both\n'{A}'; {{{B.upper()}}};\n".encode(),
    "words.txt": f"{A} {B}".encode(),
    "mac.txt": f"{A}\r{B}\r".encode(),
    "mac.csv": f"session_id\r{A}\r{B}\r".encode(),
    "mac.jsonl": f'"{A}"\r{{"session_id": "{B}"}}\r'.encode("utf-16"),
    "long mac.txt": (f"# {'x' * 500}\r" * 2500 + f"{A}\r{B}").encode(),
    "array.jsonl": f'[{{"session_id": "{A}"}}, {{"session_id": "{B}"}}]\n'.encode(),
    "lines.jsonl": f'[\n  "{A}",\n  "{B}"\n]\n'.encode(),
    "tight.jsonl": f'\ufeff\n["{A}",\n"{B}"]'.encode(),
    "objects.jsonl": f'{{\n"SessionId": "{A}"\n}}\n{{\n"SessionId": "{B}"\n}}\n'.encode(),
    "packed array.jsonl": gzip.compress(f'[\n"{A}",\n"{B}"]'.encode()),
    "hyphens.txt": f"{A.replace('-', chr(0x2011))}\n{B.replace('-', chr(0x2013))}\n".encode(),
}


@pytest.mark.parametrize("name", FORMS)
def test_lists_are_read_as_spreadsheets_and_databases_write_them(name: str, tmp_path: Path) -> None:
    stem, _, kind = name.rpartition(".")
    (tmp_path / f"{stem}-2026-11-01.{kind}").write_bytes(FORMS[name])
    findings = source(tmp_path / f"{stem}-{{day}}.{kind}").find(DAY)
    assert findings.problems == ()
    assert [session.session_id for session in findings.sessions] == [A, B]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04\x14\0", "an Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook"),
        (b"%PDF-1.7\n", "a PDF"),
        (gzip.compress(b"PK\x03\x04", mtime=0), "a ZIP archive"),
        (b"\x28\xb5\x2f\xfd\0", "a zstd file"),
        (b"\xef\xbb\xbf\r\n<!DOCTYPE html><title>Log in</title>", "a web page"),
        (f'[{{"session_id": "{A}"}}]'.encode(), "JSON, not CSV"),
        (gzip.compress(f"session_id\n{A}\n{B}\n".encode(), mtime=0)[:-9], "a damaged or truncated gzip file"),
        (
            gzip.compress(f"session_id\n{A}\n{B}\n".encode(), mtime=0)[:12] + b"\xff" * 40,
            "a damaged or truncated gzip file",
        ),
    ],
)
def test_files_that_are_no_text_are_refused_by_name(content: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_bytes(content)
    with pytest.raises(SourceError, match=kind) as caught:
        source(tmp_path / "ids.csv").find(DAY)
    assert str(tmp_path / "ids.csv") in str(caught.value)


def test_a_list_with_only_a_separator_line_names_no_session(tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text("sep=;\n")
    assert ids(tmp_path / "ids.csv") == []


SHORT = A.replace("-", "")[:-1]
UNUSABLE: dict[str, Any] = {
    "a.csv": f"session_id\n{SHORT}\n{SHORT}\n".encode(),
    "column.csv": f"call,session_id\n{A},17\n{B},18\n".encode(),
    "account.csv": f"session_id,subaccount_id\n{A},acme_th\n{B},acme_th\n".encode(),
    "short.csv": f"call,session_id\n{A}\n{B}\n".encode(),
    "a.txt": f"{SHORT}\n{SHORT}\n".encode(),
    "object.jsonl": f'{{"ids": [\n"{A}",\n"{B}"\n]}}\n'.encode(),
    "key.jsonl": f'{{"call": "{A}"}}\n{{"call": "{B}"}}\n'.encode(),
    "a.parquet": {"session_id": [SHORT, SHORT]},
    "null.parquet": {"session_id": pa.nulls(2, pa.string()), "call_count": pa.nulls(2, pa.int64()), "other": [1, 2]},
    "number.parquet": {"session_id": [17, 18]},
}


@pytest.mark.parametrize("name", UNUSABLE)
@pytest.mark.parametrize("one_for_all_days", [True, False])
def test_a_file_whose_rows_name_no_session_is_refused(name: str, one_for_all_days: bool, tmp_path: Path) -> None:
    content = UNUSABLE[name]
    stem, _, kind = name.partition(".")
    path = tmp_path / (name if one_for_all_days else f"{stem}-2026-11-01.{kind}")
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        pq.write_table(pa.table(content), path)
    with pytest.raises(SourceError) as caught:
        source(tmp_path / (name if one_for_all_days else f"{stem}-{{day}}.{kind}")).find(DAY)
    assert str(path) in str(caught.value)


def test_the_first_reasons_are_in_the_message_without_phone_numbers(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("oops\n+6561234567\n\nthird\nfourth\n")
    with pytest.raises(SourceError) as caught:
        source(tmp_path / "ids.txt").find(DAY)
    message = str(caught.value)
    assert "none of its 4 rows names a session" in message
    assert "line 1: not a session id (a UUID): 'oops'" in message
    assert "line 4: not a session id (a UUID): 'third'" in message
    assert "61234567" not in message
    assert "fourth" not in message


@pytest.mark.parametrize("kind", ["csv", "txt", "jsonl", "parquet"])
def test_a_file_with_only_rows_of_other_days_is_a_day_without_calls(
    kind: str, tmp_path: Path, uuid1_at: Callable[..., str]
) -> None:
    other = uuid1_at(datetime(2026, 10, 1, 12, tzinfo=UTC))
    path = tmp_path / f"ids.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"session_id": [other, "oops"]}), path)
    else:
        path.write_text(
            {"csv": f"session_id\n{other}\noops\n", "txt": f"{other}\noops\n"}.get(kind, f'"{other}"\n"oops"\n')
        )
    assert source(path).find(DAY).sessions == ()


@pytest.mark.parametrize(
    ("kind", "header"), [("csv", "session_id,started_at\r\n"), ("txt", "# session ids\n"), ("jsonl", "\n")]
)
def test_a_file_with_only_a_header_is_a_day_without_calls(kind: str, header: str, tmp_path: Path) -> None:
    (tmp_path / f"ids-2026-11-01.{kind}").write_text(header)
    assert ids(tmp_path / f"ids-{{day}}.{kind}") == []


def test_one_good_row_among_bad_ones_is_enough(tmp_path: Path) -> None:
    (tmp_path / "ids-2026-11-01.csv").write_text(f"session_id\noops\n{A}\n17\n")
    findings = source(tmp_path / "ids-{day}.csv").find(DAY)
    assert ([session.session_id for session in findings.sessions], len(findings.problems)) == ([A], 2)

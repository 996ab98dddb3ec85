"""The source `sql`: a user's query on SQLite and PostgreSQL, which cannot change anything."""

import socket
import sqlite3
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from callarchive.domain.errors import AccessDeniedError, ConfigurationError, SourceError, UnavailableError
from callarchive.domain.models import Findings, Session
from callarchive.settings import SqlSource
from callarchive.sources.gathering import SourceContext
from callarchive.sources.sql import SqlSessions

A, B, C, D = (f"11111111-1111-4111-8111-11111111111{letter}" for letter in "abcd")
DAY = date(2026, 11, 1)
NOW = datetime(2026, 11, 20, tzinfo=UTC)
QUERY = "select session_id, started_at from calls where started_at >= :start and started_at < :end"


def sessions_of(
    url: Any,
    query: str = QUERY,
    *,
    timezone: str = "UTC",
    mask: Any = lambda _: None,
    timeout_s: float = 60,
    **more: Any,
) -> SqlSessions:
    source = SqlSource.model_validate({"kind": "sql", "url": url, "query": query, "timeout_s": timeout_s})
    context = SourceContext(subaccount_id="acme_sg", timezone=ZoneInfo(timezone), mask=mask, clock=lambda: NOW)
    return SqlSessions(context, source, name="accounts.0.session_sources.1", **more)


def found(url: Any, query: str = QUERY, day: date = DAY, **options: Any) -> Findings:
    return sessions_of(url, query, **options).find(day)


def ids(*arguments: Any, **options: Any) -> list[str]:
    findings = found(*arguments, **options)
    assert findings.problems == ()
    return [session.session_id for session in findings.sessions]


class Sqlite:
    """A file with a table `calls`."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "book ings#1%.sqlite3"
        self.url = f"sqlite:///{self.file}"
        self.run("create table calls (session_id text, started_at text, note text)")

    def run(self, statement: str, *values: Any) -> list[Any]:
        connection = sqlite3.connect(self.file)
        try:
            with connection:
                return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    def call(self, session_id: str, started_at: str | None) -> None:
        self.run("insert into calls (session_id, started_at) values (?, ?)", session_id, started_at)


@pytest.fixture
def sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sqlite:
    database = Sqlite(tmp_path)
    monkeypatch.setenv("BOOKINGS_URL", database.url)
    return database


URL = {"env": "BOOKINGS_URL"}


COUNTED = "with recursive n(i) as (select 1 union all select i + 1 from n {})"
"""The numbers from 1, endless unless there is a condition."""


# --- rows -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def bookings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A database behind BOOKINGS_URL with a table `calls`; runs statements in it."""
    if request.param == "sqlite":
        database = request.getfixturevalue("sqlite")
        database.run("drop table calls")
        types = {"timestamptz": "text", "uuid": "text"}
    else:
        database = request.getfixturevalue("postgresql")
        monkeypatch.setenv("BOOKINGS_URL", database.url)
        types = {}

    def run(statement: str) -> Any:
        for name, here in types.items():
            statement = statement.replace(name, here)
        return database.run(statement)

    return run


pytestmark = pytest.mark.needs("initdb", "pg_ctl")


def test_a_query_returns_the_days_sessions_with_their_facts(bookings: Callable[..., None]) -> None:
    bookings(
        "create table calls (session_id uuid, started_at timestamptz, ended_at timestamptz, state text, lasted int, "
        "price numeric(9,4), caller text, note text)"
    )
    bookings(
        f"insert into calls values ('{A.upper()}', '2026-11-01 10:00:00', '2026-11-01 10:05:00', 'NO ANSWER', 17, 1.5, "
        f"'+65 6123 4567', 'a'), ('{B}', '2026-11-02 10:00:00', null, null, null, null, null, 'b')"
    )
    bookings(
        "update calls set started_at = '2026-11-01 10:00:00+00', ended_at = '2026-11-01 10:05:00+00' where note = 'a'"
    )
    query = (
        "select note, session_id, started_at, ended_at, state as session_status, lasted as call_duration_s, price, "
        "'SGD' as price_currency, caller as source_number from calls where started_at >= :start and started_at < :end;"
    )
    findings = found(URL, query, mask=lambda number: f"<{number}>" if number else None)
    assert findings.problems == ()
    (session,) = findings.sessions
    assert session == Session(
        subaccount_id="acme_sg",
        session_id=A,
        started_at=datetime(2026, 11, 1, 10, tzinfo=UTC),
        ended_at=datetime(2026, 11, 1, 10, 5, tzinfo=UTC),
        session_status="NO_ANSWER",
        call_duration_s=17.0,
        price=session.price,
        price_currency="SGD",
        source_number="<+65 6123 4567>",
        sources=("sql",),
    )
    assert str(session.price) == "1.500000"


def test_an_unusable_row_is_reported_by_its_number_and_fails_nothing(bookings: Callable[..., None]) -> None:
    bookings("create table calls (number int, session_id text, started_at timestamptz)")
    at = "2026-11-01 10:00:00+00"
    bookings(
        f"insert into calls values (1, '{A}', '{at}'), (2, '+6561234567', '{at}'), (3, null, '{at}'), (4, '{B}', '{at}')"
    )
    findings = found(URL, f"{QUERY} order by number")
    assert [session.session_id for session in findings.sessions] == [A, B]
    assert [(problem.source, problem.line) for problem in findings.problems] == [("sql", 2), ("sql", 3)]
    assert "6561234567" not in repr(findings.problems)


def test_a_querys_rows_of_other_days_are_dropped(bookings: Callable[..., None]) -> None:
    bookings("create table calls (session_id text, started_at timestamptz)")
    bookings(
        f"insert into calls values ('{A}', '2026-10-31 23:59:59+00'), ('{B}', '2026-11-01 00:00:00+00'), "
        f"('{C}', '2026-11-01 23:59:59+00'), ('{D}', '2026-11-02 00:00:00+00')"
    )
    everything = "select session_id, started_at from calls where :start < :end"
    assert ids(URL, everything) == [B, C]
    assert ids(URL, everything, date(2026, 11, 2)) == [D]


def test_a_query_without_session_ids_is_refused_and_its_columns_listed(bookings: Callable[..., None]) -> None:
    bookings("create table calls (id text)")
    with pytest.raises(SourceError, match=r"accounts\.0\.session_sources\.1 has no column session_id.*columns are id"):
        found(URL, "select id from calls where :start < :end")


def test_no_rows_are_a_day_without_calls(bookings: Callable[..., None]) -> None:
    bookings("create table calls (session_id text, started_at timestamptz)")
    assert found(URL) == Findings()


def test_colons_and_percent_signs_in_a_query_are_literal(bookings: Callable[..., None]) -> None:
    bookings("create table calls (session_id text, started_at timestamptz, note text)")
    bookings(
        f"insert into calls values ('{A}', '2026-11-01 10:00:00+00', '50% :end x:y'), ('{B}', '2026-11-01 10:00:00+00', '')"
    )
    query = f"{QUERY} /* :other; */ and note like '50% :end x:y' -- :more; it's"
    assert ids(URL, query) == [A]


def test_rows_are_streamed(bookings: Callable[..., None]) -> None:
    row = f"select '{A}' as session_id, '2026-11-01T10:00Z' as started_at, i as note, '{'x' * 200}' as more"
    ids_of = sessions_of(URL, f"{COUNTED.format('where i < 60000')} {row} from n where :start < :end")
    ids_of.find(DAY)  # whatever is imported and remembered the first time
    tracemalloc.start()
    try:
        ids_of.find(DAY)
        assert tracemalloc.get_traced_memory()[1] < 6_000_000  # the rows are four times that
    finally:
        tracemalloc.stop()


# --- the day's bounds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%f+00:00"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Singapore", "America/New_York"])
def test_each_session_is_on_one_day_in_every_sqlite_spelling_of_times(sqlite: Sqlite, form: str, zone: str) -> None:
    starts = [datetime(2026, 10, 30, tzinfo=UTC) + timedelta(hours=hour) for hour in range(120)]
    wanted: dict[date, list[str]] = {}
    for number, at in enumerate(starts):
        session = f"{number:08x}-1111-4111-8111-111111111111"
        sqlite.call(session, at.strftime(form))
        wanted.setdefault(at.astimezone(ZoneInfo(zone)).date(), []).append(session)
    for day, sessions in wanted.items():
        assert ids(URL, day=day, timezone=zone) == sessions


@pytest.mark.parametrize("function", ["datetime", "julianday", "unixepoch"])
def test_sqlites_time_functions_accept_the_bounds(sqlite: Sqlite, function: str) -> None:
    sqlite.call(A, "2026-11-01T23:30:00-05:00")
    between = f"{function}(started_at) between {function}(:start) and {function}(:end)"
    query = f"select session_id, started_at from calls where {between}"
    assert ids(URL, query, date(2026, 11, 2)) == [A]
    assert ids(URL, query, DAY) == []


@pytest.mark.parametrize("column", ["timestamptz", "timestamp"])
def test_postgresql_times_without_a_zone_are_utc_in_any_server_time_zone(
    postgresql: Any, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = "+00" if column == "timestamptz" else ""
    postgresql.run(f"create table calls (session_id text, started_at {column})")
    for session_id, at in (
        (A, "2026-10-31 15:59:59.999999"),
        (B, "2026-10-31 16:00:00"),
        (C, "2026-11-01 15:59:59.999999"),
        (D, "2026-11-01 16:00:00"),
    ):
        postgresql.run(f"insert into calls values ('{session_id}', '{at}{zone}')")
    monkeypatch.setenv("BOOKINGS_URL", postgresql.url)
    assert ids(URL, timezone="Asia/Singapore") == [B, C]
    assert found(URL, timezone="Asia/Singapore").sessions[0].started_at == datetime(2026, 10, 31, 16, tzinfo=UTC)
    assert ids(URL, QUERY.replace(":start", ":start::timestamptz"), timezone="Asia/Singapore") == [B, C]


def test_without_a_column_of_starts_rows_belong_to_the_requested_day(
    postgresql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOKINGS_URL", postgresql.url)
    postgresql.run(
        "create table calls (session_id text, booked_at timestamptz)",
        f"insert into calls values ('{A}', '2026-11-01 10:00+00')",
    )
    query = "select session_id from calls where booked_at >= :start and booked_at < :end"
    assert ids(URL, query) == [A]
    assert ids(URL, query, date(2026, 11, 2)) == []


def test_on_sqlite_bare_ids_are_dated_by_their_uuid_or_reported(sqlite: Sqlite, uuid1_at: Callable[..., str]) -> None:
    dated = uuid1_at(datetime(2026, 11, 1, 12, tzinfo=UTC))
    sqlite.call(dated, "2026-11-01 12:00:00")
    sqlite.call(A, "2026-11-01 12:00:00")
    findings = found(URL, QUERY.replace("session_id, started_at", "session_id"))
    assert [session.session_id for session in findings.sessions] == [dated]
    assert [A in problem.reason for problem in findings.problems] == [True]


# --- nothing is changed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("delete from calls where started_at between :start and :end", "must be a statement that only reads"),
        ("select session_id from calls where :start < :end; delete from calls", "must be one statement, not 2"),
        ("/* select */ insert into calls select :start, :end", "must be a statement that only reads"),
        (" -- nothing: :start :end", "must be one statement, not 0"),
        ("select ':start', \":end\" /* :start */ from calls -- :end", ":start and :end is missing"),
        ("select * from calls where x = :started and y = ::end", ":start and :end is missing"),
        ("select * from calls where started_at > :start", ":end is missing"),
    ],
)
def test_a_query_without_the_days_bounds_is_a_configuration_error(query: str, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        sessions_of(URL, query)


@pytest.mark.parametrize(
    "query",
    [
        "(select ';' as session_id, :start, :end)",
        "with x as (select :start, :end) select * from x;",
        "VALUES (:start, :end) ; -- done;",
        "\n-- what we book\nSELECT $x$ ; :start $x$, :start, :end",
    ],
)
def test_an_unusual_query_is_accepted(query: str) -> None:
    sessions_of(URL, query)


@pytest.mark.parametrize(
    "query",
    [
        "with gone as (delete from calls where :start < :end returning session_id) select session_id from gone",
        "select session_id, forget(:start, :end) as note from calls",
        "select session_id, set_config('transaction_read_only', 'off', false) || forget(:start, :end) as note from calls",
        "select session_id, nextval('counted') as note from calls where :start < :end",
        "select session_id into copied from calls where :start < :end",
        "select session_id from calls where :start < :end for update",
    ],
)
def test_no_query_changes_anything_on_postgresql(postgresql: Any, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOKINGS_URL", postgresql.url)
    postgresql.run(
        "create table calls (session_id text)",
        f"insert into calls values ('{A}')",
        "create sequence counted",
        "create function forget(timestamptz, timestamptz) returns text language sql "
        "as 'delete from calls returning session_id'",
    )
    with pytest.raises(SourceError, match=r"accounts\.0\.session_sources\.1: the query fails: "):
        found(URL, query)
    assert postgresql.run("select session_id, to_regclass('copied') from calls") == [(A, None)]
    assert postgresql.run("select is_called from counted") == [(False,)]


@pytest.mark.parametrize(
    "query",
    [
        "with x as (select :start, :end) delete from calls",
        "with x as (select :start, :end) insert into calls (session_id) select 'x'",
    ],
)
def test_no_query_changes_anything_on_sqlite(sqlite: Sqlite, query: str) -> None:
    sqlite.call(A, None)
    before = sqlite.file.read_bytes()
    with pytest.raises(SourceError, match="the query fails: attempt to write a readonly database"):
        found(URL, query)
    assert sqlite.file.read_bytes() == before
    assert [path.name for path in sqlite.file.parent.iterdir()] == [sqlite.file.name]


# --- what goes wrong ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["nowhere", "x; y"])
def test_a_bad_query_is_reported_with_the_databases_message(bookings: Callable[..., None], table: str) -> None:
    with pytest.raises(SourceError) as caught:
        found(URL, f'select session_id from "{table}" where :start < :end')
    assert str(caught.value).startswith("accounts.0.session_sources.1: the query fails: ")
    assert table in str(caught.value)
    assert "2026-11" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_rows_values_are_not_in_the_message(postgresql: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOKINGS_URL", postgresql.url)
    with pytest.raises(SourceError, match="invalid input syntax") as caught:
        found(URL, "select cast('+65 6123 4567' as uuid) as session_id where :start < :end")
    assert "6123" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "error", "why"),
    [
        (
            "postgresql+psycopg://bob:hunter2@127.0.0.1:9/x",
            UnavailableError,
            "cannot be connected to: .*127.0.0.1.*Connection refused",
        ),
        (
            "postgresql+psycopg://bob:hun@ter2@127.0.0.1:9/x",
            ConfigurationError,
            "url: write an @ in user or password as %40",
        ),
        ("postgresql+psycopg://bob:hunter2@127.0.0.1:port/x", ConfigurationError, r"1\.url: not a database URL"),
        ("postgresql+psycopg://bob:hunter2@127.0.0.1:9/x?hunter2=1", UnavailableError, "invalid connection option"),
        ("postgresql://bob:hunter2@127.0.0.1:9/x", UnavailableError, "cannot be connected to: .*Connection refused"),
        ("postgres://bob:hunter2@127.0.0.1:9/x", UnavailableError, "cannot be connected to: .*Connection refused"),
        (
            "postgresql+nosuch://bob:hunter2@127.0.0.1:9/x",
            ConfigurationError,
            r"postgresql\+nosuch: write postgresql://.*callarchive\[postgresql\]",
        ),
        ("mysql+pymysql://bob:hunter2@127.0.0.1:9/x", ConfigurationError, r"no driver is installed for mysql\+pymysql"),
        ("nosuch://bob:hunter2@127.0.0.1:9/x", ConfigurationError, r"accounts\.0\.session_sources\.1\.url: no driver"),
        ("hunter2", ConfigurationError, r"accounts\.0\.session_sources\.1\.url: not a database URL"),
        ("sqlite:////nowhere/at/all.db", SourceError, r"1\.url: /nowhere/at/all\.db does not exist"),
    ],
)
def test_an_unusable_url_is_reported_without_its_secrets(
    url: str, error: type[Exception], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOKINGS_URL", url)
    with pytest.raises(error, match=why) as caught:
        found(URL)
    assert "hunter2" not in str(caught.value)
    assert "ter2" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "postgresql", "postgres"])
def test_a_missing_driver_is_reported_with_how_to_install_it(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOKINGS_URL", f"{scheme}://bob:hunter2@127.0.0.1:9/x")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"accounts\.0\.session_sources\.1\.url: .*callarchive\[postgresql\]"):
        found(URL)


def test_a_rejected_password_is_an_access_error(postgresql: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOKINGS_URL", postgresql.url.replace(postgresql.password, "hunter2"))
    with pytest.raises(
        AccessDeniedError, match=r"the database denied access: .*password authentication failed"
    ) as caught:
        found(URL)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_not_a_database_is_reported(sqlite: Sqlite) -> None:
    sqlite.file.write_text("session_id\n" * 100)
    with pytest.raises((SourceError, UnavailableError), match="file is not a database"):
        found(URL)


def test_a_relative_file_in_a_secret_is_relative_to_the_configuration(
    sqlite: Sqlite, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite.call(A, "2026-11-01 10:00:00")
    (sqlite.file.parent / "calls.db").write_bytes(sqlite.file.read_bytes())
    monkeypatch.setenv("BOOKINGS_URL", "sqlite:///calls.db")
    assert ids(URL, folder=sqlite.file.parent) == [A]


def test_an_endless_query_is_stopped_by_its_timeout(bookings: Callable[..., None]) -> None:
    endless = f"{COUNTED.format('')} select max(i) as session_id from n where :start < :end"
    with pytest.raises(UnavailableError, match=r"did not finish within 0\.5 s \(timeout_s\)"):
        found(URL, endless, timeout_s=0.5)
    rows = f"{COUNTED.format('')} select i as session_id from n where :start < :end"
    with pytest.raises(UnavailableError, match=r"within 0\.5 s"):
        found(URL, rows, timeout_s=0.5)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Yield a port that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_silent_server_runs_into_the_timeout(silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOKINGS_URL", f"postgresql+psycopg://bob:hunter2@127.0.0.1:{silent_port}/x")
    with pytest.raises(UnavailableError, match=r"did not accept a connection within 0\.3 s"):
        found(URL, timeout_s=0.3)


def test_no_thread_is_left_when_the_rows_are_abandoned(bookings: Callable[..., None]) -> None:
    rows = f"{COUNTED.format('where i < 1000000')} select i as number from n where :start < :end"
    with pytest.raises(SourceError, match="no column session_id"):
        found(URL, rows)
    assert not [thread for thread in threading.enumerate() if thread.name == "sql-source"]


def test_querying_twice_gives_the_same_findings(sqlite: Sqlite) -> None:
    for number in range(50):
        sqlite.call(f"{number:08x}-1111-4111-8111-111111111111", "2026-11-01 10:00:00")
    source = sessions_of(URL)
    assert source.find(DAY) == source.find(DAY)

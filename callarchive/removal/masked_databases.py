"""Ids replaced in every column of every table of a database that another program keeps, and may be using."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from callarchive.domain.errors import ConfigurationError, StoreError
from callarchive.removal.id_masking import IdMask
from callarchive.settings.database_urls import INSTALL_POSTGRESQL

_WAIT_S = 60
_ROUNDS = 5
_TRANSACTION_ROWS = 50  # short ones, because the other program waits for them
_ROW_ADDRESSES = {"sqlite": "rowid", "postgresql": "ctid"}


def mask_sqlite(path: Path, mask: IdMask) -> int:
    """Replace the ids in a SQLite file, in unused pages and in its write-ahead log too. Return the number of values.

    Raises StoreError if it cannot be read or written, or stays locked for a minute.
    """
    engine = sa.create_engine("sqlite://", creator=lambda: _opened(path), poolclass=sa.NullPool)
    with _as_store_errors(str(path)):
        count = _mask_tables(engine, mask)
        for step in ("PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
            if not _has_traces(path, mask):
                return count
            with closing(_opened(path)) as connection:
                connection.execute(step).fetchall()
    if _has_traces(path, mask):
        raise StoreError(
            f"{path}: a program reads it, so its old contents remain: run the command again, or stop Dagster"
        )
    return count


def mask_postgresql(url: sa.URL, mask: IdMask) -> int:
    """Replace the ids in a PostgreSQL database, and remove old versions of rows. Return the number of values.

    Raises ConfigurationError without a driver, StoreError if the database cannot be read or written.
    """
    try:
        engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args={"connect_timeout": _WAIT_S})
    except (ImportError, sa.exc.NoSuchModuleError) as err:
        raise ConfigurationError(f"Dagster's database: no driver for {url.drivername}: {INSTALL_POSTGRESQL}") from err
    with _as_store_errors(f"Dagster's database {url.database} on {url.host}"):
        return _mask_tables(engine, mask)


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_WAIT_S)
    connection.execute("PRAGMA secure_delete = ON")  # replaced values are overwritten
    return connection


def _has_traces(path: Path, mask: IdMask) -> bool:
    return any(mask.is_in_file(path.with_name(path.name + suffix)) for suffix in ("", "-wal", "-journal"))


def _mask_tables(engine: sa.Engine, mask: IdMask) -> int:
    return sum(_mask_table(engine, table, mask) for table in sa.inspect(engine).get_table_names())


def _mask_table(engine: sa.Engine, table: str, mask: IdMask) -> int:
    """Replace the ids in the table until none of its values was changed by another program meanwhile."""
    count = 0
    for _ in range(_ROUNDS):
        found = list(_values_with_ids(engine, table, mask))
        changed = sum(
            _replace(engine, table, found[at : at + _TRANSACTION_ROWS])
            for at in range(0, len(found), _TRANSACTION_ROWS)
        )
        count += changed
        if changed == len(found):
            break
    else:
        raise StoreError(f"the table {table} changes too fast: run the command again, or stop Dagster")
    if engine.dialect.name == "postgresql":  # also after a kill between the two
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text(f"VACUUM {_quoted(engine, table)}"))
    return count


def _values_with_ids(engine: sa.Engine, table: str, mask: IdMask) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the column of each value with an id, and the parameters of its replacement."""
    address = _ROW_ADDRESSES[engine.dialect.name]
    query = f"SELECT CAST({address} AS TEXT), t.* FROM {_quoted(engine, table)} AS t"  # noqa: S608 - names from the database
    with engine.connect().execution_options(yield_per=100) as connection:
        rows = connection.execute(sa.text(query))
        columns = list(rows.keys())
        for row in rows:
            for column, value in zip(columns[1:], row[1:], strict=True):
                data = value.encode() if isinstance(value, str) else value
                if not isinstance(data, bytes) or (masked := mask.masked(data)) == data:
                    continue
                new = masked.decode() if isinstance(value, str) else masked
                yield column, {"at": row[0], "old": value, "new": new}


def _replace(engine: sa.Engine, table: str, found: list[tuple[str, dict[str, Any]]]) -> int:
    """Replace values that are unchanged, in one transaction. Return their number."""
    address = _ROW_ADDRESSES[engine.dialect.name]
    at = "CAST(:at AS tid)" if address == "ctid" else "CAST(:at AS INTEGER)"
    changed = 0
    with engine.begin() as connection:
        for column, values in found:
            name = _quoted(engine, column)
            change = f"UPDATE {_quoted(engine, table)} SET {name} = :new WHERE {address} = {at} AND {name} = :old"  # noqa: S608
            changed += connection.execute(sa.text(change), values).rowcount
    return changed


def _quoted(engine: sa.Engine, name: str) -> str:
    return engine.dialect.identifier_preparer.quote_identifier(name)


@contextmanager
def _as_store_errors(where: str) -> Iterator[None]:
    """Raise StoreError for an error of the database, without its statement, which has the values."""
    try:
        yield
    except (sa.exc.SQLAlchemyError, sqlite3.Error) as err:
        reason = getattr(err, "orig", None) or type(err).__name__ if isinstance(err, sa.exc.SQLAlchemyError) else err
        raise StoreError(f"{where}: {reason}") from None

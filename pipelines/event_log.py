"""Dagster's SQLite event log during a run.

For each event Dagster opens a database, compiles the same SQL and closes it again, which writes SQLite's log back to the file:
a fifth of a run of small days. There is no setting for it.
"""
# ruff: noqa: SLF001

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:  # only runs need Dagster's storage
    from sqlalchemy import Connection, Engine


@contextmanager
def kept_connections(instance: dg.DagsterInstance) -> Iterator[None]:
    """Keep the event log's connections open inside the block, if it is in SQLite, as by default.

    A transaction still commits each event, so that readers see it at once, and a process that is killed loses none.
    """
    from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
    from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
    from sqlalchemy import create_engine

    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        yield
        return
    engines: dict[str, Engine] = {}
    open_once = storage._connect

    @contextmanager
    def connect(shard: str) -> "Iterator[Connection]":
        if shard not in engines:
            with open_once(shard):  # creates the database
                pass
        with storage._db_lock:
            if shard not in engines:
                url = storage.conn_string_for_shard(shard)
                engines[shard] = create_engine(url, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
            with engines[shard].begin() as connection:
                yield connection

    storage._connect = connect  # type: ignore[method-assign]
    try:
        yield
    finally:
        del storage._connect
        for engine in engines.values():
            engine.dispose()

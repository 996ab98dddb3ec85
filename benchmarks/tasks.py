"""`python -m benchmarks.tasks TASK ...`: run a task in a separate process and time it without imports and input preparation.

The output is `{"wall_s": ..., "cpu_s": ...}` of the task alone, as JSON. Imports are inside the functions, so that one task's
imports do not add to another's memory.
"""

import hashlib
import json
import os
import random
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callarchive.archiving.connections import Connections

FIRST_DAY = date(2025, 1, 1)

_QUERY = """
    select date_trunc('month', call_date) as month, subaccount_id, count(*) as recordings, sum(size_bytes) as bytes,
           avg(duration_s) as mean_s, count(*) filter (where audio_issue is not null) as with_issue
    from {} where archive_status = 'archived' group by all order by all
"""
_QUERY_COLUMNS = ["call_date", "subaccount_id", "archive_status", "size_bytes", "duration_s", "audio_issue"]


def walk(corpus_home: str, count: str) -> None:
    """Walk the frames of recordings in memory."""
    from callarchive.mp3 import probe_mp3

    files = sorted(Path(corpus_home, "files").rglob("*.mp3"))[: int(count)]
    recordings = [file.read_bytes() for file in files]
    with _timed(bytes=sum(map(len, recordings))):
        for recording in recordings:
            probe_mp3(recording)


def make_rows(file: str, count: str) -> None:
    """Write an Arrow table of `count` recordings of one day to `file`, sorted by key."""
    import pyarrow.feather

    pyarrow.feather.write_feather(_recordings(int(count), random.Random(1)), file, compression="uncompressed")


def make_year(catalog: str, count: str, days: str) -> None:
    """Fill the catalog with `count` recordings, spread over `days` days."""
    from callarchive.catalog import schemas
    from callarchive.catalog.parquet_catalog import Catalog

    opened, rng = Catalog.open(catalog), random.Random(2)
    for number in range(int(days)):
        rows = _recordings(int(count) // int(days), rng)
        opened.replace_partition(schemas.RECORDINGS, FIRST_DAY + timedelta(days=number), rows)


def make_ledger(home: str, count: str) -> None:
    """Make a ledger of `count` archived recordings, in objects of 500, and a configuration of its archive."""
    from callarchive.ledger.ledger import Ledger
    from callarchive.storage.stores.local import LocalStore

    folder, rng = Path(home), random.Random(3)
    ledger = Ledger(LocalStore(f"file://{folder}/archive"), origin="callarchive", clock=lambda: datetime.now(UTC))
    for number in range(int(count) // 500):
        day = FIRST_DAY + timedelta(days=number // 10)
        ledger.append([_archived(day, rng) for _ in range(500)])
    final = f"file://{str(folder).removesuffix('.new')}"
    (folder / "callarchive.toml").write_text(
        f"""
timezone = "UTC"
start_date = {FIRST_DAY}
archive.url = "{final}/archive"
catalog.url = "{final}/catalog"
[[accounts]]
subaccount_id = "acme_sg"
api_key = {{ env = "HOME" }}
landing = "s3://acme-recordings/my-recordings-path"
[[accounts.session_sources]]
kind = "log_export"
"""
    )


def _archived(day: date, rng: random.Random) -> dict[str, Any]:
    """Return an entry as a run writes it."""
    session, recording = (str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(2))
    return {
        "event": "archived",
        "subaccount_id": "acme_sg",
        "call_date": str(day),
        "recording_id": recording,
        "archive_path": f"acme_sg/call_date={day}/{session}/{recording}.mp3",
        "sha256": rng.randbytes(32).hex(),
        "size_bytes": rng.randrange(60_000, 1_000_000),
        "duration_s": round(rng.uniform(10, 200), 3),
        "source_uri": f"s3://acme-recordings/my-recordings-path/{day}/{session}/{recording}.mp3",
        "source_evidence": "md5",
        "archived_at": f"{day}T12:00:00+00:00",
    }


def write_catalog(file: str, catalog: str, order: str) -> None:
    """Replace a partition with the table in the file, its rows `ordered` by key or `shuffled`."""
    from callarchive.catalog import (
        parquet_files,  # noqa: F401 - the catalog imports it when it needs it
        schemas,
    )
    from callarchive.catalog.parquet_catalog import Catalog

    rows = _rows_in(file, order)
    with _timed():
        Catalog.open(catalog).replace_partition(schemas.RECORDINGS, FIRST_DAY, rows)


def write_pyarrow(file: str, folder: str, order: str) -> None:
    """Write the same table with plain pyarrow and the same compression."""
    import pyarrow.parquet

    rows = _rows_in(file, order)
    Path(folder).mkdir(parents=True)
    with _timed():
        pyarrow.parquet.write_table(rows, f"{folder}/part-0.parquet", compression="zstd")


def query_catalog(catalog: str) -> None:
    """Run the query through `Catalog.duckdb`."""
    import duckdb  # noqa: F401

    from callarchive.catalog.parquet_catalog import Catalog

    with _timed():
        Catalog.open(catalog).duckdb().execute(_QUERY.format("recordings")).fetchall()


def query_pandas(catalog: str) -> None:
    """Compute the query's result from the frame of `Catalog.pandas`."""
    import pandas  # noqa: F401, ICN001

    from callarchive.catalog.parquet_catalog import Catalog

    with _timed():
        frame = Catalog.open(catalog).pandas("recordings", columns=_QUERY_COLUMNS)
        frame = frame[frame["archive_status"] == "archived"]
        frame = frame.assign(month=frame["call_date"].astype("datetime64[s]").dt.to_period("M"))
        groups = frame.groupby(["month", "subaccount_id"])
        groups.agg({"size_bytes": "sum", "duration_s": "mean", "audio_issue": "count", "call_date": "size"})


def query_duckdb(catalog: str) -> None:
    """Run the query with plain DuckDB."""
    import duckdb

    files = f"read_parquet('{catalog}/recordings/*/*.parquet', hive_partitioning = true)"
    with _timed():
        duckdb.connect().execute(_QUERY.format(files)).fetchall()


def transfer_parts(paths: str, processes: str, threads: str, *parts: str) -> None:
    """Run the given parts of a transfer (`read`, `hash`, `walk`, `write`) on the objects at these paths of the landing."""
    from callarchive.cli import prepare_process

    prepare_process()
    from callarchive.archiving.connections import Connections
    from callarchive.archiving.steps import day_steps  # noqa: F401 - what a transfer imports
    from callarchive.settings import load_settings

    wanted: list[str] = json.loads(Path(paths).read_text(encoding="utf-8"))
    connections = Connections(load_settings(None))
    children: list[int] = []
    share = int(processes) - 1
    for number in range(share):  # before any thread runs and anything is connected
        child = os.fork()
        if child == 0:
            share = number
            children.clear()
            break
        children.append(child)
    if parts:
        work = partial(_transfer_parts, connections, frozenset(parts))
        with ThreadPoolExecutor(int(threads)) as pool:
            for _ in pool.map(work, wanted[share :: int(processes)]):
                pass
    connections.close()
    for child in children:
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(f"a process of these ended with {status}")


def _transfer_parts(connections: "Connections", parts: frozenset[str], path: str) -> None:
    from callarchive.mp3 import Mp3Walk

    landing = connections.landings.of(connections.settings.accounts[0])
    store = connections.archive.store
    folder, _, name = path.rpartition("/")
    sha256, md5, walk = hashlib.sha256(), hashlib.md5(usedforsecurity=False), Mp3Walk()
    with landing.open(path) as download, store.stage(folder) if "write" in parts else nullcontext() as staging:
        for chunk in download:
            if staging is not None:
                staging.write(chunk)
            if "hash" in parts:
                sha256.update(chunk)
            if "hash" in parts and download.object.etag is not None:
                md5.update(chunk)
            if "walk" in parts:
                walk.feed(chunk)
        if "walk" in parts:
            walk.finish()
        if staging is not None:
            staging.commit(f"{folder}/{name}")


TASKS = {
    task.__name__.replace("_", "-"): task
    for task in (
        walk,
        make_rows,
        make_year,
        make_ledger,
        write_catalog,
        write_pyarrow,
        query_catalog,
        query_pandas,
        query_duckdb,
        transfer_parts,
    )
}


def _recordings(count: int, rng: random.Random) -> Any:
    """Return realistic rows of `recordings`: almost all archived, with names and URIs of realistic length."""
    import pyarrow as pa

    from callarchive.catalog import schemas

    def hexes(digits: int) -> list[str]:
        return [f"{rng.getrandbits(4 * digits):0{digits}x}" for _ in range(count)]

    def uuids() -> list[str]:
        return [f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}" for h in hexes(32)]

    recording_ids, session_ids = sorted(uuids()), uuids()
    accounts = sorted(rng.choices(("acme_id", "acme_sg", "acme_th"), k=count))
    uris = [f"{s}/{r}.mp3" for s, r in zip(session_ids, recording_ids, strict=True)]
    seconds = [rng.lognormvariate(4, 0.8) for _ in range(count)]
    at = datetime(2025, 1, 1, tzinfo=UTC)
    started_at = [at + timedelta(milliseconds=rng.randrange(86_400_000)) for _ in range(count)]
    columns: dict[str, Any] = {
        "subaccount_id": accounts,
        "session_id": session_ids,
        "recording_id": recording_ids,
        "api_status": ["CALLBACK_COMPLETED"] * count,
        "api_status_raw": ["CALLBACK_COMPLETED"] * count,
        "archive_status": rng.choices(("archived", "pending", "missing"), (98, 1, 1), k=count),
        "started_at": started_at,
        "started_at_source": ["api"] * count,
        "source_uri": [f"s3://acme-recordings/my-recordings-path/2025-01-01/{uri}" for uri in uris],
        "archive_uri": [f"file:///srv/callarchive/archive/acme/call_date=2025-01-01/{uri}" for uri in uris],
        "size_bytes": [round(4000 * s) for s in seconds],
        "sha256": hexes(64),
        "duration_s": seconds,
        "duration_api_s": [float(round(s)) for s in seconds],
        "duration_mismatch": [False] * count,
        "audio_issue": rng.choices((None, "truncated"), (99, 1), k=count),
        "bitrate_kbps": [32.0] * count,
        "sample_rate_hz": [16_000] * count,
        "channels": [1] * count,
        "archived_at": [one + timedelta(days=1) for one in started_at],
    }
    schema = schemas.RECORDINGS.schema
    return pa.table({f.name: pa.array(columns.get(f.name, [None] * count), f.type) for f in schema}, schema=schema)


def _rows_in(file: str, order: str) -> Any:
    import numpy as np
    import pyarrow.feather

    rows = pyarrow.feather.read_table(file, memory_map=False)
    if order == "shuffled":
        return rows.take(np.random.default_rng(1).permutation(rows.num_rows))
    return rows


@contextmanager
def _timed(**more: float) -> Iterator[None]:
    """Time the block and print the result with the additional values."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    yield
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    json.dump({"wall_s": wall_s, "cpu_s": cpu_s, **more}, sys.stdout)


def main() -> None:
    """Run the task named on the command line."""
    TASKS[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()

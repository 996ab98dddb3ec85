"""Run the same queries on a small catalog in every available engine, and fail if any result differs.

The catalog contains all public tables over four days: one written by an older version, without newer columns, two full ones
and an empty one. For every column, the queries compute counts, sums, extremes and distinct values, using the statements of
`callarchive.catalog.ddl` for SQL engines. The expected results are computed in plain Python from the rows that were written.
Processes run with Singapore's time zone, to detect engines that interpret timestamps as local.

DuckDB, Polars, pandas and pyarrow come from this environment. DataFusion, ClickHouse (chdb) and, with --spark, Spark are
installed into a separate environment below --directory.
"""

import argparse
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from callarchive.catalog.ddl import statements
from callarchive.catalog.schemas import COUNT, FLAG, NUMBER, PRICE, PUBLIC_TABLES, TEXT, TEXTS, TIMESTAMP, Table

OLD, FULL, EMPTY, LAST = date(2025, 12, 31), date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 5)
ROWS = 120
HERE = ("duckdb", "polars", "pandas", "pyarrow")
ELSEWHERE = {"datafusion": "datafusion", "clickhouse": "chdb"}
SPARK = {"spark": "pyspark"}

Row = dict[str, Any]
Result = dict[str, Any]
"""The result for one table: rows by day, rows since the second day, and the measures of each column."""


# --- the catalog --------------------------------------------------------------------------------------------------------


def rows_of(table: Table, day: date) -> list[Row]:
    """Return the day's rows of the table; every call returns the same rows."""
    chance = random.Random(f"{table.name} {day}")
    makers: dict[str, Callable[[], Any]] = {
        TEXT: lambda: chance.choice(["", "null", "it's", "日本\n", "a,b"]) + str(chance.randrange(40)),
        COUNT: lambda: chance.randrange(-(2**40), 2**40),
        NUMBER: lambda: chance.randrange(10**6) / 1024,  # sums are exact in any order
        FLAG: lambda: chance.random() < 0.4,
        TIMESTAMP: lambda: (
            datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)
            + timedelta(microseconds=chance.randrange(10**9))
        ),
        PRICE: lambda: Decimal(chance.randrange(10**9)).scaleb(-6),
        TEXTS: lambda: [f"v{n}" for n in range(chance.randrange(4))],
    }
    rows = []
    for number in range(0 if day == EMPTY else ROWS):
        row = {c.name: None if chance.random() < 0.15 else makers[c.type]() for c in table.columns}
        rows.append(row | {name: f"{number:04d}-{name}" for name in table.key})
    return rows


def columns_of(table: Table, day: date) -> list[str]:
    """Return the columns of the day's file: the oldest file lacks the last columns, except those of the key."""
    names = [column.name for column in table.columns]
    return [n for n in names if n in table.key or n not in names[-3:]] if day == OLD else names


def write_catalog(root: Path) -> None:
    """Write the catalog below `root`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from callarchive.catalog.parquet_catalog import Catalog

    catalog = Catalog.open(root)
    for table in PUBLIC_TABLES:
        for day in (FULL, EMPTY, LAST):
            catalog.replace_partition(table, day, rows_of(table, day))
        schema = pa.schema([table.schema.field(name) for name in columns_of(table, OLD)])
        rows = [{name: row[name] for name in schema.names} for row in rows_of(table, OLD)]
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), buffer, compression="zstd")
        catalog.store.replace(table.partition_path(OLD), buffer.getvalue())


# --- the queries ------------------------------------------------------------------------------------------------------


def measured(values: Iterable[Any], kind: str) -> list[Any]:
    """Return the measures of a column, computed in plain Python."""
    known = [value for value in values if value is not None]
    if kind == TEXT:
        return [len(known), len(set(known))]
    if kind == TIMESTAMP:
        micros = [(value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for value in known]
        return [len(known), min(micros, default=None), max(micros, default=None)]
    if kind == TEXTS:  # no count: ClickHouse has no NULL arrays
        return [sum(len(value) for value in known)]
    return [len(known), str(Decimal(str(sum(known))).normalize())]


def expected() -> dict[str, Result]:
    """Return the expected result of each table."""
    results = {}
    for table in PUBLIC_TABLES:
        rows = [
            {
                column.name: row[column.name] if column.name in columns_of(table, day) else None
                for column in table.columns
            }
            for day in (OLD, FULL, EMPTY, LAST)
            for row in rows_of(table, day)
        ]
        results[table.name] = {
            "days": {str(day): ROWS for day in (OLD, FULL, LAST)},
            "since": 2 * ROWS,
            **{column.name: measured((row[column.name] for row in rows), column.type) for column in table.columns},
        }
    return results


SQL = {
    "duckdb": {"micros": "epoch_us({})", "length": "len({})"},
    "spark": {
        "micros": "unix_micros({})",
        "length": "case when {0} is null then 0 else size({0}) end",
        "distinct": "size(collect_set({}))",  # count(distinct) over twenty columns copies each row twenty times
    },
    "clickhouse": {"micros": "toUnixTimestamp64Micro({})", "length": "length({})"},
    "datafusion": {
        "micros": "cast(arrow_cast({}, 'Timestamp(Microsecond, Some(\"UTC\"))') as bigint)",
        "length": "cardinality({})",
    },
}


def queries(table: Table, engine: str) -> tuple[str, str, str]:
    """Return three queries: rows by day, rows since a date, and the measures of all columns in one row."""
    functions = SQL[engine]
    measures = []
    for column in table.columns:
        name = column.name
        if column.type == TEXTS:
            measures.append(f"coalesce(sum({functions['length'].format(name)}), 0)")
            continue
        measures.append(f"count({name})")
        if column.type == TEXT:
            measures.append(functions.get("distinct", "count(distinct {})").format(name))
        elif column.type == TIMESTAMP:
            measures += [functions["micros"].format(f"{extreme}({name})") for extreme in ("min", "max")]
        elif column.type == FLAG:
            measures.append(f"sum(case when {name} then 1 else 0 end)")
        else:
            measures.append(f"sum({name})")
    return (
        f"select cast(call_date as {'String' if engine == 'clickhouse' else 'varchar(10)'}), count(*) from {table.name}"
        " group by call_date",
        f"select count(*) from {table.name} where call_date >= date '{FULL}'",
        f"select {', '.join(measures)} from {table.name}",
    )


def result_of(table: Table, by_day: Any, since: Any, measures: Any) -> Result:
    """Return the result of a table from the rows of its three queries."""
    values = list(measures[0])
    result: Result = {"days": {str(day): int(count) for day, count in by_day}, "since": int(since[0][0])}
    for column in table.columns:
        if column.type == TEXTS:
            result[column.name] = [int(values.pop(0))]
        elif column.type == TEXT:
            result[column.name] = [int(values.pop(0)), int(values.pop(0))]
        elif column.type == TIMESTAMP:
            count, *extremes = (values.pop(0) for _ in range(3))
            result[column.name] = [int(count), *(None if value is None else int(value) for value in extremes)]
        else:
            count, total = values.pop(0), values.pop(0)
            result[column.name] = [int(count), str(Decimal(str(total or 0)).normalize())]
    return result


# --- the engines --------------------------------------------------------------------------------------------------------


def by_duckdb(root: str) -> dict[str, Result]:
    import duckdb

    with duckdb.connect() as connection:
        results = {}
        for table in PUBLIC_TABLES:
            connection.execute(statements("duckdb", table, root))
            results[table.name] = result_of(
                table, *(connection.execute(query).fetchall() for query in queries(table, "duckdb"))
            )
        return results


def by_datafusion(root: str) -> dict[str, Result]:
    from datafusion import SessionContext

    context = SessionContext()
    results = {}
    for table in PUBLIC_TABLES:
        context.sql(statements("datafusion", table, root))
        found = [
            [list(row.values()) for row in context.sql(query).to_pylist()] for query in queries(table, "datafusion")
        ]
        results[table.name] = result_of(table, *found)
    return results


def by_clickhouse(root: str) -> dict[str, Result]:
    from chdb.session import Session

    results = {}
    with tempfile.TemporaryDirectory() as folder:
        session = Session(folder)
        for table in PUBLIC_TABLES:
            session.query(statements("clickhouse", table, root))
            found = []
            for query in queries(table, "clickhouse"):
                text = str(
                    session.query(f"{query} format JSONCompact settings output_format_json_quote_64bit_integers = 1")
                )
                found.append(json.loads(text, parse_float=Decimal)["data"])
            results[table.name] = result_of(table, *found)
        session.close()
    return results


def by_spark(root: str) -> dict[str, Result]:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.sql.shuffle.partitions", "2").config("spark.driver.host", "127.0.0.1")
    builder = builder.config("spark.driver.bindAddress", "127.0.0.1")
    # Compiling the queries would take longer than reading this little data.
    builder = builder.config("spark.sql.codegen.wholeStage", "false").config("spark.sql.adaptive.enabled", "false")
    session = builder.config("spark.sql.codegen.factoryMode", "NO_CODEGEN").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    results = {}
    for table in PUBLIC_TABLES:
        session.sql(statements("spark", table, root).rstrip(";\n"))
        found = [[tuple(row) for row in session.sql(query).collect()] for query in queries(table, "spark")]
        results[table.name] = result_of(table, *found)
    session.stop()
    return results


def by_polars(root: str) -> dict[str, Result]:
    import polars as pl

    results = {}
    for table in PUBLIC_TABLES:
        schema = pl.DataFrame(table.schema.empty_table()).schema
        frame = pl.scan_parquet(
            f"{root}/{table.name}",
            schema=schema,
            missing_columns="insert",
            hive_partitioning=True,
            hive_schema={"call_date": pl.Date},
        ).collect()
        results[table.name] = _of_arrow(table, frame.to_arrow())
    return results


def by_pandas(root: str) -> dict[str, Result]:
    import pandas as pd
    import pyarrow as pa

    results = {}
    for table in PUBLIC_TABLES:
        schema = table.schema.append(pa.field("call_date", pa.date32()))
        frame = pd.read_parquet(f"{root}/{table.name}", schema=schema, dtype_backend="pyarrow")
        results[table.name] = _of_arrow(table, pa.Table.from_pandas(frame, preserve_index=False))
    return results


def by_pyarrow(root: str) -> dict[str, Result]:
    import pyarrow as pa
    import pyarrow.dataset as ds

    results = {}
    for table in PUBLIC_TABLES:
        schema = table.schema.append(pa.field("call_date", pa.date32()))
        results[table.name] = _of_arrow(
            table, ds.dataset(f"{root}/{table.name}", schema=schema, partitioning="hive").to_table()
        )
    return results


def _of_arrow(table: Table, rows: Any) -> Result:
    """Return the result of an Arrow table, computed in plain Python: the test is about the rows read, not about sums."""
    days = rows["call_date"].to_pylist()
    if not all(type(day) is date for day in days):
        raise TypeError(f"call_date of {table.name} is {rows.schema.field('call_date').type} instead of a date")
    counted: dict[str, int] = {}
    for day in days:
        counted[str(day)] = counted.get(str(day), 0) + 1
    return {
        "days": counted,
        "since": sum(day >= FULL for day in days),
        **{column.name: measured(rows[column.name].to_pylist(), column.type) for column in table.columns},
    }


RUNNERS = {
    "duckdb": by_duckdb,
    "polars": by_polars,
    "pandas": by_pandas,
    "pyarrow": by_pyarrow,
    "datafusion": by_datafusion,
    "clickhouse": by_clickhouse,
    "spark": by_spark,
}


# --- comparing ----------------------------------------------------------------------------------------------------------


def differences(engine: str, results: dict[str, Result]) -> list[str]:
    """Return a message for each difference from the expected results."""
    found = []
    for name, right in expected().items():
        actual = results.get(name, {})
        found += [
            f"{engine}: {name}.{key}: {actual.get(key)} instead of {right[key]}"
            for key in right
            if actual.get(key) != right[key]
        ]
    return found


def run_engines(
    engines: Iterable[str], root: Path, *, python: Path | str = sys.executable
) -> dict[str, dict[str, Result]]:
    """Return the results of these engines, from a process of that Python.

    Raises:
        RuntimeError: The process failed. The message has its output.
    """
    command = [str(python), __file__, "--answer", ",".join(engines), "--root", str(root)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "TZ": "Asia/Singapore"}, timeout=600
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[2:4])} failed:\n{done.stdout[-1000:]}{done.stderr[-3000:]}")
    results: dict[str, dict[str, Result]] = json.loads(done.stdout.splitlines()[-1])
    return results


def _environment(home: Path, packages: Iterable[str]) -> Path:
    """Create an environment with these packages in `home` and return its Python."""
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    subprocess.run(command, check=True)
    return python


def main() -> int:
    """Return 0 if all engines read what was written, otherwise 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--directory", type=Path, help="folder for the environment (default: a temporary one)")
    parser.add_argument("--spark", action="store_true", help="also test Spark; needs Java 17 and downloads 400 MB")
    parser.add_argument("--answer", help=argparse.SUPPRESS)
    parser.add_argument("--root", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        print(json.dumps({engine: RUNNERS[engine](options.root) for engine in options.answer.split(",")}))
        return 0
    if options.spark and shutil.which("java") is None:
        parser.error("--spark needs Java 17 (on Debian: openjdk-17-jre-headless)")
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="callarchive-engines-") as folder:
        root = Path(folder, "catalog")
        write_catalog(root)
        results = run_engines(HERE, root)
        packages = {**ELSEWHERE, **(SPARK if options.spark else {})}
        python = _environment((options.directory or Path(folder)) / "engines", packages.values())
        for engine in packages:
            results |= run_engines([engine], root, python=python)
    for engine, tables in results.items():
        found = differences(engine, tables)
        print(f"{engine}: {'differs' if found else 'agrees'}")
        faults += found
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

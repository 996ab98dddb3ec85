"""Run the same queries on a small catalog in every available engine, and fail if any result differs.

The catalog contains all public tables over five days: the first and the last written by an older version, without newer
columns, two full ones and an empty one. The engines read it by the statements of `callarchive.catalog.ddl`, which
docs/engines.md shows. For every column, the queries compute counts, sums, extremes, distinct values and the local day of
timestamps. The expected results are computed in plain Python from the rows that were written. Processes run with Singapore's
time zone, to detect engines that interpret timestamps as local or display them without a zone.

DuckDB, Polars, pandas and pyarrow come from this environment. The other engines, Spark only with --spark, and the oldest
supported versions are installed into separate environments below --directory.
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
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from callarchive.catalog.ddl import FIRST, statements
from callarchive.catalog.schemas import COUNT, COUNTS, FLAG, NUMBER, PRICE, PUBLIC_TABLES, TEXT, TEXTS, TIMESTAMP, Table

OLD, FULL, EMPTY, LAST, RERUN = (date(2025, 12, 31), *(date(2026, 1, day) for day in (1, 2, 5, 7)))
OLD_FILES = (OLD, RERUN)
WITH_ROWS = (OLD, FULL, LAST, RERUN)
ZONE = "Asia/Singapore"
ROWS = 120
HERE = ("duckdb", "polars", "pandas", "pyarrow")
NEWEST = {"datafusion": "datafusion==55.0.0", "clickhouse": "chdb==4.4.0", "daft": "daft==0.7.26"}
SPARK = {"spark": "pyspark==4.3.0"}
OLDEST = {
    "duckdb": "duckdb==1.1.3",
    "polars": "polars==1.32.3",
    "pandas": "pandas==2.2.3",
    "pyarrow": "pyarrow==18.1.0",
    "datafusion": "datafusion==43.1.0",
}
"""The oldest versions that docs/engines.md names. Wheels of later ones exist for Python 3.11 to 3.13."""

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
        COUNTS: lambda: [chance.randrange(1, 3) for _ in range(chance.randrange(3))],
    }
    rows = []
    for number in range(0 if day == EMPTY else ROWS):
        row = {c.name: None if chance.random() < 0.15 else makers[c.type]() for c in table.columns}
        rows.append(row | {name: f"{number:04d}-{name}" for name in table.key})
    return rows


def columns_of(table: Table, day: date) -> list[str]:
    """Return the columns of the day's file: an old file lacks the last columns, except those of the key."""
    names = [column.name for column in table.columns]
    return [n for n in names if n in table.key or n not in names[-3:]] if day in OLD_FILES else names


def write_catalog(root: Path) -> None:
    """Write the catalog below `root`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from callarchive.catalog.parquet_catalog import Catalog

    catalog = Catalog.open(root)
    for table in PUBLIC_TABLES:
        for day in (FULL, EMPTY, LAST):
            catalog.replace_partition(table, day, rows_of(table, day))
        for day in OLD_FILES:
            schema = pa.schema([table.schema.field(name) for name in columns_of(table, day)])
            rows = [{name: row[name] for name in schema.names} for row in rows_of(table, day)]
            buffer = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), buffer, compression="zstd")
            catalog.store.replace(table.partition_path(day), buffer.getvalue())


# --- the queries ------------------------------------------------------------------------------------------------------


def measured(values: Iterable[Any], kind: str) -> list[Any]:
    """Return the measures of a column, computed in plain Python."""
    known = [value for value in values if value is not None]
    if kind == TEXT:
        return [len(known), len(set(known))]
    if kind == TIMESTAMP:
        micros = [(value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for value in known]
        local = [str(value.astimezone(ZoneInfo(ZONE)).date()) for value in known]
        return [len(known), min(micros), max(micros), min(local), max(local)]
    if kind in (TEXTS, COUNTS):  # no count: ClickHouse has no NULL arrays
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
            for day in WITH_ROWS
            for row in rows_of(table, day)
        ]
        results[table.name] = {
            "days": {str(day): ROWS for day in WITH_ROWS},
            "since": 3 * ROWS,
            **{column.name: measured((row[column.name] for row in rows), column.type) for column in table.columns},
        }
    return results


SQL = {
    "duckdb": {
        "micros": "epoch_us({})",
        "local": f"cast(cast({{}} at time zone '{ZONE}' as date) as varchar)",
        "length": "len({})",
    },
    "spark": {
        "micros": "unix_micros({})",
        "local": "date_format({}, 'yyyy-MM-dd')",  # in the session's zone, which is the process's
        "length": "case when {0} is null then 0 else size({0}) end",
        "distinct": "size(collect_set({}))",  # count(distinct) over twenty columns copies each row twenty times
    },
    "clickhouse": {
        "micros": "toUnixTimestamp64Micro({})",
        "local": f"toString(toDate({{}}, '{ZONE}'))",
        "length": "length({})",
    },
    "datafusion": {
        "micros": "cast(arrow_cast({}, 'Timestamp(Microsecond, Some(\"UTC\"))') as bigint)",
        "local": f"cast(cast(to_local_time({{}} at time zone '{ZONE}') as date) as varchar)",
        "length": "cardinality({})",
    },
}


def queries(table: Table, engine: str) -> tuple[str, str, str]:
    """Return three queries: rows by day, rows since a date, and the measures of all columns in one row."""
    functions = SQL[engine]
    measures = []
    for column in table.columns:
        name = column.name
        if column.type in (TEXTS, COUNTS):
            measures.append(f"coalesce(sum({functions['length'].format(name)}), 0)")
            continue
        measures.append(f"count({name})")
        if column.type == TEXT:
            measures.append(functions.get("distinct", "count(distinct {})").format(name))
        elif column.type == TIMESTAMP:
            for function in ("micros", "local"):
                measures += [functions[function].format(f"{extreme}({name})") for extreme in ("min", "max")]
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
        if column.type in (TEXTS, COUNTS):
            result[column.name] = [int(values.pop(0))]
        elif column.type == TEXT:
            result[column.name] = [int(values.pop(0)), int(values.pop(0))]
        elif column.type == TIMESTAMP:
            count, least, most, first, last = (values.pop(0) for _ in range(5))
            result[column.name] = [int(count), int(least), int(most), str(first), str(last)]
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
    context.sql(FIRST["datafusion"].rstrip(";\n"))
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


def by_python(engine: str, root: str) -> dict[str, Result]:
    """Run the Python statements of `callarchive.catalog.ddl` and measure what they read."""
    scope: dict[str, Any] = {}
    exec(FIRST[engine], scope)
    results = {}
    for table in PUBLIC_TABLES:
        exec(statements(engine, table, root), scope)
        results[table.name] = _of_arrow(table, AS_ARROW[engine](scope[table.name]))
    return results


def _of_pandas(frame: Any) -> Any:
    import pyarrow as pa

    return pa.Table.from_pandas(frame, preserve_index=False)


AS_ARROW: dict[str, Callable[[Any], Any]] = {
    "polars": lambda frame: frame.collect().to_arrow(),
    "pandas": _of_pandas,
    "pyarrow": lambda dataset: dataset.to_table(),
    "daft": lambda frame: frame.to_arrow(),
}


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


RUNNERS: dict[str, Callable[[str], dict[str, Result]]] = {
    "duckdb": by_duckdb,
    "datafusion": by_datafusion,
    "clickhouse": by_clickhouse,
    "spark": by_spark,
    **{engine: partial(by_python, engine) for engine in AS_ARROW},
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
        command, capture_output=True, text=True, check=False, env={**os.environ, "TZ": ZONE}, timeout=600
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
        results = {f"{engine} {version(engine)}": found for engine, found in run_engines(HERE, root).items()}
        newest = {**NEWEST, **(SPARK if options.spark else {})}
        for name, packages in (("newest", newest), ("oldest", OLDEST)):
            python = _environment((options.directory or Path(folder)) / name, packages.values())
            for engine, package in packages.items():
                results[f"{engine} {package.partition('==')[2]}"] = run_engines([engine], root, python=python)[engine]
    for reader, tables in results.items():
        found = differences(reader, tables)
        print(f"{reader}: {'differs' if found else 'agrees'}")
        faults += found
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

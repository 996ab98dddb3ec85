"""Statements that define the public tables: SQL for engines, Python for data frame libraries.

`python -m callarchive.catalog.ddl athena s3://bucket/catalog` prints them. Each names all columns with their types, so
columns that files of older versions lack are NULL, whichever file comes first.
"""

import json
import sys
from collections.abc import Callable, Mapping

from callarchive.catalog.schemas import COUNTS, PUBLIC_TABLES, SQL_TYPES, TEXT, TEXTS, TIMESTAMP, Table


def _named(*names: str) -> dict[str, str]:
    """Return the names of the types, given in the order of `SQL_TYPES`."""
    return dict(zip(SQL_TYPES, names, strict=True))


_HIVE = _named("string", "bigint", "double", "boolean", "timestamp", "decimal(18, 6)", "array<string>", "array<bigint>")
_TRINO = {**_HIVE, TEXT: "varchar", TIMESTAMP: "timestamp(6)", TEXTS: "array(varchar)", COUNTS: "array(bigint)"}
_BIGQUERY = _named("string", "int64", "float64", "bool", "timestamp", "numeric(18, 6)", "array<string>", "array<int64>")
_CLICKHOUSE_NAMES = _named("String", "Int64", "Float64", "Bool", "DateTime64(6, 'UTC')", "Decimal(18, 6)", "", "")
_CLICKHOUSE = {type_: f"Nullable({name})" for type_, name in _CLICKHOUSE_NAMES.items()}
# ClickHouse arrays are never NULL: it reads an empty one.
_CLICKHOUSE |= {TEXTS: "Array(Nullable(String))", COUNTS: "Array(Nullable(Int64))"}
_POLARS = {
    type_: f"pl.{name}"
    for type_, name in _named(
        "String",
        "Int64",
        "Float64",
        "Boolean",
        'Datetime("us", "UTC")',
        "Decimal(18, 6)",
        "List(pl.String)",
        "List(pl.Int64)",
    ).items()
}
_ARROW_NAMES = ("string()", "int64()", "float64()", "bool_()", 'timestamp("us", "UTC")', "decimal128(18, 6)")
_PYARROW = {
    type_: f"pa.{name}" for type_, name in _named(*_ARROW_NAMES, "list_(pa.string())", "list_(pa.int64())").items()
}
_DAFT = {
    type_: f"DataType.{name.replace('_()', '()')}"
    for type_, name in _named(*_ARROW_NAMES, "list(DataType.string())", "list(DataType.int64())").items()
}


def _athena(table: Table, root: str) -> str:
    return (
        f"create external table {table.name} (\n{_columns(table, _HIVE)}\n)\n"
        "partitioned by (call_date date)\nstored as parquet\n"
        f"location {text_literal(f'{root}/{table.folder}/')}\n"
        "tblproperties (\n"
        "  'projection.enabled' = 'true',\n"
        "  'projection.call_date.type' = 'date',\n"
        "  'projection.call_date.format' = 'yyyy-MM-dd',\n"
        "  'projection.call_date.range' = '2015-01-01,NOW+2DAYS',\n"
        "  'projection.call_date.interval' = '1',\n"
        "  'projection.call_date.interval.unit' = 'DAYS'\n);\n"
    )


def _trino(table: Table, root: str) -> str:
    return (
        f"create table hive.callarchive.{table.name} (\n{_columns(table, _TRINO, call_date='date')}\n)\n"
        f"with (external_location = {text_literal(f'{root}/{table.folder}')}, format = 'PARQUET',"
        " partitioned_by = array['call_date']);\n"
        f"call hive.system.sync_partition_metadata('callarchive', '{table.name}', 'FULL');\n"
    )


def _bigquery(table: Table, root: str) -> str:
    return (
        f"create external table callarchive.{table.name} (\n{_columns(table, _BIGQUERY)}\n)\n"
        "with partition columns (call_date date)\n"
        "options (\n  format = 'PARQUET',\n  enable_list_inference = true,\n"
        f"  uris = [{text_literal(f'{root}/{table.folder}/*')}],\n"
        f"  hive_partition_uri_prefix = {text_literal(f'{root}/{table.folder}')}\n);\n"
    )


def _spark(table: Table, root: str) -> str:
    return (
        f"create or replace temporary view {table.name} (\n{_columns(table, _HIVE, call_date='date')}\n)\n"
        f"using parquet options (path {text_literal(f'{root}/{table.folder}')});\n"
    )


def _duckdb(table: Table, root: str) -> str:
    files = f"{text_literal(f'{root}/{table.folder}/*/*.parquet')},\n   "
    return f"create or replace view {table.name} as\n{duckdb_query(table, files)};\n"


def _clickhouse(table: Table, root: str) -> str:
    files = f"{table.folder}/call_date=*/*.parquet"
    if root.startswith("s3://"):
        bucket, _, prefix = root.removeprefix("s3://").partition("/")
        place = f"s3({text_literal(f'https://{bucket}.s3.amazonaws.com/{prefix}/{files}')}, 'Parquet'"
    else:
        place = f"file({text_literal(f'{root}/{files}')}, 'Parquet'"
    structure = ", ".join(f"{column.name} {_CLICKHOUSE[column.type]}" for column in table.columns)
    return (
        f"create or replace view {table.name} as\n"
        "select *, toDate(extract(_path, 'call_date=([0-9-]+)')) as call_date\n"
        f"from {place},\n  {text_literal(structure)});\n"
    )


def _datafusion(table: Table, root: str) -> str:
    return (
        f"create external table {table.name} (\n{_columns(table, SQL_TYPES, call_date='date')}\n)\n"
        f"stored as parquet partitioned by (call_date) location {text_literal(f'{root}/{table.folder}/')};\n"
    )


def _polars(table: Table, root: str) -> str:
    return (
        f"{table.name} = pl.scan_parquet(\n"
        f"    {_python_text(f'{root}/{table.folder}/')},\n"
        f"    schema={_python_dict(table, _POLARS)},\n"
        '    missing_columns="insert",\n'
        '    extra_columns="ignore",\n'
        "    hive_partitioning=True,\n"
        '    hive_schema={"call_date": pl.Date},\n'
        ")\n"
    )


def _pandas(table: Table, root: str) -> str:
    return (
        f"{table.name} = pd.read_parquet(\n"
        f"    {_python_text(f'{root}/{table.folder}')},\n"
        f"    schema={_arrow_schema(table)},\n"
        '    dtype_backend="pyarrow",\n'
        ")\n"
    )


def _pyarrow(table: Table, root: str) -> str:
    return (
        f"{table.name} = ds.dataset(\n"
        f"    {_python_text(f'{root}/{table.folder}')},\n"
        f"    schema={_arrow_schema(table)},\n"
        '    partitioning="hive",\n'
        ")\n"
    )


def _daft(table: Table, root: str) -> str:
    return (
        f"{table.name} = daft.read_parquet(\n"
        f"    {_python_text(f'{root}/{table.folder}/*/*.parquet')},\n"
        f"    schema={_python_dict(table, _DAFT)},\n"
        "    infer_schema=False,\n"
        "    hive_partitioning=True,\n"
        ")\n"
    )


def duckdb_query(table: Table, files: str) -> str:
    """Return DuckDB's query for the table's columns and `call_date` in these files; a column that all lack is NULL."""
    return (
        # The outer select names the columns, because DuckDB reads `env=prod` in the catalog's own path as a column.
        f"select {', '.join(column.name for column in table.columns)}, call_date from (\n"  # noqa: S608
        f"  {duckdb_query_of_none(table)}\n  union all by name\n"
        f"  select * from read_parquet({files} hive_partitioning = true, hive_types = {{'call_date': date}},"
        " union_by_name = true)\n)"
    )


def duckdb_query_of_none(table: Table) -> str:
    """Return DuckDB's query for no rows of the table and `call_date`."""
    columns = ", ".join(f"null::{SQL_TYPES[column.type]} as {column.name}" for column in table.columns)
    return f"select {columns}, null::date as call_date where false"


ENGINES: Mapping[str, Callable[[Table, str], str]] = {
    "athena": _athena,
    "trino": _trino,
    "bigquery": _bigquery,
    "spark": _spark,
    "duckdb": _duckdb,
    "clickhouse": _clickhouse,
    "datafusion": _datafusion,
    "polars": _polars,
    "pandas": _pandas,
    "pyarrow": _pyarrow,
    "daft": _daft,
}
FIRST: Mapping[str, str] = {
    "datafusion": "set datafusion.execution.time_zone = 'UTC';\n",
    "polars": "import polars as pl\n",
    "pandas": "import pandas as pd\nimport pyarrow as pa\n",
    "pyarrow": "import pyarrow as pa\nimport pyarrow.dataset as ds\n",
    "daft": "import daft\nfrom daft import DataType\n",
}
"""What a session runs once, before the statements."""


def statements(engine: str, table: Table, root: str) -> str:
    """Return the SQL or Python that defines the table, below the catalog's `root`; the engine runs `FIRST` before it."""
    return ENGINES[engine](table, root.rstrip("/"))


def _columns(table: Table, types: Mapping[str, str], *, call_date: str | None = None) -> str:
    columns = [f"  {column.name} {types[column.type]}" for column in table.columns]
    return ",\n".join(columns if call_date is None else [*columns, f"  call_date {call_date}"])


def text_literal(value: str) -> str:
    """Return the SQL literal of a text."""
    return "'" + value.replace("'", "''") + "'"


def _python_dict(table: Table, types: Mapping[str, str]) -> str:
    columns = "".join(f'        "{column.name}": {types[column.type]},\n' for column in table.columns)
    return f"{{\n{columns}    }}"


def _arrow_schema(table: Table) -> str:
    columns = "".join(f'            ("{column.name}", {_PYARROW[column.type]}),\n' for column in table.columns)
    return f'pa.schema(\n        [\n{columns}            ("call_date", pa.date32()),\n        ]\n    )'


def _python_text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def main(arguments: list[str]) -> int:
    """Print the statements of all public tables for one engine, and return the exit code."""
    if len(arguments) != 2 or arguments[0].lower() not in ENGINES:
        sys.stderr.write(f"usage: python -m callarchive.catalog.ddl {'|'.join(ENGINES)} CATALOG-URL\n")
        return 2
    engine = arguments[0].lower()
    parts = [FIRST[engine]] if engine in FIRST else []
    sys.stdout.write("\n".join([*parts, *(statements(engine, table, arguments[1]) for table in PUBLIC_TABLES)]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

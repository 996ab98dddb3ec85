"""The reference page of the tables, in Markdown, from `callarchive.catalog.schemas`."""

from collections.abc import Iterator

from callarchive.catalog.schemas import PUBLIC_TABLES, SQL_TYPES, STEP_TABLES, Table

_HEAD = """\
# Tables

The catalog stores each table as `{catalog}/{table}/call_date=YYYY-MM-DD/part-0.parquet`: Hive partitions with one file
each, the same schema in every file, zstd. The column `call_date` is only in the path. Timestamps are UTC. **NULL means
unknown, never zero.** Columns are only ever added and are always nullable, so files of different versions read together. A
partition is replaced as a whole: readers see either the old rows or the new ones.

Types are DuckDB's. `list` is a list of strings.
"""

_STEPS = """\
## Internal tables

These tables pass data between the steps of a day. They are below `_steps/` in the catalog, which Parquet readers skip, and
they explain where a public row comes from. Only the tables above are stable.
"""


def tables_page() -> str:
    """Return the page in Markdown."""
    return "\n".join(
        [
            _HEAD,
            *(_table(table, "##") for table in PUBLIC_TABLES),
            _STEPS,
            *(_table(table, "###") for table in STEP_TABLES),
        ]
    )


def _table(table: Table, mark: str) -> str:
    return "\n".join((f"{mark} {table.name}\n", f"{_sentence(table.grain)}\n", *_columns(table), ""))


def _sentence(grain: str) -> str:
    return f"{grain[0].upper()}{grain[1:]}."


def _columns(table: Table) -> Iterator[str]:
    yield "| column | type | meaning |"
    yield "|---|---|---|"
    for column in table.columns:
        sql_type = (
            SQL_TYPES[column.type].replace("varchar[]", "list").replace("timestamp with time zone", "timestamptz")
        )
        key = " (key)" if column.name in table.key else ""
        yield f"| `{column.name}`{key} | {sql_type} | {column.meaning} |"

"""The reference of the tables as a Markdown page, from `callarchive.catalog.schemas`."""

from collections.abc import Iterator

from callarchive.catalog.schemas import PUBLIC_TABLES, SQL_TYPES, STEP_TABLES, Table

_HEAD = """\
# Tables

`{catalog}/{table}/call_date=YYYY-MM-DD/part-0.parquet`: Hive partitions, one file each, the same schema in every file,
zstd. The column `call_date` is in the path only. Time stamps are UTC. **A null means that nobody told us, never zero.**
Columns are only ever added, and are always nullable, so files of different ages read together. A partition is replaced
whole: a reader finds the old rows or the new.

Names of types are DuckDB's. `list` is of texts.
"""

_STEPS = """\
## What one step hands to the next

Below `_steps/` in the catalog, where readers of Parquet do not look. They are described here for those who want to know why
a row is as it is; only the tables above are promised.
"""


def tables_page() -> str:
    """The page's Markdown."""
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
    yield "| column | type | means |"
    yield "|---|---|---|"
    for column in table.columns:
        sql_type = (
            SQL_TYPES[column.type].replace("varchar[]", "list").replace("timestamp with time zone", "timestamptz")
        )
        key = " (key)" if column.name in table.key else ""
        yield f"| `{column.name}`{key} | {sql_type} | {column.meaning} |"

"""The asset of a table, with what the UI shows before anything has run: description, columns, owners, tags, checks."""

from collections.abc import Iterable, Sequence

import dagster as dg

from assets.check_results import check_specs
from assets.days import day_steps, run_days
from assets.lineage import column_lineage
from callarchive.archiving.connections import Connections
from callarchive.catalog.schemas import Column, Table

OWNERS = ["team:call-recordings"]
_PERSONAL = frozenset({"source_number", "destination_number"})


def table_asset(
    table: Table, *, group: str, about: str, deps: Iterable[dg.AssetsDefinition] = (), pool: str | None = None
) -> dg.AssetsDefinition:
    """Return the asset of a table that a step of the day writes.

    Args:
        group: the box in the asset graph.
        about: the description, Markdown. Lists in the UI show its first 45 characters: they say what a row is.
        deps: assets whose partitions of the same day it reads.
        pool: the pool that limits how many of these steps run at once.
    """

    @dg.asset(
        name=table.name,
        description=_description(table, about),
        deps=list(deps),
        group_name=group,
        owners=OWNERS,
        kinds={"python", "parquet"},
        tags={"visibility": "public" if table.public else "internal", "personal_data": _personal_data(table)},
        metadata={"dagster/column_schema": column_schema(table), "dagster/column_lineage": column_lineage(table)},
        check_specs=check_specs(table),
        pool=pool,
    )
    def write(context: dg.AssetExecutionContext, connections: dg.ResourceParam[Connections]) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows only the bare class
        return run_days(context, connections, day_steps(context)[table.name])

    return write


def column_schema(table: Table) -> dg.TableSchema:
    """Return the table's columns as Dagster shows them, `call_date` last as in every reader."""
    lineage = column_lineage(table).deps_by_column
    columns = [
        _column(column, is_key=column.name in table.key, sources=lineage.get(column.name, ()))
        for column in table.columns
    ]
    call_date = dg.TableColumn("call_date", "date32", "the day in the configured time zone; in the path only")
    key = ", ".join(("call_date", *table.key))
    return dg.TableSchema([*columns, call_date], constraints=dg.TableConstraints(other=[f"unique ({key})"]))


def _column(column: Column, *, is_key: bool, sources: Sequence[dg.TableColumnDep]) -> dg.TableColumn:
    # Dagster's open-source UI shows the lineage only as JSON, so the description has it too.
    origin = ", ".join(f"{source.asset_key.to_user_string()}.{source.column_name}" for source in sources)
    return dg.TableColumn(
        column.name,
        type=column.type,
        description=f"{column.meaning} ← {origin}" if origin else column.meaning,
        constraints=dg.TableColumnConstraints(nullable=not is_key, other=["key"] if is_key else []),
    )


def _description(table: Table, about: str) -> str:
    stored_in = f"`{table.folder}/call_date=YYYY-MM-DD/` in the catalog"
    return f"{about}\n\n**Key:** `{', '.join(table.key)}` within the day. **Stored in:** {stored_in}."


def _personal_data(table: Table) -> str:
    """Return what personal data a row may hold beyond the ids of calls and recordings."""
    return "as-configured" if _PERSONAL & {column.name for column in table.columns} else "none"

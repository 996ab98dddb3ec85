"""The options whose values are days."""

from datetime import date, datetime
from typing import Annotated, Any

import typer


def day_option(name: str, description: str) -> Any:
    """Return an option whose value is a day."""
    return typer.Option(name, help=description, formats=["%Y-%m-%d"], metavar="YYYY-MM-DD")


FirstDay = Annotated[datetime | None, day_option("--from", "First day.")]
LastDay = Annotated[datetime | None, day_option("--to", "Last day.")]


def day_range(first: datetime | None, last: datetime | None) -> tuple[date, date]:
    """Return both days. Raise BadParameter if one is missing or they are in the wrong order."""
    if first is None or last is None or last < first:
        raise typer.BadParameter("give both, with --from not after --to", param_hint="--from/--to")
    return first.date(), last.date()

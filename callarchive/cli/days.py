"""The options `--from` and `--to` of the commands that take a range of days."""

from datetime import date, datetime
from typing import Annotated

import typer

FirstDay = Annotated[
    datetime | None, typer.Option("--from", help="First day.", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD")
]
LastDay = Annotated[datetime | None, typer.Option("--to", help="Last day.", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD")]


def day_range(first: datetime | None, last: datetime | None) -> tuple[date, date]:
    """Return both days. Raise BadParameter if one is missing or they are in the wrong order."""
    if first is None or last is None or last < first:
        raise typer.BadParameter("give both, with --from not after --to", param_hint="--from/--to")
    return first.date(), last.date()

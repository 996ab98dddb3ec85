"""The options `--from` and `--to` of the commands that take a range of days."""

from datetime import datetime
from typing import Annotated

import typer

FirstDay = Annotated[
    datetime | None, typer.Option("--from", help="First day.", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD")
]
LastDay = Annotated[datetime | None, typer.Option("--to", help="Last day.", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD")]

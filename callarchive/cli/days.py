"""The days that commands take: `--from` and `--to`."""

from datetime import datetime
from typing import Annotated

import typer

FirstDay = Annotated[
    datetime | None, typer.Option("--from", help="First day.", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD")
]
LastDay = Annotated[datetime | None, typer.Option("--to", help="Last day.", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD")]

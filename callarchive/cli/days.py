"""The options whose values are days."""

import re
from calendar import monthrange
from datetime import date, timedelta
from typing import Annotated, Any

import typer

from callarchive.domain.days import utc_now
from callarchive.domain.identifiers import EARLIEST_PLAUSIBLE_AT
from callarchive.domain.mistakes import quoted

_DAY = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})")


def day_option(name: str, description: str) -> Any:
    """Return an option whose value is a day."""
    return typer.Option(name, help=description, parser=parse_day, metavar="YYYY-MM-DD", show_default=False)


def day_range(first: date | None, last: date | None) -> tuple[date, date]:
    """Return both days. Raise BadParameter if one is missing or they are in the wrong order."""
    if first is None or last is None:
        lacking = [name for name, day in (("--from", first), ("--to", last)) if day is None]
        example = f"--from {first or _example(30)} --to {last or _example()}"
        raise typer.BadParameter(
            f"give both, such as {example}: no {' and no '.join(lacking)}", param_hint="--from/--to"
        )
    check_order(first, last)
    return first, last


def check_order(first: date | None, last: date | None) -> None:
    """Raise BadParameter if the first day is after the last."""
    if first is not None and last is not None and last < first:
        raise typer.BadParameter(f"--from {first} is after --to {last}", param_hint="--from/--to")


def single_day_or_range(day: date | None, first: date | None, last: date | None) -> tuple[date, date]:
    """Return the first and the last day that --day, or --from and --to, give. Raise BadParameter if they are not plausible."""
    if day is None and first is None and last is None:
        raise typer.BadParameter(f"give it, such as --day {_example()}, or give --from and --to", param_hint="--day")
    if day is not None and (first is not None or last is not None):
        raise typer.BadParameter("give either --day, or --from and --to", param_hint="--day")
    begin, end = (day, day) if day is not None else day_range(first, last)
    if begin < EARLIEST_PLAUSIBLE_AT.date():
        hint = "--day" if day is not None else "--from"
        earliest = EARLIEST_PLAUSIBLE_AT.date()
        raise typer.BadParameter(f"{begin} is before {earliest}, when there were no recordings", param_hint=hint)
    return begin, end


def parse_day(text: str) -> date:
    """Return the day of YYYY-MM-DD. Raise BadParameter with what is wrong."""
    parts = _DAY.fullmatch(text.strip())
    if parts is None or not int(parts[1]):
        raise typer.BadParameter(f"{quoted(text)} is not a day: write YYYY-MM-DD, such as {_example()}")
    year, month, day = map(int, parts.groups())
    if not 1 <= month <= 12:
        raise typer.BadParameter(
            f"{quoted(text)} is not a day: a year has the months 1 to 12, so there is no month {month}"
        )
    if not 1 <= day <= monthrange(year, month)[1]:
        last = date(year, month, monthrange(year, month)[1])
        raise typer.BadParameter(f"{quoted(text)} is not a day: the last day of that month is {last}")
    return date(year, month, day)


def _example(days_ago: int = 1) -> date:
    return utc_now().date() - timedelta(days=days_ago)


FirstDay = Annotated[date | None, day_option("--from", "First day.")]
LastDay = Annotated[date | None, day_option("--to", "Last day.")]

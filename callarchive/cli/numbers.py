"""The options whose values are numbers."""

from collections.abc import Callable
from typing import Any

import typer

from callarchive.domain.mistakes import quoted


def number_option(
    name: str,
    description: str,
    kind: Callable[[str], float],
    *,
    accepted: str,
    accepts: Callable[[float], bool] = lambda _: True,
) -> Any:
    """Return an option whose value is a number. `accepted` describes the valid ones in messages, and gives an example."""

    def parse(text: object) -> float:
        try:
            number = kind(str(text))
        except ValueError:
            number = None
        if number is None or not accepts(number):
            raise typer.BadParameter(f"{quoted(str(text))} is not {accepted}")
        return number

    return typer.Option(name, help=description, parser=parse, metavar="NUMBER")

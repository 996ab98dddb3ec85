"""`callarchive demo`: archive a sample week from local simulators."""

import os
import time
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from callarchive.catalog.schemas import PUBLIC_TABLES
from callarchive.cli.archive import exit_for_failures, ledger_head, print_results
from callarchive.cli.days import day_option
from callarchive.cli.numbers import number_option
from callarchive.cli.output import Output
from callarchive.domain.days import utc_now

if TYPE_CHECKING:
    from callarchive.catalog.parquet_catalog import Catalog

_SHOWN = 10
_QUERY = """\
select subaccount_id, count(*) as recordings, round(sum(duration_s) / 3600, 2) as hours,
       round(quantile_cont(duration_s, 0.5), 1) as median_s, round(quantile_cont(duration_s, 0.95), 1) as p95_s
from recordings where archive_status = 'archived'
group by subaccount_id order by subaccount_id"""


def demo(
    context: typer.Context,
    directory: Annotated[
        Path,
        typer.Option("--directory", "-d", metavar="DIR", help="Directory for the simulators, archive and catalog."),
    ] = Path(".demo"),
    last_day: Annotated[date | None, day_option("--last-day", "Last day of the week (default: yesterday).")] = None,
    sessions_per_day: Annotated[
        int | None,
        number_option(
            "--sessions",
            "Sessions per account and day.",
            int,
            accepted="a whole number from 1 to 20000, such as 22",
            accepts=lambda count: 1 <= count <= 20_000,
        ),
    ] = None,
) -> None:
    """Archive a sample week from local simulators of 8x8's API, S3 and SFTP, and print the results.

    No account is needed, and nothing leaves this machine. A second run downloads nothing again.

    \b
    Example:
        callarchive demo --directory /tmp/demo
    """
    from callarchive.archiving.connections import Connections
    from callarchive.cli.day_results import archive_days
    from callarchive.settings import load_settings
    from callarchive.simulator.running import Simulator

    output: Output = context.obj
    today = utc_now().date()
    if last_day is not None and last_day > today:
        raise typer.BadParameter(f"{last_day} has not begun: in UTC it is {today}", param_hint="--last-day")
    started = time.monotonic()
    _clear_environment()
    _log(
        output,
        "starting simulators of 8x8's API, S3 and SFTP on this machine, and filling them with a week of calls ...",
    )
    with Simulator.start(directory, last_day=last_day, sessions_per_day=sessions_per_day) as simulator:
        os.environ.update(simulator.environment)
        days = sorted({session.started_at.date() for session in simulator.world.sessions})
        _log(output, f"archiving {days[0]} to {days[-1]}, {len(simulator.world.sessions)} sessions ...")
        with Connections(load_settings(simulator.config)) as connections, output.progress() as progress:
            results = list(archive_days(connections, days, progress=progress))
            head = ledger_head(connections)
    took_s = time.monotonic() - started
    print_results(output, results, ledger=head, shown=_SHOWN)
    if not output.json:
        _print_places(output, connections.catalog, directory=directory, took_s=took_s)
    exit_for_failures(results, ignore_checks=True)


def _print_places(output: Output, catalog: "Catalog", *, directory: Path, took_s: float) -> None:
    root = catalog.store.url.removeprefix("file://")
    tables = ",".join(table.name for table in PUBLIC_TABLES)
    output.print_text(f"""
Archive        {Path(root).parent / "archive"}
Parquet files  {root}/{{{tables}}}/call_date=*/*.parquet
Configuration  {directory / "callarchive.toml"}

A query in DuckDB, with a view for each table:

{_QUERY}
""")
    answer = catalog.duckdb().sql(_QUERY)
    output.print_table("", answer.columns, answer.fetchall())
    output.print_text(f"\nDone in {took_s:.0f} s. To explore the week in Dagster's UI:  make ui")
    output.print_text("Notebooks: notebooks/explore_catalog.ipynb, data_quality.ipynb, listen.ipynb")
    output.print_path_hint()


def _clear_environment() -> None:
    """Remove the user's settings and credentials: the simulators must not get them, and a wrong one would break the demo."""
    for name in list(os.environ):
        if name.startswith(("CALLARCHIVE_", "AWS_")):
            del os.environ[name]


def _log(output: Output, text: str) -> None:
    if not output.quiet:
        typer.echo(text, err=True)

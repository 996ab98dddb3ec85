"""The command line: `callarchive`. Data goes to stdout, everything else to stderr.

Exit codes: 0 done, 1 something failed, 2 usage or configuration, 3 refused, 4 published but a check failed, 130 interrupted.
Commands import what they need when they run, so that `--help` does not wait for pandas.
"""

import gc
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from callarchive.cli import archive, demo, doctor, find, forecast, push_config, status, verify, webhooks
from callarchive.cli.output import Output, begin_logging, say_error, say_unexpected
from callarchive.domain.errors import ArchiveError
from callarchive.runtime.memory import use_system_memory

_INTERRUPTED = 130
_GLOBAL_FLAGS = frozenset(("--json", "-v", "-vv", "--verbose", "-q", "--quiet"))

app = typer.Typer(
    name="callarchive",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="The archive for 8x8 Number Masking call recordings.\n\n"
    "Fetches every recording of a day from where 8x8 pushed it (S3 or SFTP) into a verified archive, and writes Parquet "
    "tables that say what was found, what is kept and what is wrong.",
    epilog="Configuration: `callarchive.toml` in the working directory, or `CALLARCHIVE_CONFIG`. "
    "`callarchive demo` tries everything without an account.",
)
app.command("archive", short_help="Archive a day or a range of days.")(archive.archive)
app.command("forecast", short_help="What archiving a range of days will be.")(forecast.forecast)
app.command("doctor", short_help="Check every link of the chain, and say what to do.")(doctor.doctor)
app.add_typer(push_config.push_config_app, name="push-config", short_help="Where 8x8 pushes recordings.")
app.add_typer(webhooks.webhooks_app, name="webhooks", short_help="Where 8x8 sends events, and the receiver.")
app.command("status", short_help="How the last days are, and what is at risk.")(status.status)
app.add_typer(status.alerts_app, name="alerts", short_help="Who is told of what went wrong.")
app.command("find", short_help="Tell everything known of a session or recording.")(find.find)
app.command("verify", short_help="Re-read the archive against the catalog.")(verify.verify)
app.command("demo", short_help="Archive a made-up week from local stand-ins.")(demo.demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        from callarchive import __version__

        typer.echo(f"callarchive {__version__}")
        raise typer.Exit


@app.callback()
def _globals(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="The configuration file.", show_default=False)
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose", "-v", count=True, metavar="", help="Tell more; twice: everything.", show_default=False
        ),
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Tell errors only, and no progress.")] = False,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    begin_logging(verbose=verbose, quiet=quiet)
    context.obj = Output(config=config, json=json_output, quiet=quiet)


class _NoPandas:
    """Import finder that knows no pandas. pyarrow imports it at its first Python value, to see whether that is a frame.

    No command has one, and it costs each 0.15 s and 37 MB. Only a process of ours may go without, so `main` sees to it.
    """

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:  # noqa: ARG002
        if name == "pandas":
            raise ModuleNotFoundError("no command uses pandas", name=name)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def prepare_process() -> None:
    """This process, which is ours alone, does without what no command uses. To be called before anything is imported."""
    sys.meta_path.insert(0, _NoPandas())
    use_system_memory()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's threads for matrices, which nothing here has
    # A recording leaves hundreds of objects and no cycles behind: by default the collector would go through all of them, and
    # through every module, some hundred times a day, for a twentieth of a transfer's CPU time.
    gc.set_threshold(50_000, 20, 50)


def _is_very_verbose(words: list[str]) -> bool:
    return "-vv" in words or sum(word in ("-v", "--verbose") for word in words) > 1


def main() -> None:
    """Runs the command line and exits. `--json`, `-v` and `-q` may stand anywhere."""
    prepare_process()
    signal.signal(signal.SIGTERM, _interrupt)  # systemd and Kubernetes stop with it: as orderly as Ctrl-C
    words = sys.argv[1:]
    hoisted = [word for word in words if word in _GLOBAL_FLAGS]
    try:
        app(args=[*hoisted, *(word for word in words if word not in _GLOBAL_FLAGS)], prog_name="callarchive")
    except ArchiveError as err:
        say_error(err)
        sys.exit(err.exit_code)
    except Exception as err:
        say_unexpected(err, with_frames=_is_very_verbose(words))
        sys.exit(1)
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # what typer makes of a KeyboardInterrupt
            typer.echo("interrupted: what was archived is kept; run the same command again to go on", err=True)
        raise

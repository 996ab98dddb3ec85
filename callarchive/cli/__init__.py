"""The command line, `callarchive`. Data goes to stdout, everything else to stderr.

Exit codes: 0 done, 1 failure, 2 usage or configuration error, 3 refused, 4 published but a check failed, 130 interrupted.
Commands import their libraries when they run, so that `--help` is quick.
"""

import os
import signal
import sys
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from callarchive.cli import (
    archive,
    audit,
    demo,
    doctor,
    erase,
    evidence,
    find,
    forecast,
    hold,
    init,
    ledger,
    play,
    push_config,
    report,
    retention,
    status,
    verify,
    webhooks,
)
from callarchive.cli.misplaced_words import hint
from callarchive.cli.output import Output, begin_logging, print_error, print_next_step, print_unexpected_error
from callarchive.domain.errors import ArchiveError, ConfigurationError
from callarchive.runtime.memory import collect_rarely, use_system_memory

_INTERRUPTED = 130
_GLOBAL_FLAGS = frozenset(("--json", "-v", "-vv", "--verbose", "-q", "--quiet"))

_CONFIG = ("--config", "-c")

_ORDER = (
    *("init", "archive", "forecast", "doctor", "push-config", "webhooks", "status", "alerts", "find", "play", "report"),
    *("verify", "ledger", "evidence", "hold", "erase", "retention", "audit", "demo"),
)


class _InOrder(TyperGroup):
    def list_commands(self, _: Any) -> list[str]:
        return sorted(self.commands, key=_ORDER.index)


app = typer.Typer(
    name="callarchive",
    cls=_InOrder,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    rich_markup_mode=None,
    help="Archive the call recordings of 8x8 Number Masking.\n\n"
    "Copy each day's recordings from the S3 bucket or SFTP server that 8x8 pushes to into a verified archive, and write "
    "Parquet tables of sessions, recordings and problems.",
    epilog="The configuration is `callarchive.toml` in the working directory, or the file that `CALLARCHIVE_CONFIG` names. "
    "`callarchive demo` works without an account.",
)
app.command("init", short_help="Ask for what is needed, and write a configuration.")(init.init)
app.command("archive", short_help="Archive a day or a range of days.")(archive.archive)
app.command("forecast", short_help="Estimate the size, cost and time of archiving.")(forecast.forecast)
app.command("doctor", short_help="Check the whole setup and suggest fixes.")(doctor.doctor)
app.add_typer(push_config.push_config_app, name="push-config", short_help="Manage where 8x8 pushes recordings.")
app.add_typer(webhooks.webhooks_app, name="webhooks", short_help="Manage webhooks at 8x8; run the receiver.")
app.command("status", short_help="Show the last days and recordings at risk.")(status.status)
app.add_typer(status.alerts_app, name="alerts", short_help="Test the alert channels.")
app.command("find", short_help="Trace a session or recording.")(find.find)
app.command("play", short_help="Play an archived recording.")(play.play)
app.command("report", short_help="Write a page of calls and recordings to listen to.")(report.report)
app.command("verify", short_help="Verify the archive against the catalog and the ledger.")(verify.verify)
app.add_typer(ledger.ledger_app, name="ledger", short_help="Show and check the tamper-evident record.")
app.command("evidence", short_help="Write a file that proves a recording.")(evidence.evidence)
app.command("erase", short_help="Erase sessions or recordings and all that names them.")(erase.erase)
app.add_typer(hold.hold_app, name="hold", short_help="Forbid the erasure of recordings: legal holds.")
app.add_typer(retention.retention_app, name="retention", short_help="Remove what is past its time.")
app.command("audit", short_help="Show who did what: holds, erasures, evidence, changes at 8x8.")(audit.audit)
app.command("demo", short_help="Archive a sample week from local simulators.")(demo.demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        from callarchive import __version__

        typer.echo(f"callarchive {__version__}")
        raise typer.Exit


@app.callback()
def _set_global_options(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="Configuration file.", show_default=False)
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose", "-v", count=True, metavar="", help="Increase verbosity (-vv: debug).", show_default=False
        ),
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only errors, and no progress.")] = False,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    begin_logging(verbose=verbose, quiet=quiet)
    context.obj = Output(config=config, json=json_output, quiet=quiet, verbose=verbose)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def prepare_process() -> None:
    """Tune this process for callarchive alone. Call it before numpy is imported."""
    use_system_memory()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # no linear algebra here, so no threads for it
    collect_rarely()
    # Threads that share the interpreter lock take it from each other whenever they wake up. Without preemption at each
    # wakeup, a transfer takes an eighth less CPU time.
    with suppress(AttributeError, OSError):  # Linux has this policy, but a sandbox may forbid setting it
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _options_of_commands() -> set[str]:
    """Return the options of all commands, without those of the program."""
    waiting: list[Any] = list(typer.main.get_group(app).commands.values())
    found: set[str] = set()
    for command in waiting:
        waiting += getattr(command, "commands", {}).values()
        found.update(*(parameter.opts for parameter in command.params))
    return found


def _is_very_verbose(words: list[str]) -> bool:
    return "-vv" in words or sum(word in ("-v", "--verbose") for word in words) > 1


def main() -> None:
    """Run the command line and exit."""
    prepare_process()
    signal.signal(signal.SIGTERM, _interrupt)  # systemd and Kubernetes send it: stop as cleanly as on Ctrl-C
    run(sys.argv[1:])


def run(words: list[str]) -> None:
    """Run a command and exit. `--config`, `--json`, `-v` and `-q` may appear anywhere."""
    hoisted: list[str] = []
    others: list[str] = []
    rest = iter(words)
    for word in rest:
        if word in _CONFIG:
            hoisted += [word, *islice(rest, 1)]
            if hoisted[-1] is word:  # no file follows, and the command must not be taken for it
                others = []
        elif word in _GLOBAL_FLAGS or word.startswith("--config="):
            hoisted.append(word)
        else:
            others.append(word)
    misplaced = hint(others, _ORDER, _options_of_commands)
    if misplaced is not None:
        typer.echo(f"Error: {misplaced}", err=True)
        sys.exit(ConfigurationError.exit_code)
    try:
        app(args=[*hoisted, *others], prog_name="callarchive")
    except ArchiveError as err:
        print_error(err)
        print_next_step([err])
        sys.exit(err.exit_code)
    except Exception as err:  # noqa: BLE001 - whatever it is, the user gets a message and an exit code
        print_unexpected_error(err, with_frames=_is_very_verbose(words))
        sys.exit(1)
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # typer's exit code for a KeyboardInterrupt
            typer.echo("interrupted: finished work is kept; run the same command again to continue", err=True)
        raise

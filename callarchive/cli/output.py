"""Output of the commands: tables or JSON on stdout; progress, logs and errors on stderr."""

import json
import logging
import re
import shlex
import shutil
import sys
import textwrap
import traceback
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import typer

from callarchive.domain.errors import AccountsFailedError, ArchiveError, ConfigurationError
from callarchive.domain.foreign_text import cleaned_lines, printable
from callarchive.runtime.memory import keep_pandas_out
from callarchive.runtime.worker_pool import NoProgress, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress as Bars

    from callarchive.archiving.connections import Connections
    from callarchive.settings import Settings

_WIDTH_OFF_TERMINAL = 100
_NARROWEST = 40
_UNLIMITED = 10_000
_SHORT = 12
"""Characters. Cells up to this length are not wrapped, only their headings."""
_LONGEST_MESSAGE = 32 * 1024
_UNAVAILABLE = ("UnavailableError", "NoResponseError", "ArchiveUnavailableError")
_NUMBER = re.compile(r"(-?\d[\d,.]*)?")
_WORD = re.compile(r"\S{0,36}")  # no spaces, and at most as long as a UUID
_QUIET_LIBRARIES = ("botocore", "boto3", "urllib3", "paramiko", "asyncssh", "werkzeug", "obstore", "s3transfer")


@dataclass(frozen=True)
class Output:
    """The global options, and printing in accordance with them."""

    config: Path | None
    json: bool
    quiet: bool
    verbose: int = 0

    def settings(self) -> "Settings":
        """Return the settings of the file that `--config`, `CALLARCHIVE_CONFIG` or the working directory gives."""
        from callarchive.settings import load_settings

        return load_settings(self.config)

    def connections(self, settings: "Settings | None" = None) -> "Connections":
        """Return the connections of the settings, by default the configuration's. Nothing is contacted or created yet."""
        from callarchive.archiving.connections import Connections

        keep_pandas_out()
        return Connections(settings or self.settings())

    def print_json(self, value: object) -> None:
        """Print one JSON document to stdout. Dataclasses become objects, dates ISO 8601 strings."""
        typer.echo(json.dumps(value, default=_plain, ensure_ascii=False, indent=2))

    def print_text(self, text: str = "") -> None:
        """Print a line to stdout, unless the user wants only errors."""
        if not self.quiet:
            typer.echo(text)

    def print_note(self, text: str) -> None:
        """Print a line about the command to stderr, unless the user wants only errors."""
        if not self.quiet:
            typer.echo(text, err=True)

    def print_path_hint(self) -> None:
        """Print the command after which the shell finds `callarchive`, unless it does already."""
        folder = Path(sys.executable).parent
        if shutil.which("callarchive") is None and (folder / "callarchive").exists():
            activate = folder / "activate"
            command = f"source {shlex.quote(str(activate))}" if activate.exists() else f'export PATH="{folder}:$PATH"'
            self.print_note(f"So that this shell finds callarchive:  {command}")

    def print_quiet_error(self, text: str) -> None:
        """Print a line to stderr if the user wants only errors: otherwise the command's output shows it."""
        if self.quiet and not self.json:
            typer.echo(f"error: {text}", err=True)

    def print_table(self, title: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table to stdout, unless the user wants only errors. Columns of numbers are aligned to the right.

        It is as wide as `COLUMNS` or the terminal allows, else at most 100 columns. Where that is too narrow, sentences and
        headings are wrapped, but not ids, days and numbers.
        """
        if self.quiet:
            return
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        listed = [[_text(cell) for cell in row] for row in rows]
        width = max(shutil.get_terminal_size((_WIDTH_OFF_TERMINAL, 0)).columns, _NARROWEST)
        console = Console(file=sys.stdout, width=width)
        columns = [_Column(heading, [row[number] for row in listed]) for number, heading in enumerate(headings)]
        fits = sum(column.narrowest + 3 for column in columns) < width
        crowded = sum(column.natural + 3 for column in columns) >= width
        table = Table()
        for column in columns:
            table.add_column(
                textwrap.fill(column.heading, column.narrowest)
                if crowded and fits and column.is_whole
                else column.heading,
                justify="right" if column.is_numeric else "left",
                overflow="fold",
                no_wrap=column.is_whole if fits else column.has_words,
                min_width=None if fits or not column.has_numbers else max(map(len, column.cells), default=0),
            )
        for row in listed:
            table.add_row(*(escape(cell) for cell in row))
        if console.measure(table, options=console.options.update_width(_UNLIMITED)).minimum > console.width:
            table.padding = 0
        if title:
            console.print(title, style="bold", markup=False, highlight=False)
        console.print(table)

    @contextmanager
    def progress(self) -> "Iterator[Progress]":
        """Yield a progress bar on stderr if that is a terminal, else one that shows nothing."""
        if self.quiet or not sys.stderr.isatty():
            yield NoProgress()
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
            yield _BarProgress(bars)


class _Column:
    """The cells of a table's column, and how it may be wrapped."""

    def __init__(self, heading: str, cells: list[str]) -> None:
        self.heading, self.cells = heading, cells
        widest = max(map(len, cells), default=0)
        self.is_numeric = bool(cells) and all(cell.lstrip("-")[:1].isdigit() for cell in cells if cell)
        self.has_numbers = all(map(_NUMBER.fullmatch, cells))
        has_words = all(map(_WORD.fullmatch, cells)) and any(char.isdigit() for cell in cells for char in cell)
        self.has_words = has_words and not self.has_numbers
        self.is_whole = has_words or self.has_numbers or widest <= _SHORT
        widest_word = max(map(len, heading.split()), default=1)
        self.narrowest = max(widest_word, widest if self.is_whole else min(widest, _SHORT))
        self.natural = max(len(heading), widest)


class _BarProgress:
    """A bar for the current stage. Thread-safe."""

    def __init__(self, bars: "Bars") -> None:
        self._bars = bars
        self._lock = Lock()
        self._task: Any = None

    def begin(self, stage: str, total: int) -> None:
        with self._lock:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._task = self._bars.add_task(stage, total=total)

    def advance(self, count: int = 1) -> None:
        with self._lock:
            if self._task is not None:
                self._bars.advance(self._task, count)


def begin_logging(*, verbose: int, quiet: bool) -> None:
    """Log to stderr. Libraries stay at warnings, because their debug output contains signatures and headers."""
    level = logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_CleanFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("callarchive").setLevel(level)
    for name in _QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)


class _CleanFormatter(logging.Formatter):
    """A formatter that removes control characters from what a message or a traceback quotes."""

    def format(self, record: logging.LogRecord) -> str:
        return cleaned_lines(super().format(record), limit=_LONGEST_MESSAGE)


def print_error(err: ArchiveError, *, about: str | None = None) -> None:
    """Print the error to stderr, prefixed with what it is about."""
    prefix = "configuration error" if isinstance(err, ConfigurationError) else "error"
    typer.echo(f"{prefix}: {err}" if about is None else f"{prefix}: {about}: {err}", err=True)


def print_next_step(errors: Iterable[ArchiveError]) -> None:
    """Print the next step to stderr if one of the errors is that something could not be reached."""
    if any(map(_is_unavailable, errors)):
        typer.echo("next step: callarchive doctor checks every address and connection", err=True)


def _is_unavailable(err: ArchiveError) -> bool:
    if isinstance(err, AccountsFailedError):
        return any(failure.error_type in _UNAVAILABLE for failure in err.failures)
    return type(err).__name__ in _UNAVAILABLE


def print_unexpected_error(err: Exception, *, with_frames: bool) -> None:
    """Print an error that is not an ArchiveError to stderr: one line, and its frames on request.

    Only the operating system's messages are shown, because the message of a library may quote a secret.
    """
    if with_frames:
        one: BaseException | None = err
        while one is not None:
            typer.echo(f"{type(one).__name__}:\n{''.join(traceback.format_tb(one.__traceback__))}", err=True, nl=False)
            one = one.__cause__ or one.__context__
    what = type(err).__name__
    if isinstance(err, OSError) and err.strerror:
        what = f"{err.strerror}{'' if err.filename is None else f': {err.filename}'}"
    frames = [frame for frame in traceback.extract_tb(err.__traceback__) if "callarchive" in Path(frame.filename).parts]
    place = f" in {Path(frames[-1].filename).stem}, line {frames[-1].lineno}" if frames else ""
    advice = "" if with_frames else "; use -vv for a traceback"
    typer.echo(
        f"error: unexpected: {what}{place}{advice}. Finished work is kept; run the same command again to continue",
        err=True,
    )


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return str(value)


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:,.1f}"
    if isinstance(cell, int):
        return f"{cell:,}"
    return "\n".join(map(printable, str(cell).split("\n")))

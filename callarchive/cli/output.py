"""How commands speak: tables or JSON on stdout, progress, logs and errors on stderr."""

import json
import logging
import re
import sys
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

from callarchive.domain.errors import ArchiveError, ConfigurationError
from callarchive.domain.foreign_text import cleaned_lines, printable
from callarchive.runtime.worker_pool import NoProgress, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress as Bars

    from callarchive.settings import Settings

_WIDTH_OFF_TERMINAL = 180
_LONGEST_MESSAGE = 32 * 1024
_WHOLE = re.compile(r"(?=\D*\d)\S{1,36}|")  # what has a digit and no space, and is no longer than a UUID
_QUIET_LIBRARIES = ("botocore", "boto3", "urllib3", "paramiko", "asyncssh", "werkzeug", "obstore", "s3transfer")


@dataclass(frozen=True)
class Output:
    """What the global options ask for, and the means to print accordingly."""

    config: Path | None
    json: bool
    quiet: bool

    def settings(self) -> "Settings":
        """The configuration that `--config`, `CALLARCHIVE_CONFIG` or the working directory names."""
        from callarchive.settings import load_settings

        return load_settings(self.config)

    def print_json(self, value: object) -> None:
        """One JSON document on stdout. Dataclasses become objects, dates ISO 8601 text."""
        typer.echo(json.dumps(value, default=_plain, ensure_ascii=False, indent=2))

    def print_text(self, text: str = "") -> None:
        """A line on stdout."""
        typer.echo(text)

    def print_table(self, title: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A table on stdout; columns of numbers are aligned to the right. Nothing is cut off a terminal.

        Where it is too wide, sentences are wrapped before ids, days and counts are.
        """
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        listed = [[_text(cell) for cell in row] for row in rows]
        table = Table(title=title, title_justify="left", title_style="bold")
        for number, heading in enumerate(headings):
            column = [row[number] for row in listed]
            numeric = bool(column) and all(cell.lstrip("-")[:1].isdigit() for cell in column if cell)
            whole = bool(column) and all(_WHOLE.fullmatch(cell) for cell in column)
            table.add_column(heading, justify="right" if numeric else "left", overflow="fold", no_wrap=whole)
        for row in listed:
            table.add_row(*(escape(cell) for cell in row))
        console = Console(file=sys.stdout)
        if not console.is_terminal:
            console = Console(file=sys.stdout, width=_WIDTH_OFF_TERMINAL)
        console.print(table)

    @contextmanager
    def progress(self) -> "Iterator[Progress]":
        """A progress bar on stderr where that is a terminal; otherwise nothing."""
        if self.quiet or not sys.stderr.isatty():
            yield NoProgress()
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
            yield _BarProgress(bars)


class _BarProgress:
    """One bar a stage; the last stage's is the one that advances. Called from many threads."""

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
    """Messages of callarchive go to stderr. Libraries stay at warnings: their debug output holds signatures and headers."""
    level = logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_CleanFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("callarchive").setLevel(level)
    for name in _QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)


class _CleanFormatter(logging.Formatter):
    """Cleans whatever a message or a traceback quotes."""

    def format(self, record: logging.LogRecord) -> str:
        return cleaned_lines(super().format(record), limit=_LONGEST_MESSAGE)


def say_error(err: ArchiveError, *, about: str | None = None) -> None:
    """The error on stderr, in one piece; `about` says what it befell."""
    prefix = "configuration error" if isinstance(err, ConfigurationError) else "error"
    typer.echo(f"{prefix}: {err}" if about is None else f"{prefix}: {about}: {err}", err=True)


def say_unexpected(err: Exception, *, with_frames: bool) -> None:
    """Print an error that is none of ours to stderr: one line, with its frames on request.

    Of what it says only the system's own words are shown: another library's text may quote a secret.
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
    advice = "" if with_frames else "; -vv shows where it came from"
    typer.echo(f"error: unexpected: {what}{place}{advice}. What was done is kept: run the same command again", err=True)


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

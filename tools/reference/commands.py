"""The reference of the command line as a Markdown page, from the typer app: what `--help` says of every command."""

import re
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

import typer.main

from callarchive.cli import app

_HEAD = """\
# Commands

Data goes to stdout, everything else to stderr. `--json`, `-v` and `-q` may stand anywhere.

| exit code | means |
|---|---|
| 0 | done |
| 1 | something failed |
| 2 | the command line or the configuration is wrong |
| 3 | refused: credentials, host key, permission |
| 130 | interrupted |
"""


def commands_page() -> str:
    """The page's Markdown."""
    return "\n".join([_HEAD, *_command(typer.main.get_command(app), "callarchive")])


def _command(command: Any, path: str) -> Iterator[str]:
    """The command and, of a group, those within it."""
    # click's classes are typer's own copy of them in some versions: asked for is what they have, not what they are.
    inner = getattr(command, "commands", None)
    yield f"## `{path}`\n"
    yield _prose(command.help or command.short_help or "")
    if inner is None:
        yield f"```text\n{path} {' '.join(_usage(command))}".rstrip() + "\n```\n"
    rows = [_row(parameter) for parameter in command.params if parameter.name != "help"]
    if rows:
        yield "\n".join(("| parameter | does | default |", "|---|---|---|", *rows)) + "\n"
    for name, one in (inner or {}).items():
        yield from _command(one, f"{path} {name}")


def _usage(command: Any) -> Iterator[str]:
    if any(parameter.param_type_name == "option" for parameter in command.params):
        yield "[OPTIONS]"
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            yield _name(parameter)


def _name(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name).upper()


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        names = f"`{_name(parameter)}`"
    else:
        names = ", ".join(f"`{name}`" for name in sorted(parameter.opts, key=len, reverse=True))
        if not (parameter.is_flag or parameter.count):
            names += f" `{_name(parameter)}`"
    return f"| {names} | {_in_a_cell(parameter.help or '')} | {_default(parameter)} |"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "**required**"
    value = parameter.default
    return f"`{value}`" if isinstance(value, str | int | float | Path) and value not in (False, 0) else ""


def _in_a_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _prose(text: str) -> str:
    r"""The help text as Markdown. A block that click must not wrap begins with a \b of its own line: those are examples."""
    parts = []
    for block in re.split(r"\n\s*\n", cleandoc(text)):
        if block.startswith("\b"):
            title, _, examples = block.removeprefix("\b\n").partition("\n")
            parts.append(f"{title}\n\n```sh\n{cleandoc(examples)}\n```")
        else:
            parts.append(block)
    return "\n\n".join(parts) + "\n"

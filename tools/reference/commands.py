"""Generate the command line reference from the typer app, with the text of `--help` for every command."""

import re
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

import typer.main

from callarchive.cli import app

_HEAD = """\
# Commands and exit codes

Data goes to stdout, everything else to stderr. `--config`, `--json`, `-v` and `-q` may appear anywhere on the command line.

## Exit codes

```{index} exit 0, exit 1, exit 2, exit 3, exit 4, exit 130
```

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failure |
| 2 | usage or configuration error |
| 3 | refused: credentials, host key, permission |
| 4 | days were archived and published, but an error-level check failed |
| 130 | interrupted |

[Troubleshooting](../troubleshooting.md#commands-and-runs-fail) has the next step for each.
"""


def commands_page() -> str:
    """Return the page as Markdown."""
    return "\n".join([_HEAD, *_command(typer.main.get_command(app), "callarchive")])


def _command(command: Any, path: str) -> Iterator[str]:
    """Yield the sections of the command and, for a group, of its subcommands."""
    # Some versions of typer have their own copies of click's classes, so this checks attributes instead of types.
    inner = getattr(command, "commands", None)
    yield f"## `{path}`\n"
    yield _prose(command.help or command.short_help or "")
    if inner is None:
        yield f"```text\n{path} {' '.join(_usage(command))}".rstrip() + "\n```\n"
    rows = [_row(parameter) for parameter in command.params if parameter.name != "help"]
    if rows:
        yield "\n".join(("| parameter | description | default |", "|---|---|---|", *rows)) + "\n"
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
    r"""Return the help text as Markdown. A block that starts with a line \b (no wrapping) contains examples."""
    parts = []
    for block in re.split(r"\n\s*\n", cleandoc(text)):
        if block.startswith("\b"):
            title, _, examples = block.removeprefix("\b\n").partition("\n")
            parts.append(f"{title}\n\n```sh\n{cleandoc(examples)}\n```")
        else:
            parts.append(block)
    return "\n\n".join(parts) + "\n"

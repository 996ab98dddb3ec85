"""Hints about the words of a command line: an option before its command, a day without its option, another tool's command."""

import re
import shlex
from collections.abc import Callable, Collection, Sequence

_DAY = re.compile(r"\d{4}-\d{1,2}-\d{1,2}")
_OF_DAYS = {"archive": True, "forecast": False, "report": True, "status": False, "verify": False}
"""The commands of days, and whether they have --day."""
_FLAGS = ("--recheck", "--reread", "--ignore-checks")
_DAY_OPTIONS = frozenset(("--day", "--from", "--to"))
_COMMANDS_OF_OTHERS = {
    "check": "doctor",
    "config": "init",
    "configure": "init",
    "download": "archive",
    "help": "--help",
    "run": "archive",
    "search": "find",
    "setup": "init",
    "sync": "archive",
    "version": "--version",
}


def hint(
    words: Sequence[str], commands: Collection[str], options_of_commands: Callable[[], Collection[str]]
) -> str | None:
    """Return what is wrong, and the words as they should be; None if nothing is.

    Args:
        words: the command line, without the options that may appear anywhere.
        options_of_commands: returns the options that belong after a command.
    """
    found = next((position for position, word in enumerate(words) if word in commands), None)
    if found is None:
        meant = _COMMANDS_OF_OTHERS.get(words[0]) if words else None
        return meant and f"No such command '{words[0]}'. Did you mean {_shown([meant])}?"
    before, command = list(words[:found]), list(words[found:])
    if before and before[0].startswith("-") and before[0].partition("=")[0] in options_of_commands():
        return f"{before[0]} belongs after the command: {_shown(command + before)}"
    days = [
        word
        for word, previous in zip(command[1:], command, strict=False)
        if _DAY.fullmatch(word) and (previous in _FLAGS or not previous.startswith("-"))
    ]
    if command[0] not in _OF_DAYS or not days or not _DAY_OPTIONS.isdisjoint(command):
        return None
    others = [word for word in command[1:] if word not in days]
    if len(days) == 1 and _OF_DAYS[command[0]]:
        return f"write --day before the day: {_shown([command[0], '--day', days[0], *others])}"
    span = ["--from", days[0], "--to", days[-1]]
    return f"write --from and --to before the days: {_shown([command[0], *span, *others])}"


def _shown(words: Sequence[str]) -> str:
    return shlex.join(["callarchive", *words])

"""Checks of a query's text: a single reading statement, with the expected parameters.

Not a parser: it only separates quoted text and comments from code, to report mistakes early. The read-only session that
runs the query is what keeps it from writing.
"""

import re
from collections.abc import Iterator

PARAMETERS = ("start", "end")

_NO_CODE = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|(?<![\w$])\$(\w*)\$.*?\$\1\$|--[^\n]*|/\*.*?\*/""", re.DOTALL
)
_PARAMETER = re.compile(rf"(?<![:\w\\]):({'|'.join(PARAMETERS)})(?![\w$])")
_READING = re.compile(r"[\s(]*(?:select|with|values|table|from)\b", re.IGNORECASE)
"""The first word of a reading statement; `from` is DuckDB's."""


def parameters_in(query: str) -> set[str]:
    """Return which of `start` and `end` are parameters in the query's code."""
    return {found[1] for code, text in _pieces(query) if code for found in _PARAMETER.finditer(text)}


def why_refused(query: str) -> str | None:
    """Return why this is not a single reading statement, None if it is."""
    code = " ".join(text for is_code, text in _pieces(query) if is_code)
    statements = [statement for statement in code.split(";") if statement.strip()]
    if len(statements) != 1:
        return f"must be one statement, not {len(statements)}"
    if not _READING.match(statements[0]):
        return "must be a statement that only reads, such as a SELECT"
    return None


def for_sqlalchemy(query: str) -> str:
    """Return the query for `sqlalchemy.text`: colons other than those of the parameters are escaped."""
    parts = []
    for is_code, text in _pieces(query):
        last = 0
        for found in _PARAMETER.finditer(text) if is_code else ():
            parts += [text[last : found.start()].replace(":", r"\:"), found[0]]
            last = found.end()
        parts.append(text[last:].replace(":", r"\:"))
    return "".join(parts).rstrip().rstrip(";")


def _pieces(query: str) -> Iterator[tuple[bool, str]]:
    """Yield (whether it is code, text) for all of the query, in order."""
    last = 0
    for found in _NO_CODE.finditer(query):
        yield True, query[last : found.start()]
        yield False, found[0]
        last = found.end()
    yield True, query[last:]

"""A query as text: is it one statement that reads, and where do its parameters stand?

No parser: quoted texts and comments are told from code, no more. What keeps a query from writing is the session that it runs
in; what is refused here is refused early and in plain words.
"""

import re
from collections.abc import Iterator

PARAMETERS = ("start", "end")

_NO_CODE = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|(?<![\w$])\$(\w*)\$.*?\$\1\$|--[^\n]*|/\*.*?\*/""", re.DOTALL
)
_PARAMETER = re.compile(rf"(?<![:\w\\]):({'|'.join(PARAMETERS)})(?![\w$])")
_READING = re.compile(r"[\s(]*(?:select|with|values|table|from)\b", re.IGNORECASE)
"""What a statement that reads begins with; `from` in DuckDB."""


def parameters_in(query: str) -> set[str]:
    """Which of `:start` and `:end` the query's code holds, without the colon."""
    return {found[1] for code, text in _pieces(query) if code for found in _PARAMETER.finditer(text)}


def why_refused(query: str) -> str | None:
    """Why this is not one statement that reads; null if it is one."""
    code = " ".join(text for is_code, text in _pieces(query) if is_code)
    statements = [statement for statement in code.split(";") if statement.strip()]
    if len(statements) != 1:
        return f"must be one statement, and holds {len(statements)}"
    if not _READING.match(statements[0]):
        return "must be one statement that reads: a select"
    return None


def for_sqlalchemy(query: str) -> str:
    """The query as `sqlalchemy.text` takes it: every colon but those of the parameters stands for itself."""
    parts = []
    for is_code, text in _pieces(query):
        last = 0
        for found in _PARAMETER.finditer(text) if is_code else ():
            parts += [text[last : found.start()].replace(":", r"\:"), found[0]]
            last = found.end()
        parts.append(text[last:].replace(":", r"\:"))
    return "".join(parts).rstrip().rstrip(";")


def _pieces(query: str) -> Iterator[tuple[bool, str]]:
    """(whether it is code, text), in order, all of it."""
    last = 0
    for found in _NO_CODE.finditer(query):
        yield True, query[last : found.start()]
        yield False, found[0]
        last = found.end()
    yield True, query[last:]

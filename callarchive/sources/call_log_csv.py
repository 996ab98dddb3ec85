"""CSV files of call legs or, in a user's own list, sessions, read row by row. `gathering` combines legs."""

import csv
import io
import re
from collections import deque
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import BinaryIO, NamedTuple, TextIO

from callarchive.domain.errors import SourceError

_LONGEST_RECORD = 16 * 1024 * 1024
"""Characters. 8x8's `Content` column has whole call flows: far over the csv module's limit of 131,072."""
_MOST_REREAD = 16 * _LONGEST_RECORD
_DELIMITERS = (",", ";", "\t", "|")
UNCLOSED = "opens quotes that are not closed"
"""The flaw of a row that ends inside quotes: a cut file, or a misplaced quote. The field's other lines are read as rows."""


class LegFacts(NamedTuple):
    """A row's values as text; empty where it has none."""

    session_id: str = ""
    call_id: str = ""
    subaccount_id: str = ""
    started_at: str = ""
    ended_at: str = ""
    session_status: str = ""
    call_count: str = ""
    call_duration_s: str = ""
    price: str = ""
    price_currency: str = ""
    source_number: str = ""
    destination_number: str = ""
    mos: str = ""


class LogRow(NamedTuple):
    """A row and its first line, from 1. `flaw` is why all values but the session id, if any, were dropped."""

    line: int
    facts: LegFacts
    flaw: str | None = None


_NAMES: dict[str, tuple[str, ...]] = {
    "session_id": ("sessionid",),
    "call_id": ("callid",),
    "subaccount_id": ("subaccountid",),
    "started_at": ("initiatedat", "startedat", "starttime"),
    "ended_at": ("disconnectedat", "endedat", "endtime"),
    "session_status": ("sessionstatus",),
    "call_count": ("callcount",),
    "call_duration_s": ("durationinsec", "calldurations"),
    "price": ("totalpriceofcall", "price"),
    "price_currency": ("unitpricecurrency", "pricecurrency"),
    "source_number": ("sourceendpoint", "sourcenumber"),
    "destination_number": ("destinationendpoint", "destinationnumber"),
    "mos": ("mos",),
}
"""For each fact its possible columns, the first one present is used: 8x8's name, then the catalog's."""

_SEPARATOR_LINE = re.compile(r'"?sep=([^\r\n\w"])"?[,;\s]*', re.IGNORECASE)
"""The line by which Excel learns the delimiter of a CSV. Exports for Excel begin with it."""

_DECORATION = re.compile(r"[\s_\-\x00\ufeff'\"]+")
_LOOKS_LIKE_A_NAME = re.compile(r"[A-Za-z][A-Za-z _\-]{0,40}[0-9]{0,2}")


def plain_name(name: str) -> str:
    """Return a column's name for comparison: without case, spaces, underscores and hyphens."""
    return _DECORATION.sub("", name).lower()


def column_places(
    names: Sequence[str], *, file: str, advice: str = "Its first line must name the columns, in UTF-8"
) -> tuple[int | None, ...]:
    """Return for each of `LegFacts`' fields the index of its column or `None`. Raises SourceError if none has ids."""
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        places.setdefault(plain_name(name), place)
    found = tuple(next((places[alias] for alias in _NAMES[fact] if alias in places), None) for fact in LegFacts._fields)
    if found[0] is None:
        raise SourceError(
            f"{file} has no column session_id (or SessionId); its columns are {_shown_columns(names)}. {advice}"
        )
    return found


def _shown_columns(names: Sequence[str]) -> str:
    """Show names only: in a file without a header the first line is data, possibly phone numbers."""
    shown = [name if _LOOKS_LIKE_A_NAME.fullmatch(name) else "(not a name)" for name in names[:40]]
    return ", ".join(shown) + (", ..." if len(names) > 40 else "")


def read_call_log(stream: BinaryIO, *, file: str) -> Iterator[LogRow]:
    """Yield every row of a CSV; none for an empty file.

    The text is UTF-8, with or without a byte order mark; invalid bytes are replaced. The delimiter is detected in the
    header: comma, semicolon, tab or bar. Empty lines and repeated headers are skipped.

    A row with too few or too many fields, or a misplaced quote, keeps only its session id, and that only if it is the
    first column, as in 8x8's export: other columns may have been shifted.

    Raises SourceError if there is no session id column, or the file is not a CSV. I/O errors pass through.
    """
    with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="") as text:
        yield from _rows(_Lines(text), file=file)


def _rows(lines: "_Lines", *, file: str) -> Iterator[LogRow]:
    header_at, delimiter = 1, ""
    for header_line in lines:
        separator = None if delimiter else _SEPARATOR_LINE.fullmatch(header_line)
        if separator:
            delimiter = separator[1]
        elif header_line.strip():
            break
        lines.begin_record()
        header_at += 1
    else:
        if lines.too_long:
            raise SourceError(_endless(file, header_at))
        return
    if header_line.lstrip().startswith(("[", "{")):
        raise SourceError(
            f"{file} is JSON, not CSV: write an object on each line and name the file .jsonl, or export CSV"
        )
    lines.push_back([header_line])
    records = _records(lines, line=header_at, delimiter=delimiter or _delimiter(header_line), file=file)
    _, header, _ = next(records)
    places = column_places(header, file=file)
    width = len(header)
    # An empty field is appended to every row: facts without a column are read from it.
    pick = itemgetter(*(width if place is None else place for place in places))
    id_place = places[0] or 0
    id_name = plain_name(header[id_place])
    for line, fields, flaw in records:
        if flaw is not None or len(fields) != width:
            if not any(map(str.strip, fields)):
                continue
            if flaw is not None or len(fields) < width or any(map(str.strip, fields[width:])):
                facts = LegFacts(session_id=fields[0] if id_place == 0 else "")
                yield LogRow(line, facts, flaw or f"has {len(fields)} fields where the header has {width}")
                continue
            del fields[width:]
        fields.append("")
        facts = LegFacts._make(pick(fields))
        # Ids are longer than this: only a short text can be a repeated header or empty.
        if len(facts.session_id) < 20:
            if plain_name(facts.session_id) == id_name:
                continue
            if not any(map(str.strip, fields)):
                continue
        yield LogRow(line, facts)


def _endless(file: str, line: int) -> str:
    return f"{file}, line {line}: longer than {_LONGEST_RECORD // 2**20} Mi characters: not a CSV file"


def _delimiter(header_line: str) -> str:
    """Return the delimiter under which the header has a session id column, and the most columns."""
    best, best_score = _DELIMITERS[0], (False, 1)
    for delimiter in _DELIMITERS:
        names = next(csv.reader([header_line[:100_000]], delimiter=delimiter), [""])
        score = (any(plain_name(name) == "sessionid" for name in names), len(names))
        if score > best_score:
            best, best_score = delimiter, score
    return best


class _Lines:
    """The lines of a text. Those of the current record are kept so that they can be pushed back."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._pushed_back: deque[str] = deque()
        self._size = 0
        self.record: list[str] = []
        self.too_long = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._pushed_back.popleft() if self._pushed_back else self._text.readline(_LONGEST_RECORD)
        if not line:
            raise StopIteration
        self._size += len(line)
        if self._size >= _LONGEST_RECORD:
            self._pushed_back.appendleft(line)
            self.too_long = True
            raise StopIteration
        self.record.append(line)
        return line

    def push_back(self, lines: Sequence[str]) -> None:
        """Return these lines next."""
        self._pushed_back.extendleft(reversed(lines))
        self.too_long = False

    def begin_record(self) -> None:
        """Forget the lines read so far."""
        self.record.clear()
        self._size = 0


def _records(lines: _Lines, *, line: int, delimiter: str, file: str) -> Iterator[tuple[int, list[str], str | None]]:
    """Yield (first line, fields, flaw) of every record that is not an empty line; `line` is that of the first.

    A misplaced quote would swallow the rows after it, up to the next quote or the end of the file. The csv module's strict
    mode detects that; then the record's first line is read alone, and the others are read again as rows.
    """
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_RECORD))
    reread = 0
    while True:
        lines.begin_record()
        try:
            for fields in csv.reader(lines, delimiter=delimiter, strict=True):
                if fields:
                    yield line, fields, None
                line += len(lines.record)
                lines.begin_record()
            if not lines.too_long:
                return
        except csv.Error:
            pass
        if not lines.record:
            raise SourceError(_endless(file, line))
        first, *others = lines.record
        reread += sum(map(len, others))
        if reread > _MOST_REREAD:
            raise SourceError(f"{file}, line {line}: not a CSV file: too many quotes are opened and not closed")
        lines.push_back(others)
        flaw = UNCLOSED if first.count('"') % 2 else "has a misplaced quote"
        yield line, next(csv.reader([first], delimiter=delimiter)), flaw
        line += 1

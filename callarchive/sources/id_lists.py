"""Lists of session ids as text, JSON lines or Parquet, read row by row into the `LogRow` of `call_log_csv`."""

import io
import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, BinaryIO

from callarchive.domain.errors import InvalidIdError, SourceError
from callarchive.domain.identifiers import parse_id, plain_id
from callarchive.sources.call_log_csv import LegFacts, LogRow, column_places, plain_name
from callarchive.sources.row_values import unquoted
from callarchive.sources.text_files import kind_of

_LONGEST_LINE = 1024 * 1024
_LONGEST_DOCUMENT = 64 * 1024 * 1024
_BATCH = 16_384
_BETWEEN_VALUES = re.compile(r"[\s,]*")
_BETWEEN_COLUMNS = re.compile(r"[,;|\t]")
_BETWEEN_IDS = re.compile(r"[\s,;|]+")


def read_txt(stream: BinaryIO, *, file: str) -> Iterator[LogRow]:
    """Yield a row for every id; lines are empty, comments (`#`), an id, or ids with commas or the like between them.

    A first line `session_id` is skipped. Raises SourceError if the file is not text, or a table.
    """
    is_first = True
    for line, text, flaw in _text_lines(stream, file=file):
        entry = text.partition("#")[0].strip()
        if flaw is not None:
            yield LogRow(line, LegFacts(), flaw)
        elif entry:
            words = [word for word in _BETWEEN_IDS.split(entry) if word]
            names = list(map(plain_name, _BETWEEN_COLUMNS.split(entry))) if is_first else []
            if "sessionid" in names and len(names) > 1:
                raise SourceError(f"{file}, line {line}: names columns, so this is a table: name the file .csv")
            if names not in (["sessionid"], ["sessionids"]):
                is_list = len(words) > 1 and all(map(_is_id, words))
                yield from (LogRow(line, LegFacts(session_id=one)) for one in (words if is_list else [entry]))
            is_first = False


def _is_id(word: str) -> bool:
    try:
        parse_id(plain_id(unquoted(word)), kind="session id")
    except InvalidIdError:
        return False
    return True


def read_jsonl(stream: BinaryIO, *, file: str) -> Iterator[LogRow]:
    """Yield a row for every object with a session id and every session id as a string; arrays are lists of them.

    Each line is a JSON value, or the whole file is: an indented array, or indented objects. Then `line` counts the values.

    Raises:
        SourceError: the file is not text, or a JSON document over several lines with another content.
    """
    begun, document_flaw = b"", ""
    while not begun.strip(b"\xef\xbb\xbf \t\r\n") and (line_begun := stream.readline(_LONGEST_LINE)):
        begun += line_begun
    if _is_part(begun.decode("utf-8", "replace").strip("\ufeff \t\r\n"), begins="[{"):
        begun += stream.read(_LONGEST_DOCUMENT)
        if stream.read(1):
            raise SourceError(f"{file}: one JSON document of over 64 MiB: write an object or an id on each line")
        try:
            yield from (_value_row(number, value) for number, value in enumerate(_whole_values(begun), 1))
            return
        except (ValueError, RecursionError) as err:
            document_flaw = f", line {err.lineno}: {err.msg}" if isinstance(err, json.JSONDecodeError) else ""
    first = last = None
    for line, text, flaw in _text_lines(stream, file=file, begun=begun):
        first = text if first is None else first
        last = text
        if flaw is not None:
            yield LogRow(line, LegFacts(), flaw)
            continue
        try:
            value = json.loads(text)
        except ValueError as err:  # huge integers raise it too
            yield LogRow(line, LegFacts(), f"not JSON: {type(err).__name__}")
            continue
        except RecursionError:
            yield LogRow(line, LegFacts(), "not readable JSON: nested too deeply")
            continue
        for one in value if isinstance(value, list) else [value]:
            yield _value_row(line, one)
    if first != last and _is_part(first, begins="[{") and _is_part(last, ends="]}"):
        raise SourceError(
            f"{file}{document_flaw}: one JSON document over several lines, and no list of ids or objects: write an "
            "object or an id on each line, or one array of them"
        )


def _is_part(text: str | None, *, begins: str = "", ends: str = "") -> bool:
    """Return whether the line opens or closes a JSON document that spans several lines."""
    if not text or not (text.startswith(tuple(begins)) or text.endswith(tuple(ends))):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return True
    return False


def _whole_values(data: bytes) -> list[Any]:
    """Return the values of a file of indented JSON, those of arrays one by one. Raises ValueError if none is a session."""
    text, found = data.decode("utf-8-sig"), list[Any]()
    at = _BETWEEN_VALUES.match(text).end()  # type: ignore[union-attr] # it matches nothing, too
    while at < len(text):
        value, end = json.JSONDecoder().raw_decode(text, at)
        found += value if isinstance(value, list) else [value]
        at = _BETWEEN_VALUES.match(text, end).end()  # type: ignore[union-attr]
    if found and not any(isinstance(one, str) or _has_session_id(one) for one in found):
        raise ValueError("no value names a session")
    return found


def _has_session_id(value: Any) -> bool:
    return isinstance(value, dict) and "sessionid" in map(plain_name, value)


def _value_row(line: int, value: Any) -> LogRow:
    if isinstance(value, str):
        return LogRow(line, LegFacts(session_id=as_text(value)))
    if isinstance(value, dict):
        return _object_row(line, value)
    return LogRow(line, LegFacts(), f"neither an object nor a string: {type(value).__name__}")


def _object_row(line: int, value: dict[str, Any]) -> LogRow:
    names = list(value)
    try:
        places = column_places(names, file="")
    except SourceError:
        return LogRow(line, LegFacts(), "has no session_id (or sessionId)")
    facts = ("" if place is None else as_text(value[names[place]]) for place in places)
    return LogRow(line, LegFacts._make(facts))


def _text_lines(stream: BinaryIO, *, file: str, begun: bytes = b"") -> Iterator[tuple[int, str, str | None]]:
    """Yield (line number, stripped text, flaw) of every line that is not empty; `begun` was read from the stream before.

    Raises SourceError if there is a NUL byte, or no line is UTF-8: an image, an archive or UTF-16, not a list of ids.
    """
    number = good = bad = 0
    earlier = io.BytesIO(begun)

    def read(most: int) -> bytes:
        line = earlier.readline(most)
        return line if line.endswith(b"\n") or len(line) == most else line + stream.readline(most - len(line))

    while line := read(_LONGEST_LINE + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if b"\0" in line:
            raise SourceError(f"{file}, line {number}: not UTF-8 text (it holds a NUL byte)")
        if len(line) > _LONGEST_LINE:
            while not line.endswith(b"\n") and (line := read(_LONGEST_LINE)):
                pass
            yield number, "", f"longer than {_LONGEST_LINE // 1024} KiB"
            continue
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError:
            bad += 1
            yield number, "", "not UTF-8"
            continue
        if text:
            good += 1
            yield number, text, None
    if bad and not good:
        raise SourceError(f"{file}: not UTF-8 text")


def read_parquet(stream: BinaryIO, *, file: str) -> Iterator[LogRow]:
    """Yield a row for every row of a Parquet file; `line` is the row's number. None for an empty file.

    Rows in which all columns that are read are NULL are skipped, unless all rows are.
    Raises SourceError if the file is not a whole Parquet file, no column has session ids, or all rows are NULL.
    """
    head = stream.read(1024)
    if not head:
        return
    stream.seek(0)
    kind = kind_of(head)
    if kind is not None and not b"PAR1".startswith(head[:4]):
        raise SourceError(
            f"{file} is {kind}, not Parquet: write the list as Parquet, or name the file after its format"
        )
    # Imported here: pyarrow is slow to import, and few accounts list ids in Parquet files.
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    is_blank = True
    try:
        with pq.ParquetFile(stream) as parquet:
            names = list(parquet.schema_arrow.names)
            places = column_places(names, file=file, advice="Rename the one with the session ids")
            id_place = places[0] or 0
            wanted = {place: names[place] for place in places if place is not None}
            for batch in parquet.iter_batches(batch_size=_BATCH, columns=list(dict.fromkeys(wanted.values()))):
                columns = {
                    name: [as_text(value) for value in batch.column(name).to_pylist()] for name in wanted.values()
                }
                empty = [""] * batch.num_rows
                picked = [empty if place is None else columns[wanted[place]] for place in places]
                for values in zip(*picked, strict=True):
                    number += 1
                    if any(values):
                        is_blank = False
                        yield LogRow(number, LegFacts._make(values))
    except (pa.ArrowException, KeyError) as err:
        raise SourceError(f"{file}: not a whole, readable Parquet file ({type(err).__name__}): write it again") from err
    if number and is_blank:
        raise SourceError(f"{file}: has {number} rows, but {wanted[id_place]} is NULL in all of them")


def as_text(value: Any) -> str:
    """Return the value as a CSV would have it. Other types become a text that is no valid fact."""
    if value is None:
        return ""
    if isinstance(value, str):
        # JSON can hold a lone surrogate, which would break every later write.
        return value.encode("utf-8", "replace").decode("utf-8").strip()
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, bytes):
        return str(uuid.UUID(bytes=value)) if len(value) == 16 else value.decode("utf-8", "replace")
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | uuid.UUID):
        return f"({type(value).__name__})"
    try:
        return str(value)
    except ValueError:  # an integer of more than 4,300 digits
        return "(int)"

"""Lists of session ids as text, JSON lines or Parquet, read row by row into the `LogRow` of `call_log_csv`."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, BinaryIO

from callarchive.domain.errors import SourceError
from callarchive.sources.call_log_csv import LegFacts, LogRow, column_places

_LONGEST_LINE = 1024 * 1024
_BATCH = 16_384


def read_txt(stream: BinaryIO, *, file: str) -> Iterator[LogRow]:
    """Yield a row for every line that is neither empty nor a comment (`#`). Raises SourceError if the file is not text."""
    for line, text, flaw in _text_lines(stream, file=file):
        if flaw is not None:
            yield LogRow(line, LegFacts(), flaw)
        elif not text.startswith("#"):
            yield LogRow(line, LegFacts(session_id=text.partition("#")[0].strip()))


def read_jsonl(stream: BinaryIO, *, file: str) -> Iterator[LogRow]:
    """Yield a row for every line that is not empty: an object with a session id, or a session id as a string.

    Raises:
        SourceError: the file is not text, or one JSON document over several lines: of an array, only the last id would be
            read, because all others end in a comma.
    """
    first = last = None
    for line, text, flaw in _text_lines(stream, file=file):
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
        if isinstance(value, str):
            yield LogRow(line, LegFacts(session_id=as_text(value)))
        elif isinstance(value, dict):
            yield _object_row(line, value)
        else:
            yield LogRow(line, LegFacts(), f"neither an object nor a string: {type(value).__name__}")
    if first != last and _is_part(first, begins="[{") and _is_part(last, ends="]}"):
        raise SourceError(
            f"{file}: one JSON document over several lines: write an object or an id on each line, no array"
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


def _object_row(line: int, value: dict[str, Any]) -> LogRow:
    names = list(value)
    try:
        places = column_places(names, file="")
    except SourceError:
        return LogRow(line, LegFacts(), "has no session_id (or sessionId)")
    facts = ("" if place is None else as_text(value[names[place]]) for place in places)
    return LogRow(line, LegFacts._make(facts))


def _text_lines(stream: BinaryIO, *, file: str) -> Iterator[tuple[int, str, str | None]]:
    """Yield (line number, stripped text, flaw) of every line that is not empty.

    Raises SourceError if there is a NUL byte, or no line is UTF-8: an image, an archive or UTF-16, not a list of ids.
    """
    number = good = bad = 0
    while line := stream.readline(_LONGEST_LINE + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if b"\0" in line:
            raise SourceError(f"{file}, line {number}: not UTF-8 text (it holds a NUL byte)")
        if len(line) > _LONGEST_LINE:
            while not line.endswith(b"\n") and (line := stream.readline(_LONGEST_LINE)):
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
    # Imported here: pyarrow is slow to import, and few accounts list ids in Parquet files.
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not stream.read(1):
        return
    stream.seek(0)
    number = 0
    is_blank = True
    try:
        with pq.ParquetFile(stream) as parquet:
            names = list(parquet.schema_arrow.names)
            places = column_places(names, file=file)
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
        raise SourceError(f"{file}: not a whole, readable Parquet file ({type(err).__name__})") from err
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

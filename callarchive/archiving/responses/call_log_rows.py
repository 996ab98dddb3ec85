"""Rows of a call log file as they may be stored: phone numbers masked, Content dropped. To parse them, see `call_log_csv`."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

from callarchive.domain.foreign_text import mask_text
from callarchive.domain.phone_numbers import PhoneNumberMask, keeps_numbers, mask_json

_LONGEST_FIELD = 64 * 1024 * 1024
_MOST_LINES = 1000
_IDS_TIMES_AND_AMOUNTS = {
    *("callid", "accountid", "subaccountid", "initiatedat", "connectedat", "disconnectedat", "durationinsec"),
    *("billabledurationinsec", "billingincrement", "unitprice", "totalpriceofcall", "sipstatus", "ttslength", "mos"),
}
"""Columns whose digits are never a phone number. A SessionId cannot be mistaken for one."""

_DELIMITERS = (",", ";", "\t", "|")


def masked_rows(path: Path, *, mask: PhoneNumberMask) -> Iterator[list[str]]:
    """Yield the rows of the CSV file, header first, with phone numbers masked, unless the mask keeps all of them.

    Possible phone numbers in other columns, in rows whose length differs from the header's, and in files without a
    SessionId column are masked as in messages. The column Content (submitted call flows, often with numbers) is dropped.
    """
    # Content may exceed csv's default of 131,072. The limit is global to the process, so it is only raised.
    csv.field_size_limit(max(_LONGEST_FIELD, csv.field_size_limit()))
    keeps_all = keeps_numbers(mask)
    mask_cell: Callable[[str], str] = str if keeps_all else mask_text
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        records = _records(file)
        first = next(records, None)
        if first is None:
            return
        header, delimiter = _header(first)
        names = [plain_name(name) for name in header]
        if "sessionid" not in names:
            for record in chain([first], records):
                yield [mask_cell(cell) for cell in _cells(record, delimiter)]
            return
        numbers = [names_a_number(name) for name in names]
        plains = [name in _IDS_TIMES_AND_AMOUNTS for name in names]
        stays = [keeps_all or name != "content" for name in names]
        yield [name for name, stay in zip(header, stays, strict=True) if stay]
        for record in records:
            row = _cells(record, delimiter)
            if len(row) != len(header):
                yield [mask_cell(cell) for cell in row]
                continue
            yield [
                (mask(cell) or "") if number else cell if plain else mask_cell(cell)
                for cell, number, plain, stay in zip(row, numbers, plains, stays, strict=True)
                if stay
            ]


def _records(lines: Iterable[str]) -> Iterator[str]:
    """Yield the text of each record: lines are joined while a quote is open.

    A quote still open after a thousand lines was never closed: its line becomes a record, and the others are read again.
    """
    new_lines = iter(lines)
    again: list[str] = []
    open_lines: list[str] = []
    quotes = 0
    while True:
        line = again.pop() if again else next(new_lines, None)
        if line is not None:
            open_lines.append(line)
            quotes += line.count('"')
            if quotes % 2 == 0:
                yield "".join(open_lines)
                open_lines, quotes = [], 0
                continue
            if len(open_lines) < _MOST_LINES:
                continue
        if not open_lines:
            return
        yield open_lines[0].replace('"', "")
        again += reversed(open_lines[1:])
        open_lines, quotes = [], 0


def _header(record: str) -> tuple[list[str], str]:
    """Return the column names, and the delimiter with which one of them is SessionId."""
    for delimiter in _DELIMITERS:
        names = _cells(record, delimiter)
        if "sessionid" in map(plain_name, names):
            return names, delimiter
    return _cells(record, ","), ","


def _cells(record: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([record], delimiter=delimiter), [])
    except csv.Error:  # a misplaced quote or line end
        return [record.replace('"', "").rstrip("\r\n")]


def plain_name(name: str) -> str:
    """Return the column's name in lower case, without other characters than letters and digits."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def names_a_number(column: str) -> bool:
    """Return whether the column with this name, without other characters than letters and digits, has phone numbers."""
    return column.endswith("number") or bool(mask_json({column: "1"}, lambda _: None)[column] is None)

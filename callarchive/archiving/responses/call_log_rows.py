"""Rows of a call log file as they may be kept: phone numbers masked, Content dropped.

What the rows mean is `call_log`'s part; its delimiters are these.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

from callarchive.domain.foreign_text import mask_text
from callarchive.domain.phone_numbers import PhoneNumberMask, keeps_numbers, mask_json

_LONGEST_FIELD = 64 * 1024 * 1024
_MOST_LINES = 1000
_IDS_TIMES_AND_AMOUNTS = frozenset(
    (
        "callid",
        "accountid",
        "subaccountid",
        "initiatedat",
        "connectedat",
        "disconnectedat",
        "durationinsec",
        "billabledurationinsec",
        "billingincrement",
        "unitprice",
        "totalpriceofcall",
        "sipstatus",
        "ttslength",
        "mos",
    )
)
"""Columns whose digits are no phone number, however many there are. A SessionId has a form that cannot be mistaken."""

_DELIMITERS = (",", ";", "\t", "|")


def masked_rows(path: Path, *, mask: PhoneNumberMask) -> Iterator[list[str]]:
    """Every row of the CSV file, its header first, as it may be kept.

    Where a number should not stand (a forged or mistaken row) it is starred out as in a message.
    The column Content (call flows as they were submitted, often with numbers in them) goes, unless numbers are kept.
    A row that is longer or shorter than the header has slipped, so its columns cannot be told: whatever looks like a
    phone number in it is starred out (unless numbers are kept), and so in a file whose header names no SessionId.
    """
    # csv's default of 131,072 is below what Content may hold. The limit is the process's; it is only ever raised.
    csv.field_size_limit(max(_LONGEST_FIELD, csv.field_size_limit()))
    keeps_all = keeps_numbers(mask)
    slipped: Callable[[str], str] = str if keeps_all else mask_text
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        records = _records(file)
        first = next(records, None)
        if first is None:
            return
        header, delimiter = _header(first)
        names = [_plain(name) for name in header]
        if "sessionid" not in names:
            for record in chain([first], records):
                yield [slipped(cell) for cell in _cells(record, delimiter)]
            return
        numbers = [_names_a_number(name) for name in names]
        plains = [name in _IDS_TIMES_AND_AMOUNTS for name in names]
        stays = [keeps_all or name != "content" for name in names]
        yield [name for name, stay in zip(header, stays, strict=True) if stay]
        for record in records:
            row = _cells(record, delimiter)
            if len(row) != len(header):
                yield [slipped(cell) for cell in row]
                continue
            yield [
                (mask(cell) or "") if number else cell if plain else slipped(cell)
                for cell, number, plain, stay in zip(row, numbers, plains, stays, strict=True)
                if stay
            ]


def _records(lines: Iterable[str]) -> Iterator[str]:
    """The text of each record: lines are joined while a quote is open.

    One that stays open for a thousand lines was never closed: its line stands alone, and the others are read again.
    """
    waiting = iter(lines)
    again: list[str] = []
    held: list[str] = []
    quotes = 0
    while True:
        line = again.pop() if again else next(waiting, None)
        if line is not None:
            held.append(line)
            quotes += line.count('"')
            if quotes % 2 == 0:
                yield "".join(held)
                held, quotes = [], 0
                continue
            if len(held) < _MOST_LINES:
                continue
        if not held:
            return
        yield held[0].replace('"', "")
        again += reversed(held[1:])
        held, quotes = [], 0


def _header(record: str) -> tuple[list[str], str]:
    """The header's names, and the delimiter under which one of them is SessionId."""
    for delimiter in _DELIMITERS:
        names = _cells(record, delimiter)
        if "sessionid" in map(_plain, names):
            return names, delimiter
    return _cells(record, ","), ","


def _cells(record: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([record], delimiter=delimiter), [])
    except csv.Error:  # a stray quote or line end: what it says cannot be told, but it is kept
        return [record.replace('"', "").rstrip("\r\n")]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _names_a_number(column: str) -> bool:
    """SourceEndpoint and DestinationEndpoint, and whatever else `phone_numbers` takes for one."""
    return column.endswith("number") or bool(mask_json({column: "1"}, lambda _: None)[column] is None)

"""Rows of a call log file as they may be kept: phone numbers treated, Content dropped.

What the rows mean is not read here.
"""

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from callarchive.errors import AnswerError
from callarchive.phone_numbers import PhoneNumberTreatment, mask_numbers, treat_numbers_in

_LONGEST_FIELD = 64 * 1024 * 1024


def treated_rows(path: Path, *, treat: PhoneNumberTreatment, keep_content: bool) -> Iterator[list[str]]:
    """Every row of the CSV file, its header first, as it may be kept.

    A row that is longer or shorter than the header has slipped, so its columns cannot be told: whatever looks like a
    phone number in it is starred out (unless numbers are kept), and so in a file whose header names no SessionId.

    Raises:
        AnswerError: it cannot be read as CSV.
    """
    # csv's default of 131,072 is below what Content may hold. The limit is the process's; it is only ever raised.
    csv.field_size_limit(max(_LONGEST_FIELD, csv.field_size_limit()))
    slipped: Callable[[str], str] = str if treat("1") == "1" else mask_numbers
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file)
        try:
            header = next(reader, None)
            if header is None:
                return
            names = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in header]
            if "sessionid" not in names:
                yield from ([slipped(cell) for cell in row] for row in (header, *reader))
                return
            numbers = [_names_a_number(name) for name in names]
            stays = [keep_content or name != "content" for name in names]
            yield [name for name, stay in zip(header, stays, strict=True) if stay]
            for row in reader:
                if len(row) != len(header):
                    yield [slipped(cell) for cell in row]
                    continue
                yield [
                    (treat(cell) or "") if number else cell
                    for cell, number, stay in zip(row, numbers, stays, strict=True)
                    if stay
                ]
        except csv.Error as err:
            raise AnswerError(f"{path.name}, line {reader.line_num}: not CSV: {err}") from err


def _names_a_number(column: str) -> bool:
    """SourceEndpoint and DestinationEndpoint, and whatever else `phone_numbers` takes for one."""
    return bool(treat_numbers_in({column: "1"}, lambda _: None)[column] is None)

"""Parses single values of a row: a number, a status, a price. `None` where the text is not one."""

import math
import re
from decimal import Decimal, InvalidOperation
from functools import lru_cache

_LONGEST_SHOWN = 60
_STATUS = re.compile(r"(?!.*\d{5})[A-Z0-9_]{1,40}")  # more digits than that are a phone number in the wrong column
_STATUSES = {
    **{word: word for word in ("COMPLETED", "NO_ANSWER", "BUSY", "CANCELED", "FAILED", "ERROR")},
    "CANCELLED": "CANCELED",
}


def unquoted(text: str) -> str:
    """Return the text without the marks that make spreadsheets keep it a text: `'text`, `="text"`."""
    text = text.strip("\ufeff \t\r\n")
    if text.startswith('="') and text.endswith('"'):
        return text[2:-1].strip()
    return text.removeprefix("'").strip('"')


@lru_cache(maxsize=4096)  # the values of a call log repeat: a tenth of the time for a million rows
def parse_number(text: str) -> float | None:
    """Return the finite number in the text, or `None`. Unlike `float`, reject `1_000`."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def parse_status(text: str) -> str | None:
    """Return the status as exports spell it (events: `NO ANSWER`, `CANCELLED`); `None` if it is not a word."""
    status = _STATUSES.get(text)
    if status is None:
        status = re.sub(r"[\s\-]+", "_", text.strip().upper())
        status = _STATUSES.get(status, status)
    return status if _STATUS.fullmatch(status) else None


@lru_cache(maxsize=4096)
def parse_price(text: str) -> Decimal | None:
    """Return the amount; `None` if it is not a number, or implausible for a call."""
    try:
        amount = Decimal(text.strip())
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and abs(amount) < 1_000_000 else None


def parse_mos(text: str) -> float | None:
    """Return the mean opinion score, 1 to 5; `None` if the text is not one."""
    score = parse_number(text)
    return score if score is not None and 1 <= score <= 5 else None


def phone_number(text: str) -> str | None:
    """Return the number, unparsed; `None` if it is empty. 8x8 also writes SIP addresses in this column."""
    return text.strip().removeprefix("'")[:255] or None


def shown(text: str) -> str:
    """Return the text for a message: ASCII, at most 60 characters."""
    quoted = ascii(text)
    return quoted if len(quoted) <= _LONGEST_SHOWN else quoted[: _LONGEST_SHOWN - 3] + "..."

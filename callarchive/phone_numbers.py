"""What becomes of phone numbers: dropped, hashed with a key, or kept, as the account's `phone_numbers` says.

They are personal data. Whatever the setting, they never stand in logs, messages or paths.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Any

from callarchive.settings import AccountSettings

PhoneNumberTreatment = Callable[[str | None], str | None]

HASH_PREFIX = "hmac-sha256:"
"""What a hashed number begins with."""

_NUMBER_KEY = re.compile(
    r"msisdn|endpoint|phone|caller|callee|called|calling|party|^(source|destination|from|to|number)$", re.IGNORECASE
)
_NO_NUMBERS = frozenset(
    ("sessionid", "recordingid", "subaccountid", "startrecordingtime", "externalfileurl", "filepath", "timestamp")
)
_TIME = re.compile(r"\s*\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?\s*(Z|[+-]\d\d:?\d\d)?\s*", re.IGNORECASE)
"""A time stamp and nothing else. The fraction of its seconds with the offset behind it looks like a number: 00.123456+08."""
_DATE_OR_ID = r"(?!\d{4}-\d\d-\d\d(?!\d)|\d{8}-\d{4}-\d{4}-)"
_NUMBER_TEXT = re.compile(r"(?<![\w-])" + _DATE_OR_ID + r"\+?\d[\d \-().]{6,}\d(?![\w-])")
_NOTHING_BUT_A_NUMBER = re.compile(r"\s*\+?[\d \-().]{7,}\s*")


def phone_number_treatment(account: AccountSettings) -> PhoneNumberTreatment:
    """A function from a number as it came to what may be written: null, `hmac-sha256:` and 32 hex digits, or itself.

    The hash is of the digits alone, so that `+65 6123 4567` and `6561234567` are one caller. It is keyed
    because the numbers of a country can be counted through in minutes.

    Raises:
        ConfigurationError: the key's secret is not set.
    """
    if account.phone_numbers == "keep":
        return lambda number: number or None
    if account.phone_numbers == "hash" and account.phone_hash_key is not None:
        key = account.phone_hash_key.reveal().encode()

        def hashed(number: str | None) -> str | None:
            digits = re.sub(r"\D", "", number or "")
            if not digits:
                return None
            return HASH_PREFIX + hmac.new(key, digits.encode(), hashlib.sha256).hexdigest()[:32]

        return hashed
    return lambda _: None


def kept_number_guard(account: AccountSettings) -> PhoneNumberTreatment:
    """What may still be written of a number that an earlier run wrote: the account's setting may have become stricter."""
    if account.phone_numbers == "keep":
        return lambda number: number
    if account.phone_numbers == "hash":
        return lambda number: number if number is not None and number.startswith(HASH_PREFIX) else None
    return lambda _: None


def treat_numbers_in(value: Any, treat: PhoneNumberTreatment) -> Any:
    """A copy of a JSON value in which every phone number has been treated.

    What stands under a key that names a number is treated as one. In other texts, unless numbers are kept, whatever looks
    like a number is starred out as in a message; ids, times and the file's place are left as they are.
    """
    return _treated(value, treat, mask=treat("1") != "1", named=False, below=False)


def _treated(value: Any, treat: PhoneNumberTreatment, *, mask: bool, named: bool, below: bool) -> Any:
    """Args: named: the key of the value names a number. below: a key above it does."""
    if isinstance(value, dict):
        return {
            key: child
            if str(key).lower() in _NO_NUMBERS and isinstance(child, str)
            else _treated(child, treat, mask=mask, named=_NUMBER_KEY.search(str(key)) is not None, below=named or below)
            for key, child in value.items()
        }
    if isinstance(value, list):
        return [_treated(child, treat, mask=mask, named=named, below=below) for child in value]
    if value is None or isinstance(value, bool):
        return value
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if named or (below and _NOTHING_BUT_A_NUMBER.fullmatch(text)):
        return treat(text)
    return mask_numbers(value) if mask and isinstance(value, str) and not _TIME.fullmatch(value) else value


def mask_numbers(text: str) -> str:
    """A message in which digits that look like a phone number are starred out, for logs and error texts."""
    return _NUMBER_TEXT.sub("***", text)

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

_NUMBER_KEY = re.compile(r"msisdn|endpoint|phone|caller|callee|^(source|destination|from|to|number)$", re.IGNORECASE)
_NUMBER_TEXT = re.compile(r"(?<![\w-])\+?\d[\d \-().]{6,}\d(?![\w-])")


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
            return "hmac-sha256:" + hmac.new(key, digits.encode(), hashlib.sha256).hexdigest()[:32]

        return hashed
    return lambda _: None


def treat_numbers_in(value: Any, treat: PhoneNumberTreatment) -> Any:
    """A copy of a JSON value in which every text under a key that names a phone number has been treated."""
    if isinstance(value, dict):
        return {
            key: treat(str(child))
            if _NUMBER_KEY.search(str(key)) and isinstance(child, str | int) and not isinstance(child, bool)
            else treat_numbers_in(child, treat)
            for key, child in value.items()
        }
    if isinstance(value, list):
        return [treat_numbers_in(child, treat) for child in value]
    return value


def mask_numbers(text: str) -> str:
    """A message in which digits that look like a phone number are starred out, for logs and error texts."""
    return _NUMBER_TEXT.sub("***", text)

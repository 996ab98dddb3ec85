"""Mask phone numbers as the account's `phone_numbers` says. They are never in logs, messages or paths."""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Protocol

from callarchive.domain.foreign_text import MASK, mask_credentials, mask_numbers, mask_text, place_to_keep

PhoneNumberMask = Callable[[str | None], str | None]
HASH_PREFIX = "hmac-sha256:"  # the prefix of a hashed number

_NUMBER_KEY = re.compile(
    r"msisdn|endpoint|phone|caller|callee|called|calling|party|^(source|destination|from|to|number)$", re.IGNORECASE
)
_NO_NUMBERS = frozenset(("sessionid", "recordingid", "subaccountid", "startrecordingtime", "timestamp"))
_PLACES = frozenset(("externalfileurl", "filepath"))
_AMOUNT_KEY = re.compile(r"size|bytes|length|time|date|duration|offset|expires|count|_at$|^at$", re.IGNORECASE)
_NOTHING_BUT_A_NUMBER = re.compile(r"\s*\+?[\d \-().]{7,}\s*")


class _Secret(Protocol):
    def reveal(self) -> str: ...


class MaskingPolicy(Protocol):
    """What an account configures: `phone_numbers` is drop, hash or keep; `phone_hash_key` keys the hash."""

    @property
    def phone_numbers(self) -> str:
        """`drop`, `hash` or `keep`."""

    @property
    def phone_hash_key(self) -> _Secret | None:
        """The key of the hash; `None` unless `hash`."""


def phone_number_mask(account: MaskingPolicy) -> PhoneNumberMask:
    """Return a function from a number to what may be written: `None`, `hmac-sha256:` and 32 hex digits, or the number.

    The hash is of the digits alone, so `+65 6123 4567` and `6561234567` are one caller. It is keyed because all
    numbers of a country can be hashed in minutes. Raises ConfigurationError if the key's secret is not set.
    """
    if account.phone_numbers == "keep":
        return unmasked
    if account.phone_numbers == "hash" and account.phone_hash_key is not None:
        key = account.phone_hash_key.reveal().encode()

        def hashed(number: str | None) -> str | None:
            digits = re.sub(r"\D", "", number or "")
            if not digits:
                return None
            return HASH_PREFIX + hmac.new(key, digits.encode(), hashlib.sha256).hexdigest()[:32]

        return hashed
    return lambda _: None


def unmasked(number: str | None) -> str | None:
    """Return the number: the mask that keeps all of them."""
    return number or None


def kept_number_guard(account: MaskingPolicy) -> PhoneNumberMask:
    """Return a mask for numbers that an earlier run wrote: the account's setting may have become stricter since."""
    if account.phone_numbers == "keep":
        return lambda number: number
    if account.phone_numbers == "hash":
        return lambda number: number if number is not None and number.startswith(HASH_PREFIX) else None
    return lambda _: None


def mask_json(value: Any, mask: PhoneNumberMask) -> Any:
    """Return a copy of a JSON value with phone numbers masked and without credentials.

    A value under a key that names a number is masked as one. Elsewhere, unless numbers are kept, whatever looks like a
    number is masked, in keys, texts and integers, but not in ids, times and amounts. Paths and URLs of files keep what is
    needed to find the file: see `foreign_text.place_to_keep`.
    """
    return _masked(value, mask, keeps=keeps_numbers(mask))


def numbers_in(value: Any) -> Iterator[str]:
    """Yield the values of a JSON value under keys that name a number: what `mask_json` masks as numbers."""
    found: list[str] = []

    def note(number: str | None) -> str | None:
        found.append(number or "")
        return None

    _masked(value, note, keeps=True)
    yield from filter(None, found)


def keeps_numbers(mask: PhoneNumberMask) -> bool:
    """Return whether the mask keeps numbers unchanged."""
    return mask("1") == "1"


def _masked(
    value: Any, mask: PhoneNumberMask, *, keeps: bool, key: str = "", named: bool = False, below: bool = False
) -> Any:
    """Args: named: the key of the value names a number. below: one of its parents' does."""
    if isinstance(value, dict):
        return {
            name if keeps else _masked_key(name): _masked(
                child, mask, keeps=keeps, key=name, named=_names_a_number(name), below=named or below
            )
            for name, child in value.items()
        }
    if isinstance(value, list):
        return [_masked(child, mask, keeps=keeps, key=key, named=named, below=below) for child in value]
    if value is None or isinstance(value, bool):
        return value
    lowered = key.lower()
    if isinstance(value, str) and lowered in _NO_NUMBERS:
        return mask_credentials(value)
    if isinstance(value, str) and lowered in _PLACES:
        return place_to_keep(value) or ""
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if named or (below and _NOTHING_BUT_A_NUMBER.fullmatch(text)):
        return mask(text)
    if isinstance(value, str):
        return mask_credentials(value) if keeps else mask_text(value)
    return value if keeps or _AMOUNT_KEY.search(key) or mask_numbers(text) == text else MASK


_masked_key = lru_cache(maxsize=256)(mask_numbers)  # the same keys are in every response


@lru_cache(maxsize=256)
def _names_a_number(key: str) -> bool:
    return _NUMBER_KEY.search(key) is not None

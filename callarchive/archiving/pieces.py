"""Names of the pieces of a journal."""

import secrets
import string
import time


def piece_name() -> str:
    """Return a unique name. Names sort by time; the suffix separates processes that write at the same instant.

    The suffix has only letters, because error messages mask digits that may be a phone number.
    """
    return f"{time.time_ns():020}-{''.join(secrets.choice(string.ascii_lowercase) for _ in range(8))}"

"""An account's API key: revealed for each request, tried by one request first, and never used again once rejected."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from callarchive.domain.errors import AccessDeniedError, ConfigurationError
from callarchive.settings import AccountSettings

_FIRST_REQUEST_WAIT_S = 2.0
_HEADER_VALUE = re.compile(r"[!-~]+", re.ASCII)


def check_api_key(key: str) -> None:
    """Raise ConfigurationError if the key is invalid in a header. http.client would print it in its error."""
    if not _HEADER_VALUE.fullmatch(key):
        raise ConfigurationError(
            "has a space, a line end or another character that is invalid in a header; check how the secret was stored"
        )


class ApiKey:
    """The key and whether 8x8 accepts it. Thread-safe."""

    def __init__(self, account: AccountSettings) -> None:
        self._account = account
        self._accepted = False
        self._rejection: str | None = None
        self._first_request = threading.Lock()

    @contextmanager
    def one_request_first(self, *, within_s: float) -> Iterator[None]:
        """Let requests through one by one until the key has been accepted, so that a bad key costs one request.

        A first request that hangs delays the others by at most two seconds. Raises AccessDeniedError.
        """
        alone = not self._accepted and self._first_request.acquire(timeout=min(_FIRST_REQUEST_WAIT_S, within_s))
        if alone and self._accepted:
            self._first_request.release()
            alone = False
        try:
            self.check()
            yield
        finally:
            if alone:
                self._first_request.release()

    def check(self) -> None:
        """Raise AccessDeniedError if the key was rejected."""
        if self._rejection is not None:
            raise AccessDeniedError(self._rejection)

    def accept(self) -> None:
        """Note that 8x8 accepted the key."""
        self._accepted = True

    def reject(self, status: int) -> NoReturn:
        """Note that 8x8 rejected the key, and raise AccessDeniedError."""
        account = self._account
        what = "is invalid" if status == 401 else "has no access to this subaccount"
        self._rejection = (
            f"account {account.subaccount_id}: 8x8 rejected the API key (HTTP {status}: it {what}) at {account.api_url}."
            f" Check subaccount_id, api_url and api_key (read from {account.api_key.place});"
            " create a new key in 8x8 Connect if necessary"
        )
        raise AccessDeniedError(self._rejection)

    def reveal(self) -> str:
        """Return the key. Raises ConfigurationError if it is not set, or is invalid in a header."""
        key = self._account.api_key.reveal()
        try:
            check_api_key(key)
        except ConfigurationError as err:
            raise ConfigurationError(f"accounts.api_key of {self._account.subaccount_id}: {err}") from None
        return key

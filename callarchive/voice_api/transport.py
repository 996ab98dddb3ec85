"""Sends all requests to 8x8's API: paced, with a deadline for the whole response, and retried where that helps.

Responses are parsed in `lookups`, `log_export` and `account_setup`. The API key is only in the Authorization header, and in no
message. It is sent to the host that the caller names, and never follows a redirect to another.
"""

import logging
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from pathlib import Path
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
import urllib3

from callarchive import __version__
from callarchive.domain.errors import AnswerError, UnavailableError
from callarchive.domain.plurals import many
from callarchive.runtime.retry import Backoff, Deadline
from callarchive.settings import AccountSettings, LookupSettings
from callarchive.voice_api.api_key import ApiKey
from callarchive.voice_api.bodies import JSON_LIMIT_BYTES, Response, read_response
from callarchive.voice_api.deadlines import Watchdog
from callarchive.voice_api.failures import describe_failure, is_hopeless
from callarchive.voice_api.pacing import Pacer
from callarchive.voice_api.routes import Routes

_MAX_REDIRECTS = 3
_MAX_ATTEMPTS = 6
_MAX_THROTTLED = 100
_BACKOFF = Backoff(first_s=0.25, longest_s=15.0, jitter=0.5)
_NO_RETRIES = urllib3.Retry(False, redirect=False)  # errors and redirects are handled here
_USER_AGENT = f"callarchive/{__version__}"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request."""

    method: str
    url: str
    payload: bytes | None = None  # a JSON text, or `None`
    # A file for the body of a 200, in an existing folder; `None` to keep the body in memory.
    save_to: Path | None = None
    limit_bytes: int = JSON_LIMIT_BYTES  # of the body; longer ones are refused
    denied: tuple[int, ...] = (401, 403)  # HTTP statuses of a rejected API key
    # Returns why the body of a 200, 201 or 202 requires a retry (it may have been cut), or `None` if it is fine.
    unusable: Callable[[bytes], str | None] | None = None
    attempts: int = _MAX_ATTEMPTS  # the maximum, not counting those with 429


class NoResponseError(UnavailableError):
    """There was no usable response after all attempts. `http_status` is the last one; `None` if there was none."""

    def __init__(self, message: str, *, http_status: int | None) -> None:
        super().__init__(message)
        self.http_status = http_status


class _BrokenError(Exception):
    """One attempt failed."""

    def __init__(self, reason: str, *, http_status: int | None, retryable: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.http_status = http_status
        self.retryable = retryable


class Transport:
    """Sends one account's requests. Thread-safe: all threads share the connections and the rate cap."""

    def __init__(
        self,
        account: AccountSettings,
        lookups: LookupSettings,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._account = account
        self._lookups = lookups
        self._clock = clock
        self._sleep = sleep
        self._pacer = Pacer(account.requests_per_second, sleep=sleep)
        self._watchdog = Watchdog()
        # Twice the concurrent lookups: two days may run at once, and urllib3 closes surplus connections with a warning.
        self._routes = Routes(connection_count=2 * lookups.concurrency)
        self._key = ApiKey(account)
        self._is_silent = False  # since a request that may be tried often got no response at all
        self._is_brief = False

    def __repr__(self) -> str:
        return f"Transport(account={self._account.subaccount_id!r})"

    def deadline(self, seconds: float) -> Deadline:
        """Return a deadline that begins now and uses this transport's `sleep`."""
        return Deadline(seconds, sleep=self._sleep)

    def begin_day(self) -> None:
        """If the API was waited for without any response, try each request once until it responds."""
        self._is_brief = self._is_silent

    def send(self, request: Request, *, deadline: Deadline) -> Response:
        """Return the whole response, with any status that is neither retried (408, 429, 5xx) nor denies access.

        Waiting for a slot under the rate cap does not use up the deadline, which limits 8x8's time to respond. Raises
        AccessDeniedError if the key was rejected, now or before, NoResponseError without a usable response in time, AnswerError
        for a redirect to another host or a body over the limit, and ConfigurationError if the key is not set or invalid.
        """
        try:
            return self._send(request, deadline)
        except NoResponseError as err:
            # A request with few attempts, such as the removal of a job, waits for no outage.
            self._is_silent = err.http_status is None and (self._is_silent or request.attempts == _MAX_ATTEMPTS)
            raise

    def _send(self, request: Request, deadline: Deadline) -> Response:
        attempt = throttled = 0
        status: int | None = None
        while True:
            pause_s: float | None = None
            response: Response | None = None
            try:
                response = self._follow(request, deadline)
            except _BrokenError as err:
                reason, status = err.reason, err.http_status or status
                if not err.retryable:
                    raise NoResponseError(reason, http_status=status) from err
            else:
                self._is_silent = self._is_brief = False
                status = response.status
                if status in (408, 429) or status >= 500:
                    reason = f"HTTP {status}"
                    pause_s = self._retry_after(response)
                    response = None
                else:
                    unusable = (
                        request.unusable(response.body) if request.unusable and status in (200, 201, 202) else None
                    )
                    if unusable is None:
                        return response
                    reason = unusable
            if reason == "HTTP 429":
                throttled += 1
            else:
                attempt += 1
            if attempt >= (1 if self._is_brief else request.attempts) or throttled >= _MAX_THROTTLED:
                if response is not None:
                    return response
                raise NoResponseError(
                    f"{reason} ({many(attempt + throttled, 'attempt', 'attempts')})", http_status=status
                )
            self._pause(reason, pause_s, attempt + throttled, deadline, status)

    def close(self) -> None:
        """Close all connections and end the watchdog. May be called twice, but not during a request."""
        self._watchdog.close()
        self._routes.close()

    def _pause(
        self, reason: str, required_s: float | None, failures: int, deadline: Deadline, status: int | None
    ) -> None:
        """Wait until the next attempt.

        A pause that the server requires is lengthened at random by up to a tenth, ours shortened by up to a half, so that
        threads that failed together do not return together.
        """
        limit_s = self._lookups.retry_after_max_s
        if required_s is not None and required_s > limit_s:
            why = f"Retry-After requires {required_s:.0f} s, more than lookups.retry_after_max_s ({limit_s:g})"
            raise NoResponseError(f"{reason}; {why}", http_status=status)
        if required_s is not None:
            pause_s = max(required_s, _BACKOFF.first_s / 2) * random.uniform(1, 1.1)  # noqa: S311
        else:
            pause_s = _BACKOFF.pause_s(failures)
        if pause_s >= deadline.remaining_s:
            raise NoResponseError(
                f"{reason}; no time for another attempt within {deadline.seconds:g} s", http_status=status
            )
        logger.debug("account %s: %s; retrying in %.2f s", self._account.subaccount_id, reason, pause_s)
        deadline.sleep(pause_s)

    def _retry_after(self, response: Response) -> float | None:
        """Return the seconds in a Retry-After header (a number or a date, RFC 9110, section 10.2.3), or `None`."""
        text = response.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text, re.ASCII):
            return float(text)
        try:
            at = parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError):
            return None
        return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - self._clock()).total_seconds())

    def _follow(self, request: Request, deadline: Deadline) -> Response:
        """Return the response after at most three redirects within one origin."""
        url = request.url
        for _ in range(_MAX_REDIRECTS + 1):
            with self._turn(deadline):
                response = self._exchange(request, url, deadline)
                # Noted before the next request may begin.
                if response.status in request.denied:
                    self._key.reject(response.status)
                # A failing gateway returns 5xx and 429 without checking the key.
                if response.status < 500 and response.status != 429:
                    self._key.accept()
            if response.status not in (301, 302, 303, 307, 308):
                return response
            url = _redirect_target(request.method, url, response)
        raise AnswerError(f"the API redirects more than {_MAX_REDIRECTS} times")

    @contextmanager
    def _turn(self, deadline: Deadline) -> Iterator[None]:
        """Wait for a slot, and check that the key has not been rejected."""
        with self._key.one_request_first(within_s=deadline.remaining_s / 2):
            deadline.extend(self._pacer.wait())
            self._key.check()
            yield

    def _exchange(self, request: Request, url: str, deadline: Deadline) -> Response:
        """Send one request, and read its response."""
        timeout_s = min(self._lookups.timeout_s, deadline.remaining_s)
        if timeout_s <= 0:
            raise _BrokenError(f"no whole response within {deadline.seconds:g} s", http_status=None, retryable=False)
        headers = self._headers(request)
        response: urllib3.BaseHTTPResponse | None = None
        with self._watchdog.watching(deadline.remaining_s) as watch:
            try:
                route = self._routes.to(url)
                response = route.pool.urlopen(
                    request.method,
                    route.target(url),
                    body=request.payload,
                    headers=headers,
                    timeout=timeout_s,
                    retries=_NO_RETRIES,
                    redirect=False,
                    assert_same_host=False,
                    preload_content=False,
                    decode_content=False,
                )
                return read_response(response, save_to=request.save_to, limit_bytes=request.limit_bytes)
            except (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError) as err:
                status = None if response is None else response.status
                if watch.timed_out or deadline.passed:
                    reason = f"no whole response within {deadline.seconds:g} s"
                    raise _BrokenError(reason, http_status=status, retryable=False) from err
                reason = f"{_shown_origin(url)}: {describe_failure(err, timeout_s=timeout_s)}"
                raise _BrokenError(reason, http_status=status, retryable=not is_hopeless(err)) from err
            finally:
                if response is not None:  # this closes a connection with unread data
                    response.close()
                    response.release_conn()

    def _headers(self, request: Request) -> dict[str, str]:
        headers = {
            "Accept": "application/json" if request.save_to is None else "*/*",
            # Files are saved unmodified; `log_export` unpacks them and detects truncation.
            "Accept-Encoding": "gzip" if request.save_to is None else "identity",
            "User-Agent": _USER_AGENT,
            "Authorization": f"Bearer {self._key.reveal()}",
        }
        if request.payload is not None:
            headers["Content-Type"] = "application/json"
        return headers


def _redirect_target(method: str, url: str, response: Response) -> str:
    location = response.headers.get("Location", "")
    if method != "GET" or not location:
        raise AnswerError(f"the API returned HTTP {response.status} for {method}, a redirect that is not followed")
    try:
        target = urljoin(url, location)
        there, here = urlsplit(target), urlsplit(url)
        same = _origin(there) == _origin(here) and there.username is None and re.fullmatch(r"[!-\[\]-~]+", target)
    except ValueError as err:
        raise AnswerError(f"the API redirects (HTTP {response.status}) to an invalid URL") from err
    if not same:
        raise AnswerError(
            f"the API redirects (HTTP {response.status}) to {there.scheme!a}, host {ascii(there.hostname)[:100]}:"
            " refused, as it would receive the key. If 8x8 has moved there, set accounts.api_url"
        )
    return target


def _shown_origin(url: str) -> str:
    """Return scheme, host and port, for messages: the rest of an export's link is a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)

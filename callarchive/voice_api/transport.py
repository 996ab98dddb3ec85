"""The one way to 8x8's API: a request is paced, sent, read whole within its deadline, and sent again where that helps.

Nothing here knows what an answer means; `answers`, `client` and `log_export` do. The API key is revealed for each
request, stands in its Authorization header only, and is in no message. It goes to the host that the caller names and
never follows a redirect to another.
"""

import logging
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from pathlib import Path
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
import urllib3

from callarchive import __version__
from callarchive.domain.errors import AccessDeniedError, AnswerError, ConfigurationError, UnavailableError
from callarchive.runtime.retry import Backoff, Deadline
from callarchive.settings import AccountSettings, LookupSettings
from callarchive.voice_api.bodies import JSON_LIMIT_BYTES, Answer, read_answer
from callarchive.voice_api.deadlines import Watchdog
from callarchive.voice_api.failures import describe_failure, is_hopeless
from callarchive.voice_api.pacing import Pacer
from callarchive.voice_api.routes import Routes

_MAX_REDIRECTS = 3
_MAX_ATTEMPTS = 6
_MAX_TOO_MANY = 100
_BACKOFF = Backoff(first_s=0.25, longest_s=15.0, jitter=0.5)
_PROVING_WAIT_S = 2.0
_NO_RETRIES = urllib3.Retry(False, redirect=False)
"""Errors come as they are, redirects as answers: what to do about them is decided here."""

_USER_AGENT = f"callarchive/{__version__}"
_HEADER_VALUE = re.compile(r"[!-~]+", re.ASCII)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to ask.

    Attributes:
        payload: a JSON text, or null.
        save_to: a file that takes the body of a 200; its folder exists. Null: the body is held in memory.
        limit_bytes: a longer body is refused.
        denied: HTTP statuses that mean that the API key is not accepted.
        unusable: why the body of a 200, 201 or 202 must be asked for again (it may have been cut short), or null if it is fine.
        attempts: how often it is sent at most, 429s not counted.
    """

    method: str
    url: str
    payload: bytes | None = None
    save_to: Path | None = None
    limit_bytes: int = JSON_LIMIT_BYTES
    denied: tuple[int, ...] = (401, 403)
    unusable: Callable[[bytes], str | None] | None = None
    attempts: int = _MAX_ATTEMPTS


class NoAnswerError(UnavailableError):
    """No usable answer came, after all attempts.

    Attributes:
        http_status: of the last answer of any kind, or null when none came.
    """

    def __init__(self, message: str, *, http_status: int | None) -> None:
        super().__init__(message)
        self.http_status = http_status


class _BrokenError(Exception):
    """One attempt failed. `again` tells whether another may do better."""

    def __init__(self, reason: str, *, http_status: int | None, again: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.http_status = http_status
        self.again = again


@dataclass
class _State:
    """What is known of the API key: whether it was ever accepted, and how it was refused."""

    proved: bool = False
    denied: str | None = None
    proving: threading.Lock = field(default_factory=threading.Lock)


class Transport:
    """Requests in the name of one account. Thread-safe: one pool of connections and one rate cap for all threads."""

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
        # Twice as many as look-ups at once: two days may be at work, and a connection too many would be closed with a warning.
        self._routes = Routes(connection_count=2 * lookups.concurrency)
        self._key = _State()

    def __repr__(self) -> str:
        return f"Transport(account={self._account.subaccount_id!r})"

    def deadline(self, seconds: float) -> Deadline:
        """A deadline that begins now and uses this transport's `sleep`."""
        return Deadline(seconds, sleep=self._sleep)

    def send(self, request: Request, *, deadline: Deadline) -> Answer:
        """The answer, whole; any status but those that are worth another attempt (408, 429, 5xx) or deny access.

        Waiting for a slot under the rate cap does not use up the deadline: it is the time that 8x8 has to answer.

        Raises:
            AccessDeniedError: the key was refused, now or before; after the first refusal nothing is sent any more.
            NoAnswerError: every attempt failed, the deadline passed, or the server asks for too long a pause.
            AnswerError: a redirect to another host, too many of them, or a body over the limit.
            ConfigurationError: the API key is not set, or cannot stand in a header.
        """
        attempt = too_many = 0
        status: int | None = None
        while True:
            pause_s: float | None = None
            answer: Answer | None = None
            try:
                answer = self._follow(request, deadline)
            except _BrokenError as err:
                reason, status = err.reason, err.http_status or status
                if not err.again:
                    raise NoAnswerError(reason, http_status=status) from err
            else:
                status = answer.status
                if status in request.denied:
                    self._deny(status)
                if status in (408, 429) or status >= 500:
                    reason = f"HTTP {status}"
                    pause_s = self._retry_after(answer)
                    answer = None
                else:
                    unusable = request.unusable(answer.body) if request.unusable and status in (200, 201, 202) else None
                    if unusable is None:
                        return answer
                    reason = unusable
            if reason == "HTTP 429":
                too_many += 1
            else:
                attempt += 1
            if attempt >= request.attempts or too_many >= _MAX_TOO_MANY:
                if answer is not None:
                    return answer
                raise NoAnswerError(f"{reason} ({attempt + too_many} attempts)", http_status=status)
            self._pause(reason, pause_s, attempt + too_many, deadline, status)

    def close(self) -> None:
        """Connections are closed and no thread of ours runs. May be called twice; no request may be under way."""
        self._watchdog.close()
        self._routes.close()

    def _pause(self, reason: str, asked_s: float | None, failures: int, deadline: Deadline, status: int | None) -> None:
        """The time until the next attempt has passed.

        A pause that the server asks for is lengthened at random by up to a tenth, ours shortened by up to a half, so
        that threads which failed together do not come back together.
        """
        limit_s = self._lookups.retry_after_max_s
        if asked_s is not None and asked_s > limit_s:
            asked = f"Retry-After asks for {asked_s:.0f} s, more than lookups.retry_after_max_s ({limit_s:g})"
            raise NoAnswerError(f"{reason}; {asked}", http_status=status)
        if asked_s is not None:
            pause_s = max(asked_s, _BACKOFF.first_s / 2) * random.uniform(1, 1.1)  # noqa: S311
        else:
            pause_s = _BACKOFF.pause_s(failures)
        if pause_s >= deadline.remaining_s:
            raise NoAnswerError(
                f"{reason}; no time for another attempt within {deadline.seconds:g} s", http_status=status
            )
        logger.debug("account %s: %s; again in %.2f s", self._account.subaccount_id, reason, pause_s)
        deadline.sleep(pause_s)

    def _retry_after(self, answer: Answer) -> float | None:
        """Seconds that a Retry-After header asks for (a number or a date, RFC 9110, section 10.2.3), or null."""
        text = answer.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text, re.ASCII):
            return float(text)
        try:
            at = parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError):
            return None
        return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - self._clock()).total_seconds())

    def _follow(self, request: Request, deadline: Deadline) -> Answer:
        """The answer after at most three redirects within one origin."""
        url = request.url
        for _ in range(_MAX_REDIRECTS + 1):
            with self._turn(deadline):
                answer = self._exchange(request, url, deadline)
                # A gateway that is down answers 5xx and 429 without having looked at the key.
                if answer.status < 500 and answer.status not in (*request.denied, 429):
                    self._key.proved = True
            if answer.status not in (301, 302, 303, 307, 308):
                return answer
            url = _redirect_target(request.method, url, answer)
        raise AnswerError(f"the API redirects more than {_MAX_REDIRECTS} times")

    @contextmanager
    def _turn(self, deadline: Deadline) -> Iterator[None]:
        """Our slot has come, and the key has not been refused.

        Until the key has been accepted once, requests go one by one, so that a bad key costs one request however many
        threads there are. A first request that hangs holds the others up for two seconds only.
        """
        proving = not self._key.proved and self._key.proving.acquire(
            timeout=min(_PROVING_WAIT_S, deadline.remaining_s / 2)
        )
        if proving and self._key.proved:
            self._key.proving.release()
            proving = False
        try:
            self._refuse_if_denied()
            deadline.extend(self._pacer.wait())
            self._refuse_if_denied()
            yield
        finally:
            if proving:
                self._key.proving.release()

    def _exchange(self, request: Request, url: str, deadline: Deadline) -> Answer:
        """One request, one answer."""
        timeout_s = min(self._lookups.timeout_s, deadline.remaining_s)
        if timeout_s <= 0:
            raise _BrokenError(f"no whole answer within {deadline.seconds:g} s", http_status=None, again=False)
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
                return read_answer(response, save_to=request.save_to, limit_bytes=request.limit_bytes)
            except (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError) as err:
                status = None if response is None else response.status
                if watch.barked or deadline.passed:
                    reason = f"no whole answer within {deadline.seconds:g} s"
                    raise _BrokenError(reason, http_status=status, again=False) from err
                reason = describe_failure(err, timeout_s=timeout_s)
                raise _BrokenError(reason, http_status=status, again=not is_hopeless(err)) from err
            finally:
                if response is not None:  # a connection with part of an answer still on it is closed by this
                    response.close()
                    response.release_conn()

    def _headers(self, request: Request) -> dict[str, str]:
        headers = {
            "Accept": "application/json" if request.save_to is None else "*/*",
            # A file's bytes are wanted as they are; `log_export` unpacks and notices a cut.
            "Accept-Encoding": "gzip" if request.save_to is None else "identity",
            "User-Agent": _USER_AGENT,
            "Authorization": f"Bearer {self._reveal_key()}",
        }
        if request.payload is not None:
            headers["Content-Type"] = "application/json"
        return headers

    def _reveal_key(self) -> str:
        key = self._account.api_key.reveal()
        if not _HEADER_VALUE.fullmatch(key):  # http.client would say so too, and print the key
            raise ConfigurationError(
                f"accounts.api_key of {self._account.subaccount_id}: holds a space, a line end or another character"
                " that cannot stand in a header; check how the secret was stored"
            )
        return key

    def _refuse_if_denied(self) -> None:
        if self._key.denied is not None:
            raise AccessDeniedError(self._key.denied)

    def _deny(self, status: int) -> None:
        account = self._account
        place = account.api_key.env or account.api_key.file
        what = "is not valid" if status == 401 else "may not use this subaccount"
        self._key.denied = (
            f"account {account.subaccount_id}: 8x8 refuses the API key (HTTP {status}: it {what}) at {account.api_url}."
            f" Check subaccount_id, api_url and api_key (read from {place}); create a new key in 8x8 Connect if need be"
        )
        raise AccessDeniedError(self._key.denied)


def _redirect_target(method: str, url: str, answer: Answer) -> str:
    location = answer.headers.get("Location", "")
    if method != "GET" or not location:
        raise AnswerError(f"the API answers {method} with HTTP {answer.status}, a redirect that is not followed")
    try:
        target = urljoin(url, location)
        there, here = urlsplit(target), urlsplit(url)
        same = _origin(there) == _origin(here) and there.username is None and re.fullmatch(r"[!-\[\]-~]+", target)
    except ValueError as err:
        raise AnswerError(f"the API redirects (HTTP {answer.status}) to what is no URL") from err
    if not same:
        raise AnswerError(
            f"the API redirects (HTTP {answer.status}) to {there.scheme!a}, host {ascii(there.hostname)[:100]}:"
            " refused, the key would go with it. If 8x8 has moved there, set accounts.api_url"
        )
    return target


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)

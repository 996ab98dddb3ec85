"""Faults that the simulated API shows on demand: what goes wrong, for which requests, how many times.

How a fault looks on the wire is in `api`. Faults of the stores are methods of `landings`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal

JobOutcome = Literal["failed", "cancelled", "error", "empty", "expired"]
Break = Literal["short", "no_length", "reset", "stall", "drip"]

FOREVER = None
ANY = "any"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong. Make it with one of the class methods.

    Attributes:
        status: replaces the answer's own; null leaves it.
        body: replaces the answer's own; null leaves it.
        broken: how the body fails on its way.
        at_bytes: after how many bytes of the body it fails; null means halfway.
        seconds: how long a stall lasts, or how long a byte takes when dripping.
        job: how an export job ends that is started under this fault.
        rows: so many rows of a call log file are left, and announced as the whole.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    broken: Break | None = None
    at_bytes: int | None = None
    seconds: float = 0.0
    delay_s: float = 0.0
    job: JobOutcome | None = None
    rows: int | None = None

    @classmethod
    def answer(cls, status: int = 200, *, body: Any = b"", headers: Mapping[str, str] | None = None) -> "Fault":
        """Another answer altogether. A body that is neither bytes nor text is sent as JSON."""
        if isinstance(body, str):
            data, kind = body.encode(), "text/html; charset=utf-8"
        elif isinstance(body, bytes):
            data, kind = body, "application/octet-stream"
        else:
            data, kind = json.dumps(body).encode(), "application/json"
        return cls(status=status, body=data, headers={"Content-Type": kind, **(headers or {})})

    @classmethod
    def too_many_requests(cls, *, retry_after: str | int | None = 1) -> "Fault":
        """429, with `Retry-After` in seconds or as an HTTP date, or without it."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        return cls.answer(429, body={"message": "Too many requests"}, headers=headers)

    @classmethod
    def redirect(cls, to: str, *, status: int = 302) -> "Fault":
        """A redirect to a URL."""
        return cls.answer(status, headers={"Location": to})

    @classmethod
    def short_body(cls, *, at_bytes: int | None = None) -> "Fault":
        """The right answer and its Content-Length, but the connection is closed before the body ends."""
        return cls(broken="short", at_bytes=at_bytes)

    @classmethod
    def no_length(cls, *, at_bytes: int | None = None) -> "Fault":
        """No Content-Length, and the connection ends after `at_bytes` (null: after all): the wire tells of no loss."""
        return cls(broken="no_length", at_bytes=at_bytes)

    @classmethod
    def reset(cls, *, at_bytes: int | None = None) -> "Fault":
        """The connection is reset inside the body."""
        return cls(broken="reset", at_bytes=at_bytes)

    @classmethod
    def stall(cls, *, seconds: float = 3600.0, at_bytes: int | None = None) -> "Fault":
        """Nothing more comes for so long inside the body; then the rest does."""
        return cls(broken="stall", seconds=seconds, at_bytes=at_bytes)

    @classmethod
    def drip(cls, *, seconds_per_byte: float) -> "Fault":
        """The body comes byte by byte, so that no single read ever times out."""
        return cls(broken="drip", seconds=seconds_per_byte)

    @classmethod
    def delay(cls, seconds: float) -> "Fault":
        """The right answer, but late."""
        return cls(delay_s=seconds)

    @classmethod
    def few_rows(cls, rows: int) -> "Fault":
        """A call log file that ends after its header and so many rows, and looks whole."""
        return cls(rows=rows)

    @classmethod
    def export_job(cls, outcome: JobOutcome) -> "Fault":
        """The next export job that is started ends so. `expired` succeeds, but its links are dead."""
        return cls(job=outcome)


@dataclass(slots=True)
class _Planned:
    fault: Fault
    match: str
    left: int | None
    passes: int


class Faults:
    """The faults that are yet to come. Thread-safe; of several that fit a request the one added first shows."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._planned: list[_Planned] = []

    def add(self, fault: Fault, *, match: str = ANY, times: int | None = 1, after: int = 0) -> None:
        """The fault shows at requests that match.

        Args:
            fault: what goes wrong.
            match: a session id; a subaccount id; `recordings`, `exports`, `download`, `push-config` or `webhooks`;
                a method (`GET`); or `any`.
            times: at how many requests it shows; `FOREVER` until `clear`.
            after: how many matching requests are answered well before it shows.
        """
        if times is not None and times < 1:
            raise ValueError(f"times must be at least 1 or FOREVER, not {times}")
        with self._lock:
            self._planned.append(_Planned(fault, match.lower(), times, after))

    def clear(self) -> None:
        """From now on everything goes well."""
        with self._lock:
            self._planned.clear()

    def take(self, tags: Iterable[str], *, starts_job: bool = False) -> Fault | None:
        """The fault that this request meets, counted as shown.

        Args:
            tags: everything that the request may be matched by.
            starts_job: whether to look for faults of export jobs, or for all others.
        """
        own = {tag.lower() for tag in tags} | {ANY}
        with self._lock:
            for planned in self._planned:
                if planned.match not in own or (planned.fault.job is not None) != starts_job:
                    continue
                if planned.passes > 0:
                    planned.passes -= 1
                    continue
                if planned.left is not None:
                    planned.left -= 1
                    if planned.left == 0:
                        self._planned.remove(planned)
                return planned.fault
        return None

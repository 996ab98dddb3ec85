"""Describes why a request failed, without the texts of errors: they contain URLs, and an export's link is a secret."""

import errno
import http.client
import os
import socket
import ssl
from collections.abc import Iterator

import requests
import urllib3.exceptions as u3

_REASONS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((ssl.SSLError, u3.SSLError), "the TLS connection failed"),
    ((u3.NameResolutionError, socket.gaierror), "the host name cannot be resolved"),
    ((u3.ProxyError, requests.exceptions.ProxyError), "the proxy did not connect"),
    ((u3.ConnectTimeoutError,), "no connection within {:.3g} s"),
    ((u3.ReadTimeoutError, TimeoutError), "no data for {:.3g} s"),
    ((u3.IncompleteRead, http.client.IncompleteRead, u3.InvalidChunkLength), "the body ended early"),
    ((u3.DecodeError,), "the body does not match its Content-Encoding"),
    ((http.client.RemoteDisconnected,), "the server closed the connection without a response"),
)


def describe_failure(err: BaseException, *, timeout_s: float) -> str:
    """Return a short reason, without URL or body."""
    # In urllib3 a refused connection is a kind of ConnectTimeoutError; its cause, further down, is more specific.
    causes = [cause for cause in _causes(err) if type(cause) is not u3.NewConnectionError]
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the server's certificate is invalid: {cause.verify_message}"
    for types, reason in _REASONS:
        if any(isinstance(cause, types) for cause in causes):
            return reason.format(timeout_s)
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno in errno.errorcode:
            return f"the connection failed: {os.strerror(cause.errno)}"
    if any(isinstance(cause, http.client.HTTPException) for cause in causes):
        return "the response is not valid HTTP"
    return f"the request failed ({type(causes[-1]).__name__})"


def is_hopeless(err: BaseException) -> bool:
    """Return whether retrying is useless: the certificate or the URL is invalid."""
    return any(
        isinstance(cause, ssl.SSLCertVerificationError | requests.exceptions.InvalidURL | u3.LocationValueError)
        for cause in _causes(err)
    )


def _causes(err: BaseException) -> Iterator[BaseException]:
    """Yield the error and its causes, which requests and urllib3 keep in `args`, `reason` or `__cause__`."""
    seen: set[int] = set()
    waiting: list[object] = [err]
    while waiting:
        found = waiting.pop(0)
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        waiting += [*found.args, getattr(found, "reason", None), found.__cause__, found.__context__]

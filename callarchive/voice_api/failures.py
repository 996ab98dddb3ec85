"""Describes why a request failed, from the exceptions of requests, urllib3, ssl and the socket.

Their own texts are not used: they contain URLs, and an export's link is a secret.
"""

import errno
import http.client
import os
import socket
import ssl
from collections.abc import Iterator

import requests
import urllib3.exceptions as u3


def describe_failure(err: BaseException, *, timeout_s: float) -> str:
    """Return a short reason, without URL or body."""
    causes = list(_causes(err))

    def caused_by(*types: type[BaseException]) -> BaseException | None:
        return next((cause for cause in causes if isinstance(cause, types)), None)

    certificate = caused_by(ssl.SSLCertVerificationError)
    if isinstance(certificate, ssl.SSLCertVerificationError):
        return f"the server's certificate is invalid: {certificate.verify_message}"
    if caused_by(ssl.SSLError, u3.SSLError):
        return "the TLS connection failed"
    if caused_by(u3.NameResolutionError, socket.gaierror):
        return "the host name cannot be resolved"
    if caused_by(u3.ProxyError, requests.exceptions.ProxyError):
        return "the proxy did not connect"
    # In urllib3 a refused connection is a kind of ConnectTimeoutError; its cause, further down, is more specific.
    if any(isinstance(c, u3.ConnectTimeoutError) and not isinstance(c, u3.NewConnectionError) for c in causes):
        return f"no connection within {timeout_s:.3g} s"
    if caused_by(u3.ReadTimeoutError, TimeoutError):
        return f"no data for {timeout_s:.3g} s"
    if caused_by(u3.IncompleteRead, http.client.IncompleteRead, u3.InvalidChunkLength):
        return "the body ended early"
    if caused_by(u3.DecodeError):
        return "the body does not match its Content-Encoding"
    if caused_by(http.client.RemoteDisconnected):
        return "the server closed the connection without a response"
    system = next((c for c in causes if isinstance(c, OSError) and c.errno in errno.errorcode), None)
    if system is not None and system.errno is not None:
        return f"the connection failed: {os.strerror(system.errno)}"
    if caused_by(http.client.HTTPException):
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

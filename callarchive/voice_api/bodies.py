"""Reads the bodies of HTTP responses, with a size limit: into memory, or into a file with a hash."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import urllib3

from callarchive.domain.errors import AnswerError, StoreError

JSON_LIMIT_BYTES = 10 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response."""

    status: int
    headers: Mapping[str, str]
    body: bytes  # empty if it was saved to a file
    sha256: str | None  # of a saved body, in hex; `None` otherwise
    end_announced: bool  # whether Content-Length or chunks announced the end; if not, truncation cannot be detected


def read_response(response: urllib3.BaseHTTPResponse, *, save_to: Path | None, limit_bytes: int) -> Response:
    """Read the whole body, into `save_to` if it is that of a 200, undecoded. The caller closes the response.

    Raises AnswerError if it is too long, StoreError if the file cannot be written, urllib3's HTTPError or OSError if it is
    incomplete.
    """
    headers: Mapping[str, str] = response.headers
    # As urllib3 understood it: it does not enforce a length that it cannot parse, such as "-1" or "12 kB".
    announced = bool(getattr(response, "chunked", False)) or response.length_remaining is not None
    if response.status == 200 and save_to is not None:
        sha256 = _save(_chunks(response, limit_bytes, decode=False), save_to)
        return Response(200, headers, b"", sha256, announced)
    limit_bytes = min(limit_bytes, JSON_LIMIT_BYTES)
    body = b"".join(_chunks(response, limit_bytes, decode=True))
    return Response(response.status, headers, body, None, announced)


def _chunks(response: urllib3.BaseHTTPResponse, limit_bytes: int, *, decode: bool) -> Iterator[bytes]:
    """Yield the body. urllib3 itself raises if it is shorter than Content-Length or the chunks announce."""
    size_bytes = 0
    for chunk in response.stream(_CHUNK_BYTES, decode_content=decode):
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            raise AnswerError(f"the body is longer than {limit_bytes} bytes (HTTP {response.status})")
        yield chunk


def _save(chunks: Iterator[bytes], path: Path) -> str:
    """Write the chunks to the file, and return their SHA-256 in hex."""
    digest = hashlib.sha256()
    with _disk_errors_named(path):
        file = path.open("wb")
    try:
        for chunk in chunks:
            digest.update(chunk)
            with _disk_errors_named(path):
                file.write(chunk)
    finally:
        with _disk_errors_named(path):
            file.close()
    return digest.hexdigest()


@contextmanager
def _disk_errors_named(path: Path) -> Iterator[None]:
    """Distinguish errors of the disk from those of the connection: retrying does not free space."""
    try:
        yield
    except OSError as err:
        raise StoreError(f"{path.parent}: cannot write a download: {err.strerror}") from err

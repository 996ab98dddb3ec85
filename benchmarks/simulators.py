"""`python -m benchmarks.simulators s3|api CORPUS COUNT`: simulate S3 or the 8x8 API with minimal overhead.

They serve a corpus and implement only the requests that the main job and its peers make without faults: GET (whole or a
range), HEAD and ListObjectsV2; and Get Recordings. They check no signature or key. The servers of `callarchive.simulator` are
too slow: a benchmark would measure them instead of the main job. Each simulator prints its port to standard output and exits
at the end of standard input.
"""

import asyncio
import json
import mmap
import os
import re
import sys
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import format_datetime
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

import uvloop

from benchmarks.corpus import Corpus, Sample, load_corpus

BUCKET = "benchmark-recordings"
PREFIX = "my-recordings-path"
SUBACCOUNT_ID = "benchmark"
ARRIVALS = "/arrivals"
"""Path at which the API simulator returns the times of lookups since the last call, in seconds of a monotonic clock."""

_PAGE_KEYS = 1000
_RANGE = re.compile(rb"\r\nrange: *bytes=(\d+)-(\d*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Request:
    """A request without a body.

    Attributes:
        bounds: first and last requested byte; the last is None for the end of the object. None for the whole object.
    """

    method: str
    target: str
    bounds: tuple[int, int | None] | None


Body = bytes | memoryview
Handler = Callable[[Request], list[Body]]
"""Returns the parts of the response to a request, headers included."""


def s3_handler(corpus: Corpus) -> Handler:
    """Return a handler for one bucket with the samples below one prefix. ETags are MD5s, as in S3 for single-part uploads."""
    samples = {f"{PREFIX}/{sample.path}": sample for sample in corpus.samples}
    keys = sorted(samples)

    def get(request: Request, key: str) -> list[Body]:
        sample = samples.get(key)
        if sample is None:
            error = b"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
            return [_head(404, len(error), "application/xml"), *([error] if request.method == "GET" else [])]
        first, last = 0, sample.size_bytes - 1
        part = None
        if request.bounds is not None and request.method == "GET":
            first = min(request.bounds[0], last)
            last = last if request.bounds[1] is None else min(request.bounds[1], last)
            part = f"bytes {first}-{last}/{sample.size_bytes}"
        status = 200 if part is None else 206
        head = _head(status, last + 1 - first, "audio/mpeg", etag=sample.md5, modified=sample, part=part)
        if request.method != "GET" or not sample.size_bytes:  # an empty file cannot be mapped
            return [head]
        with (corpus.folder / sample.path).open("rb") as file:  # mapped, not read: a file may be larger than memory
            return [head, memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))[first : last + 1]]

    def page(query: dict[str, str]) -> list[Body]:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        limit = min(_PAGE_KEYS, int(query.get("max-keys", _PAGE_KEYS)))
        after = query.get("continuation-token") or query.get("start-after") or ""
        at = max(_index_after(keys, after, delimiter), bisect_left(keys, prefix))
        entries: list[str] = []
        last = ""
        while at < len(keys) and keys[at].startswith(prefix) and len(entries) < limit:
            last = key = keys[at]
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            if end < 0:
                entries.append(_entry(key, samples[key]))
                at += 1
            else:
                last = key[: end + 1]
                entries.append(f"<CommonPrefixes><Prefix>{escape(last)}</Prefix></CommonPrefixes>")
                at = _index_after(keys, last, delimiter)
        more = at < len(keys) and keys[at].startswith(prefix)
        token = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if more else ""
        xml = (
            f"<ListBucketResult><Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix><Delimiter>{delimiter}</Delimiter>"
            f"<KeyCount>{len(entries)}</KeyCount><MaxKeys>{limit}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{token}{''.join(entries)}</ListBucketResult>"
        ).encode()
        return [_head(200, len(xml), "application/xml"), xml]

    def handle(request: Request) -> list[Body]:
        url = urlsplit(request.target)
        _, _, key = unquote(url.path).lstrip("/").partition("/")
        if key:
            return get(request, key)
        if request.method == "HEAD":
            return [_head(200, 0, "application/xml")]
        return page({name: values[0] for name, values in parse_qs(url.query).items()})

    return handle


def _index_after(keys: list[str], place: str, delimiter: str) -> int:
    """Return the index of the first key after `place`: a key, or a whole folder if it ends in the delimiter."""
    if delimiter and place.endswith(delimiter):
        return bisect_left(keys, f"{place[:-1]}{chr(ord(delimiter) + 1)}")
    return bisect_right(keys, place)


def api_handler(corpus: Corpus) -> Handler:
    """Return a handler for Get Recordings. The responses are prepared in advance."""
    prepared: dict[str, list[Body]] = {}
    arrivals: list[float] = []
    for sample in corpus.samples:
        _, session_id, name = sample.path.split("/")
        body = json.dumps(
            {
                "recordings": [
                    {
                        "recordingId": sample.recording_id,
                        "sessionId": session_id,
                        "subAccountId": SUBACCOUNT_ID,
                        "status": "CALLBACK_COMPLETED",
                        "externalFileUrl": f"https://{BUCKET}.example/{PREFIX}/{session_id}/{quote(name, safe='')}",
                        "startRecordingTime": sample.started_at.isoformat(timespec="milliseconds"),
                        "duration": round(sample.duration_s),
                    }
                ],
                "statusCode": 0,
                "statusMessage": "ok",
            }
        ).encode()
        place = f"/api/v1/subaccounts/{SUBACCOUNT_ID}/recordings/{session_id}"
        prepared[place] = [_head(200, len(body), "application/json"), body]
    unknown: list[Body] = [_head(404, 0, "application/json")]

    def handle(request: Request) -> list[Body]:
        if request.target == ARRIVALS:
            body = json.dumps(arrivals).encode()
            arrivals.clear()
            return [_head(200, len(body), "application/json"), body]
        arrivals.append(time.monotonic())
        return prepared.get(request.target, unknown)

    return handle


class _Connection(asyncio.Protocol):
    """HTTP/1.1 for requests without a body, kept alive until the client closes the connection."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport is not a subclass

    def data_received(self, data: bytes) -> None:
        self._received += data
        while self._transport is not None and (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[:end])
            del self._received[: end + 4]
            method, target, _ = head.partition(b"\r\n")[0].decode("ascii").split(" ")
            found = _RANGE.search(head)
            bounds = None if found is None else (int(found[1]), int(found[2]) if found[2] else None)
            self._transport.writelines(self._handler(Request(method, target, bounds)))


def _head(
    status: int,
    length: int,
    kind: str,
    *,
    etag: str | None = None,
    modified: Sample | None = None,
    part: str | None = None,
) -> bytes:
    lines = [f"HTTP/1.1 {status} -", f"Content-Length: {length}", f"Content-Type: {kind}"]
    if part is not None:
        lines.append(f"Content-Range: {part}")
    if etag is not None:
        lines.append(f'ETag: "{etag}"')
    if modified is not None:
        lines.append(f"Last-Modified: {format_datetime(modified.started_at.replace(microsecond=0), usegmt=True)}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _entry(key: str, sample: Sample) -> str:
    modified = sample.started_at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return (
        f"<Contents><Key>{escape(key)}</Key><LastModified>{modified}</LastModified><ETag>&quot;{sample.md5}&quot;</ETag>"
        f"<Size>{sample.size_bytes}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )


async def _serve(handler: Handler) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(handler), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def exit_on_stdin_eof() -> None:
    """Exit this process at the end of standard input, and so together with its parent, however that ends."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Serve until the end of standard input."""
    kind, home, count = sys.argv[1:]
    corpus = load_corpus(Path(home)).first(int(count))
    exit_on_stdin_eof()
    uvloop.run(_serve(s3_handler(corpus) if kind == "s3" else api_handler(corpus)))


if __name__ == "__main__":
    main()

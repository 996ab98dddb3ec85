"""`python -m benchmarks.stand_ins s3|api CORPUS COUNT`: S3 and 8x8's API, as fast as one process of Python serves them.

They answer what the main job asks on a good day and nothing else, from a corpus: GET and ListObjectsV2, and Get Recordings.
No signature and no key is checked. The simulator's servers, which know faults, would be measured in place of the main job.
Each writes its port to standard output and ends when its standard input does.
"""

import asyncio
import json
import os
import sys
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable
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

_PAGE_KEYS = 1000

Answer = Callable[[str, str], list[bytes]]
"""From a request's method and target to the pieces of the whole answer, its head included."""


def s3_answers(corpus: Corpus) -> Answer:
    """One bucket that holds the samples below one prefix; ETags are MD5s, as S3's are for objects put in one piece."""
    samples = {f"{PREFIX}/{sample.path}": sample for sample in corpus.samples}
    keys = sorted(samples)

    def get(key: str, *, body: bool) -> list[bytes]:
        sample = samples.get(key)
        if sample is None:
            refusal = b"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
            return [_head(404, len(refusal), "application/xml"), refusal]
        head = _head(200, sample.size_bytes, "audio/mpeg", etag=sample.md5, modified=sample)
        return [head, (corpus.folder / sample.path).read_bytes()] if body else [head]

    def page(query: dict[str, list[str]]) -> list[bytes]:
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", [""])[0]
        begin = bisect_right(keys, after) if after else bisect_left(keys, prefix)
        limit = min(_PAGE_KEYS, int(query.get("max-keys", [str(_PAGE_KEYS)])[0]))
        found = []
        for key in keys[begin : begin + limit + 1]:
            if not key.startswith(prefix):
                break
            found.append(key)
        more, found = len(found) > limit, found[:limit]
        entries = "".join(_entry(key, samples[key]) for key in found)
        token = f"<NextContinuationToken>{escape(found[-1])}</NextContinuationToken>" if more else ""
        xml = (
            f"<ListBucketResult><Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(found)}</KeyCount>"
            f"<MaxKeys>{limit}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}</ListBucketResult>"
        ).encode()
        return [_head(200, len(xml), "application/xml"), xml]

    def answer(method: str, target: str) -> list[bytes]:
        url = urlsplit(target)
        _, _, key = unquote(url.path).lstrip("/").partition("/")
        return get(key, body=method == "GET") if key else page(parse_qs(url.query))

    return answer


def api_answers(corpus: Corpus) -> Answer:
    """Get Recordings for each sample's session. The answers are made beforehand."""
    prepared = {}
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
    unknown = [_head(404, 0, "application/json")]

    def answer(method: str, target: str) -> list[bytes]:  # noqa: ARG001
        return prepared.get(target, unknown)

    return answer


class _Connection(asyncio.Protocol):
    """HTTP/1.1 for requests without a body, kept alive until the client hangs up."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass

    def data_received(self, data: bytes) -> None:
        self._received += data
        while self._transport is not None and (end := self._received.find(b"\r\n\r\n")) >= 0:
            method, target, _ = self._received[: self._received.index(b"\r\n")].decode("ascii").split(" ")
            del self._received[: end + 4]
            self._transport.writelines(self._answer(method, target))


def _head(status: int, length: int, kind: str, *, etag: str | None = None, modified: Sample | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} -", f"Content-Length: {length}", f"Content-Type: {kind}"]
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


async def _serve(answer: Answer) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(answer), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    """Serves until standard input ends."""
    kind, home, count = sys.argv[1:]
    corpus = load_corpus(Path(home)).first(int(count))
    threading.Thread(target=_end_with_input, daemon=True).start()
    uvloop.run(_serve(s3_answers(corpus) if kind == "s3" else api_answers(corpus)))


if __name__ == "__main__":
    main()

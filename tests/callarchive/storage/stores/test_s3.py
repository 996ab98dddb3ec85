"""A bucket survives lost responses, locks of dead holders, wrong checksums and outages."""

import base64
import hashlib
import http.client
import http.server
import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from callarchive.domain.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    ArchiveError,
    ConfigurationError,
    StoreError,
    UnavailableError,
)
from callarchive.domain.evidence import Unknown
from callarchive.settings import S3Settings
from callarchive.storage.stores.s3 import S3Store
from callarchive.storage.stores.s3_promises import Promises

BUCKET = "the-bucket"


class Answer:
    """A response of the real server. `cut` closes the connection instead of passing it on."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.body, self.cut = status, headers, body, False


@contextmanager
def between(endpoint: str, meddle: Callable[[str, str, Answer], Answer]) -> Iterator[tuple[str, list[str]]]:
    """Run a proxy in front of the real server that may change responses. Yield its address and the methods it saw."""
    seen: list[str] = []
    real = urlsplit(endpoint)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection = http.client.HTTPConnection(str(real.hostname), real.port)
            connection.request(self.command, self.path, body, dict(self.headers))
            response = connection.getresponse()
            answer = Answer(response.status, response.getheaders(), response.read())
            connection.close()
            seen.append(self.command)
            answer = meddle(self.command, self.path, answer)
            if answer.cut:
                self.close_connection = True
                return
            self.send_response_only(answer.status)
            for name, value in answer.headers:
                if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                    self.send_header(name, value)
            length = {name.lower(): value for name, value in answer.headers}.get("content-length", "0")
            self.send_header("Content-Length", length if self.command == "HEAD" else str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "PUT", "HEAD", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.handle_any)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()
        thread.join()


def store_at(endpoint: str, like: S3Store, *, lease_s: float = 30.0) -> S3Store:
    """Return the same store through that endpoint, without the test of test_s3_promises.py."""
    store = S3Store(like.url, S3Settings(endpoint_url=endpoint, region="us-east-1"), lease_s=lease_s)
    store._promises = Promises(deletes_if_match=True)
    return store


def key_in(store: S3Store, path: str) -> str:
    return store.uri(path).removeprefix(f"s3://{BUCKET}/")


def test_objects_carry_their_sha256(s3_store: S3Store, boto: Any) -> None:
    s3_store.create("day/a.mp3", b"some bytes")
    head = boto.head_object(Bucket=BUCKET, Key=key_in(s3_store, "day/a.mp3"), ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(b"some bytes").digest()).decode()


def test_urls_are_not_normalized(s3_settings: S3Settings, boto: Any) -> None:
    assert S3Store("s3://bucket/a%20b/c", s3_settings).uri("x y") == "s3://bucket/a%20b/c/x y"
    assert S3Store("s3://bucket", s3_settings).uri("x") == "s3://bucket/x"
    whole = S3Store(f"s3://{BUCKET}", s3_settings)
    whole.replace("at the top", b"x")
    assert "at the top" in [item.path for item in whole.list("")]
    whole.delete("at the top")


def test_folder_markers_and_temporary_names_are_not_listed(s3_store: S3Store, boto: Any) -> None:
    for path in ("day/a", "day/.x.part"):
        s3_store.replace(path, b"x")
    boto.put_object(Bucket=BUCKET, Key=key_in(s3_store, "day") + "/", Body=b"")
    assert [item.path for item in s3_store.list("day")] == ["day/a"]


def test_a_commit_whose_response_was_lost_succeeds(s3_store: S3Store, s3_endpoint: str) -> None:
    lost = []

    def lose_first_put(method: str, path: str, answer: Answer) -> Answer:
        if method == "PUT" and not lost:
            lost.append(answer.status)
            answer.cut = True
        return answer

    with between(s3_endpoint, lose_first_put) as (endpoint, seen):
        store_at(endpoint, s3_store).create("day/a.mp3", b"mine")
    assert lost == [200]
    assert seen == ["PUT", "PUT", "HEAD"]
    assert s3_store.read("day/a.mp3") == b"mine"


def test_after_a_lost_response_another_writers_object_is_not_taken_for_ours(
    s3_store: S3Store, s3_endpoint: str
) -> None:
    s3_store.create("day/a.mp3", b"same bytes, another writer")

    def lose_first_put(method: str, path: str, answer: Answer) -> Answer:
        answer.cut = method == "PUT" and seen == ["PUT"]
        return answer

    with between(s3_endpoint, lose_first_put) as (endpoint, seen), pytest.raises(AlreadyExistsError):
        store_at(endpoint, s3_store).create("day/a.mp3", b"same bytes, another writer")


def test_a_write_in_conflict_with_another_is_retried(s3_store: S3Store, s3_endpoint: str) -> None:
    def conflict_once(method: str, path: str, answer: Answer) -> Answer:
        if seen == ["PUT"]:
            s3_store.delete("day/a.mp3")
            return Answer(409, [], b"<Error><Code>ConditionalRequestConflict</Code></Error>")
        return answer

    with between(s3_endpoint, conflict_once) as (endpoint, seen):
        store_at(endpoint, s3_store).create("day/a.mp3", b"mine")
    assert s3_store.read("day/a.mp3") == b"mine"
    assert seen == ["PUT", "PUT"]


def test_an_object_stored_with_another_checksum_is_deleted(s3_store: S3Store, s3_endpoint: str) -> None:
    def wrong_checksum(method: str, path: str, answer: Answer) -> Answer:
        other = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
        headers = [header for header in answer.headers if header[0].lower() != "x-amz-checksum-sha256"]
        return Answer(answer.status, [*headers, ("x-amz-checksum-sha256", other)], answer.body)

    refused = pytest.raises(StoreError, match="other bytes than were sent")
    with between(s3_endpoint, wrong_checksum) as (endpoint, _), refused:
        store_at(endpoint, s3_store).create("day/a.mp3", b"mine")
    assert s3_store.list("") == []


def test_an_object_that_reads_back_right_is_kept_whatever_the_response_says(
    s3_store: S3Store, s3_endpoint: str
) -> None:
    reads = []

    def meddle(method: str, path: str, answer: Answer) -> Answer:
        if method == "PUT":
            other = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
            headers = [header for header in answer.headers if header[0].lower() != "x-amz-checksum-sha256"]
            return Answer(answer.status, [*headers, ("x-amz-checksum-sha256", other)], answer.body)
        if method == "GET":
            reads.append(path)
            if len(reads) == 1:
                answer.body = b"M" + answer.body[1:]
        return answer

    with between(s3_endpoint, meddle) as (endpoint, _):
        store_at(endpoint, s3_store).create("day/a.mp3", b"mine")
    assert len(reads) == 2
    assert s3_store.read("day/a.mp3") == b"mine"


@pytest.mark.parametrize("change", ["short", "flipped"])
def test_an_incomplete_or_changed_download_is_an_error(s3_store: S3Store, s3_endpoint: str, change: str) -> None:
    s3_store.replace("a", b"the whole truth")

    def damage(method: str, path: str, answer: Answer) -> Answer:
        if method == "GET":
            answer.body = answer.body[:-1] if change == "short" else b"T" + answer.body[1:]
        return answer

    with between(s3_endpoint, damage) as (endpoint, _), pytest.raises(UnavailableError, match="download is incomplete"):
        store_at(endpoint, s3_store).read("a")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", AccessDeniedError),
        (400, "ExpiredToken", AccessDeniedError),
        (404, "NoSuchBucket", ConfigurationError),
        (507, "XMinioStorageFull", StoreError),
        (400, "KeyTooLongError", UnavailableError),
    ],
)
def test_a_refusal_by_s3_is_one_of_our_errors(
    s3_store: S3Store, s3_endpoint: str, status: int, code: str, kind: type[ArchiveError]
) -> None:
    def refuse(method: str, path: str, answer: Answer) -> Answer:
        return Answer(status, [], b"<Error><Code>%s</Code></Error>" % code.encode())

    with between(s3_endpoint, refuse) as (endpoint, _):
        store = store_at(endpoint, s3_store)
        for action in (
            lambda: store.replace("a", b"x"),
            lambda: store.read("a"),
            lambda: store.list("a"),
            lambda: store.delete("a"),
            lambda: store.lock("a", wait_s=0).__enter__(),
        ):
            with pytest.raises(kind, match=re.escape(store.url)):
                action()


# Locks


@pytest.mark.parametrize("known", [True, False], ids=["a lock of ours", "an object of unknown make"])
def test_a_dead_holders_lock_is_free_once_its_lease_expires(s3_store: S3Store, boto: Any, known: bool) -> None:
    def leave(lease_s: float) -> None:
        left = {"token": "dead", "holder": "process 1 on elsewhere", "lease_s": lease_s}
        boto.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(left if known else ["?"]).encode())

    key = key_in(s3_store, "_locks/day")
    leave(lease_s=60)
    with pytest.raises(UnavailableError, match="process 1 on elsewhere" if known else "another process"):
        s3_store.lock("day", wait_s=0).__enter__()
    leave(lease_s=0.5)
    impatient = S3Store(s3_store.url, s3_store._settings, lease_s=0.5)
    with impatient.lock("day", wait_s=20):
        assert json.loads(boto.get_object(Bucket=BUCKET, Key=key)["Body"].read())["token"] != "dead"
    assert "Contents" not in boto.list_objects_v2(Bucket=BUCKET, Prefix=key)


def test_a_living_holder_keeps_its_lock_beyond_the_lease(s3_store: S3Store, boto: Any) -> None:
    key = key_in(s3_store, "_locks/day")
    store = S3Store(s3_store.url, s3_store._settings, lease_s=0.6)
    with store.lock("day", wait_s=0):
        first = boto.head_object(Bucket=BUCKET, Key=key)["ETag"]
        ends_at = time.monotonic() + 10
        while boto.head_object(Bucket=BUCKET, Key=key)["ETag"] == first and time.monotonic() < ends_at:
            time.sleep(0.05)
        assert boto.head_object(Bucket=BUCKET, Key=key)["ETag"] != first


def test_a_lost_lock_is_reported_when_it_is_released(s3_store: S3Store, boto: Any) -> None:
    key = key_in(s3_store, "_locks/day")
    lost = pytest.raises(UnavailableError, match="was lost while it was held")
    with lost, s3_store.lock("day", wait_s=0):
        boto.put_object(Bucket=BUCKET, Key=key, Body=b'{"token": "thief", "lease_s": 60}')
    assert b"thief" in boto.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def test_a_lost_lock_does_not_hide_the_error_inside(s3_store: S3Store, boto: Any) -> None:
    def fail() -> None:
        with s3_store.lock("day", wait_s=0):
            boto.delete_object(Bucket=BUCKET, Key=key_in(s3_store, "_locks/day"))
            raise RuntimeError("of the caller")

    with pytest.raises(RuntimeError, match="of the caller"):
        fail()


def test_a_lock_is_held_even_if_the_responses_are_lost(s3_store: S3Store, s3_endpoint: str, boto: Any) -> None:
    statuses = []

    def lose_every_second_put(method: str, path: str, answer: Answer) -> Answer:
        if method == "PUT":
            statuses.append(answer.status)
            answer.cut = len(statuses) % 2 == 1
        return answer

    with between(s3_endpoint, lose_every_second_put) as (endpoint, _):
        store = store_at(endpoint, s3_store, lease_s=60)
        with store.lock("day", wait_s=5), pytest.raises(UnavailableError):
            s3_store.lock("day", wait_s=0).__enter__()
    assert statuses == [200, 412, 200, 412]
    with s3_store.lock("day", wait_s=0):
        pass


def test_a_lock_that_cannot_be_renewed_for_a_whole_lease_is_lost(s3_store: S3Store, s3_endpoint: str) -> None:
    broken = threading.Event()

    def refuse_when_broken(method: str, path: str, answer: Answer) -> Answer:
        if broken.is_set():
            return Answer(403, [], b"<Error><Code>AccessDenied</Code></Error>")
        return answer

    lost = pytest.raises(UnavailableError, match="was lost while it was held")
    with between(s3_endpoint, refuse_when_broken) as (endpoint, _), lost:
        store = store_at(endpoint, s3_store, lease_s=0.3)
        with store.lock("day", wait_s=0):
            broken.set()
            time.sleep(0.5)


def test_a_full_temporary_folder_is_a_store_error(s3_store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(28, "No space left on device")

    with s3_store.stage("day") as staging:
        monkeypatch.setattr(staging, "_spool", Full())
        with pytest.raises(StoreError, match="No space left"):
            staging.write(b"x")


def test_an_object_missing_from_a_listing_is_checked_with_head(
    s3_store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_store.create("day/listed.mp3", b"12345")
    s3_store.create("day/unlisted.mp3", b"123")
    whole = S3Store.list
    monkeypatch.setattr(
        S3Store, "list", lambda self, folder: [item for item in whole(self, folder) if "unlisted" not in item.path]
    )
    paths = ["day/listed.mp3", "day/unlisted.mp3", "day/gone.mp3"]
    assert s3_store.sizes("day", paths) == {"day/listed.mp3": 5, "day/unlisted.mp3": 3}
    monkeypatch.setattr(S3Store, "stat", lambda self, path: Unknown("HEAD answered 503"))
    with pytest.raises(UnavailableError, match="503"):
        s3_store.sizes("day", paths)

"""The S3 landing against a real server, and against servers that lie."""

import hashlib
import itertools
import re
import socket
import struct
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pytest
from moto.s3.models import s3_backends

from callarchive.domain.errors import (
    AccessDeniedError,
    ConfigurationError,
    ObjectNotFoundError,
    TransferError,
    UnavailableError,
)
from callarchive.domain.evidence import Absent, Evidence, Present, Unknown
from callarchive.settings import AccountSettings, S3Settings, Secret, TransferSettings
from callarchive.storage.landing import Listing
from callarchive.storage.landing.places import PlaceRefusedError
from callarchive.storage.landing.s3.landing import S3Landing

BUCKET = "the-bucket"
"""The prefix of `boto`'s objects."""
TOKEN = "session-token-that-must-not-travel"
NOT_THERE = Absent("no listing shows it, and HEAD answered 404")
ETAG = "0123456789abcdef0123456789abcdef"
NAMES = [
    "019b-20260101.mp3",
    "2026-01-01T10:00:00.000Z.mp3",
    "2026-01-01T10%3A00%3A00.mp3",
    "100%.mp3",
    "%2F%25.mp3",
    "a+b c&d=e;f,g@h$.mp3",
    "#?*'()!~[]{}^`|\"<>.mp3",
    "ünïcode 日本\u2028.mp3",
    "e\u0301 and \u00e9.mp3",
    " spaces at the ends ",
    "...",
    "x..y",
]
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def aws_environment(aws_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own, with temporary credentials."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)


def landing_at(endpoint: str, prefix: str, *, bucket: str = BUCKET, **transfer: float) -> S3Landing:
    account = AccountSettings(
        subaccount_id="acme",
        api_key=Secret(env="UNUSED"),
        landing=f"s3://{bucket}/{prefix}".rstrip("/"),
        s3=S3Settings(endpoint_url=endpoint, region="us-east-1"),
        session_sources=({"kind": "log_export"},),  # type: ignore[arg-type] # validated by pydantic
    )
    limits = {"stall_timeout_s": 5.0, "deadline_s": 20.0, **transfer}
    return S3Landing(account, TransferSettings(**limits), concurrency=8)  # type: ignore[arg-type]


def there(findings: dict[str, Evidence[str]]) -> set[str]:
    """Folders that were found, where the others are absent."""
    assert not any(isinstance(finding, Unknown) for finding in findings.values())
    return {name for name, finding in findings.items() if isinstance(finding, Present)}


@pytest.fixture
def prefix() -> str:
    return f"my recordings/path-{next(_numbers)}"


@pytest.fixture
def landing(s3_endpoint: str, boto: Any, prefix: str) -> Iterator[S3Landing]:
    landing = landing_at(s3_endpoint, prefix.replace(" ", "%20"))
    yield landing
    landing.close()


def put_many(prefix: str, count: int) -> None:
    """Puts objects past the network, which would take seconds."""
    backend = s3_backends["123456789012"]["aws"]
    for number in range(count):
        backend.put_object(BUCKET, f"{prefix}/{number:05d}.mp3", b"x")


# What should work


def test_an_object_is_read_whole_and_described_by_the_response(landing: S3Landing, boto: Any, prefix: str) -> None:
    data = bytes(range(256)) * 12_345
    before = datetime.now(UTC) - timedelta(seconds=2)
    boto.put_object(Bucket=BUCKET, Key=f"{prefix}/2026-01-01/a.mp3", Body=data)
    with landing.open("2026-01-01/a.mp3") as download:
        chunks = list(download)
        download.verify_md5(hashlib.md5(data).hexdigest())
    assert b"".join(chunks) == data
    assert all(0 < len(chunk) <= 1024 * 1024 for chunk in chunks)
    assert download.object.path == "2026-01-01/a.mp3"
    assert download.object.uri == f"s3://{BUCKET}/{prefix}/2026-01-01/a.mp3"
    assert download.object.size_bytes == 256 * 12_345
    assert download.object.etag == hashlib.md5(data).hexdigest()
    assert download.object.modified_at is not None
    assert before <= download.object.modified_at <= datetime.now(UTC)


@pytest.mark.parametrize("name", NAMES)
def test_every_sane_key_reaches_the_server_unchanged(landing: S3Landing, boto: Any, prefix: str, name: str) -> None:
    boto.put_object(Bucket=BUCKET, Key=f"{prefix}/day/{name}", Body=name.encode())
    with landing.open(f"day/{name}") as download:
        assert b"".join(download) == name.encode()
    listed = landing.list("day").objects
    assert [item.path for item in listed] == [f"day/{name}"]
    assert landing.stat_many([f"day/{name}"]) == {f"day/{name}": Present(listed[0])}
    assert listed[0].same_as(
        size_bytes=download.object.size_bytes, etag=download.object.etag, modified_at=download.object.modified_at
    )


def test_an_empty_object_has_no_chunks(landing: S3Landing, boto: Any, prefix: str) -> None:
    boto.put_object(Bucket=BUCKET, Key=f"{prefix}/empty", Body=b"")
    with landing.open("empty") as download:
        assert list(download) == []
    assert download.object.size_bytes == 0


def test_a_listing_names_every_object_once_and_those_without_bytes(landing: S3Landing, boto: Any, prefix: str) -> None:
    put_many(prefix, 1500)
    boto.put_object(Bucket=BUCKET, Key=f"{prefix}/01200-empty.mp3", Body=b"")
    expected = sorted([*(f"{number:05d}.mp3" for number in range(1500)), "01200-empty.mp3"])
    assert [item.path for page in landing.pages("") for item in page.objects] == expected
    assert {item.uri for item in landing.list("").objects} == {landing.uri_of(path) for path in expected}


def test_listings_are_deep_and_contain_only_objects_of_that_folder(landing: S3Landing, boto: Any, prefix: str) -> None:
    for key in ("day/a", "day/deep/er/b", "day/", "day/../c", "day//d", "day/e/", "day/./f", "day2/g", "day/t\tb"):
        boto.put_object(Bucket=BUCKET, Key=f"{prefix}/{key}", Body=b"x")
    assert [item.path for item in landing.list("day").objects] == ["day/a", "day/deep/er/b"]
    assert [item.path for item in landing.list("").objects] == ["day/a", "day/deep/er/b", "day2/g"]
    assert landing.list("da") == Listing([])


def test_a_landing_may_be_a_whole_bucket(s3_endpoint: str, boto: Any) -> None:
    boto.create_bucket(Bucket="whole-bucket")
    boto.put_object(Bucket="whole-bucket", Key="top", Body=b"x")
    boto.put_object(Bucket="whole-bucket", Key="/absolute", Body=b"x")
    landing = landing_at(s3_endpoint, "", bucket="whole-bucket")
    assert [(item.path, item.uri) for item in landing.list("").objects] == [("top", "s3://whole-bucket/top")]
    with landing.open("top") as download:
        assert b"".join(download) == b"x"
    landing.check()
    landing.close()
    landing.close()


def test_listings_of_several_pages_are_complete(landing: S3Landing, boto: Any, prefix: str) -> None:
    put_many(f"{prefix}/day", 1_003)
    assert [item.path for item in landing.list("day").objects] == [f"day/{number:05d}.mp3" for number in range(1_003)]


@pytest.mark.parametrize("last_of_page", ["day/00998.mp3", "day/00998//odd.mp3", "day/00998/"])
def test_a_listing_continues_after_an_odd_page(landing: S3Landing, boto: Any, prefix: str, last_of_page: str) -> None:
    boto.put_object(Bucket=BUCKET, Key=f"{prefix}/day/", Body=b"")
    put_many(f"{prefix}/day", 2_100)
    names = [f"day/{number:05d}.mp3" for number in range(2_100)]
    if last_of_page not in names:
        boto.put_object(Bucket=BUCKET, Key=f"{prefix}/{last_of_page}", Body=b"")
        boto.put_object(Bucket=BUCKET, Key=f"{prefix}/day/02050/", Body=b"")
    assert [item.path for page in landing.pages("day") for item in page.objects] == names


@pytest.mark.parametrize("limit", ["_LEVEL_PAGES", "_FOLDERS_EACH", None])
def test_skipped_folders_are_omitted_unless_too_many_are_left(
    landing: S3Landing, boto: Any, prefix: str, monkeypatch: pytest.MonkeyPatch, limit: str | None
) -> None:
    folders_are_too_many = limit is not None
    if limit is not None:
        monkeypatch.setattr(f"callarchive.storage.landing.s3.listing.{limit}", 0)
    for path in ("wanted/a.mp3", "wanted/b/c.mp3", "other/d.mp3", "e.mp3", "/f.mp3", "g//h.mp3"):
        boto.put_object(Bucket=BUCKET, Key=f"{prefix}/{path}", Body=b"x")
    found = {item.path for page in landing.pages("", skip=lambda folder: folder == "other") for item in page.objects}
    assert found - {"other/d.mp3"} == {"wanted/a.mp3", "wanted/b/c.mp3", "e.mp3"}
    assert ("other/d.mp3" in found) == folders_are_too_many
    below = {
        item.path for page in landing.pages("wanted", skip=lambda folder: folder == "wanted/b") for item in page.objects
    }
    assert below - {"wanted/b/c.mp3"} == {"wanted/a.mp3"}


def test_a_folder_exists_when_an_object_is_below_it(landing: S3Landing, boto: Any, prefix: str) -> None:
    boto.put_object(Bucket=BUCKET, Key=f"{prefix}/marker/", Body=b"")
    boto.put_object(Bucket=BUCKET, Key=f"{prefix}/full/", Body=b"")
    boto.put_object(Bucket=BUCKET, Key=f"{prefix}/full/a", Body=b"")
    assert there(landing.existing_folders(["full", "marker", "ful", "zero"])) == {"full", "marker"}


@pytest.mark.parametrize("between", [0, 1, 100])
def test_folders_are_found_whatever_is_between_them(landing: S3Landing, boto: Any, prefix: str, between: int) -> None:
    names = [f"2026-03-{number:02d}" for number in range(1, 10)]
    for name in (*names[::2], "2026-02-28", "2026-04-01", "zzz"):
        boto.put_object(Bucket=BUCKET, Key=f"{prefix}/{name}/session/file.mp3", Body=b"x")
    for number in range(between):  # neither in a folder nor behind them all
        boto.put_object(Bucket=BUCKET, Key=f"{prefix}/2026-03-04_{number:03d}.txt", Body=b"x")
    assert there(landing.existing_folders(names)) == set(names[::2])
    assert there(landing.existing_folders(names[:1])) == {names[0]}
    assert there(landing.existing_folders(names[1:2])) == set()
    assert there(landing.existing_folders(["2027-01-01"])) == set()


def test_folders_of_a_whole_bucket_are_found(s3_endpoint: str, boto: Any) -> None:
    boto.create_bucket(Bucket="bare-folders")
    boto.put_object(Bucket="bare-folders", Key="2026-03-02/session/file.mp3", Body=b"x")
    with closing(landing_at(s3_endpoint, "", bucket="bare-folders")) as whole:
        assert there(whole.existing_folders(["2026-03-01", "2026-03-02", "2026-03-03"])) == {"2026-03-02"}


def requests_of(landing: S3Landing) -> list[str]:
    """Grows by the method of every request that boto3 sends for this landing."""
    methods: list[str] = []

    def note(request: Any, **_: Any) -> None:
        methods.append(request.method)

    landing._bucket.client().meta.events.register("before-send.s3", note)
    return methods


def test_many_stats_cost_a_listing_and_no_request_each(landing: S3Landing, boto: Any, prefix: str) -> None:
    put_many(f"{prefix}/day", 500)
    wanted = [f"day/{number:05d}.mp3" for number in range(100, 300)] + ["day/00150.mp3x", "day/zzz"]
    sent = requests_of(landing)
    stats = landing.stat_many(wanted)
    assert sent == ["GET", "HEAD", "HEAD"], "HEADs only of what the listing does not show"
    assert set(stats) == set(wanted)
    assert {path for path, item in stats.items() if item == NOT_THERE} == {
        "day/00150.mp3x",
        "day/zzz",
    }
    unconfirmed = landing.stat_many(wanted, confirm_absent=False)
    assert sent[3:] == ["GET"]
    assert {path for path, item in unconfirmed.items() if isinstance(item, Unknown)} == {"day/00150.mp3x", "day/zzz"}
    found = {path: item.value for path, item in stats.items() if isinstance(item, Present)}
    assert all(item.size_bytes == 1 and item.path == path for path, item in found.items())


def test_stats_of_few_among_very_many_do_not_list_them_all(landing: S3Landing, boto: Any, prefix: str) -> None:
    put_many(f"{prefix}/b", 4_500)
    boto.put_object(Bucket=BUCKET, Key=f"{prefix}/a", Body=b"12")
    boto.put_object(Bucket=BUCKET, Key=f"{prefix}/c", Body=b"123")
    sent = requests_of(landing)
    stats = landing.stat_many(["a", "b/none", "c"])
    assert sorted(sent) == [*["GET"] * 5, *["HEAD"] * 2], "the listing was given up; what is not there costs one more"
    found = {path: item.value.size_bytes for path, item in stats.items() if isinstance(item, Present)}
    assert (found, stats["b/none"]) == ({"a": 2, "c": 3}, NOT_THERE)
    assert landing.stat_many([]) == {}


def test_many_threads_may_read_at_once(landing: S3Landing, boto: Any, prefix: str) -> None:
    for number in range(24):
        boto.put_object(Bucket=BUCKET, Key=f"{prefix}/{number}", Body=bytes([number]) * 10_000)

    def read(number: int) -> bytes:
        with landing.open(str(number)) as download:
            return b"".join(download)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(24))) == [bytes([number]) * 10_000 for number in range(24)]


# What is not there, not allowed, not a path


def test_a_missing_object_is_not_found(landing: S3Landing, prefix: str) -> None:
    with pytest.raises(ObjectNotFoundError, match=re.escape(f"{prefix}/day/none.mp3")):
        landing.open("day/none.mp3").__enter__()


def test_a_missing_bucket_is_a_configuration_error(s3_endpoint: str) -> None:
    landing = landing_at(s3_endpoint, "x", bucket="no-such-bucket")
    for action in (landing.check, lambda: landing.open("a").__enter__(), lambda: landing.list("a")):
        with pytest.raises(ConfigurationError, match="no such bucket"):
            action()
    landing.close()


@pytest.mark.parametrize(
    "path", ["../x", "/x", "a/../x", "a//x", "a/", "", "a\0b", "a\\b", "a\tb", "x" * 1025, "日" * 342, "\ud800"]
)
def test_a_bad_path_is_refused_before_anything_is_sent(path: str) -> None:
    with Liar(reset) as liar, closing(landing_at(liar.endpoint, "root")) as landing:
        for action in (
            lambda: landing.open(path).__enter__(),
            lambda: landing.list(path or "/"),
            lambda: landing.existing_folders(["fine", path or "/"]),
            lambda: landing.stat_many(["fine", path]),
        ):
            with pytest.raises(PlaceRefusedError):
                action()
        assert liar.requests == []


# Servers that lie, stall, drip, refuse


class Liar:
    """A server that does what `answer` says, once a connection. Listens while it is entered."""

    def __init__(self, answer: Callable[[socket.socket, str], None]) -> None:
        self.requests: list[str] = []
        self._answer = answer
        self._over = ExitStack()

    def __enter__(self) -> Self:
        listener = self._over.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port: int = listener.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._stopped = threading.Event()
        thread = threading.Thread(target=self._serve, args=(listener,))
        thread.start()
        self._over.callback(thread.join)
        self._over.callback(listener.shutdown, socket.SHUT_RDWR)
        self._over.callback(self._stopped.set)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.close()

    def pause(self, seconds: float) -> None:
        """Waits, but not beyond the end of the test."""
        self._stopped.wait(seconds)

    def _serve(self, listener: socket.socket) -> None:
        with ThreadPoolExecutor(16) as pool:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                pool.submit(self._talk, connection)

    def _talk(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                received = connection.recv(65536)
                if not received:
                    return
                head += received
            self.requests.append(head.decode())
            self._answer(connection, head.decode())


def answer_with(
    body: bytes, *, status: str = "200 OK", length: int | None = None, etag: str = ETAG, extra: str = ""
) -> bytes:
    said = len(body) if length is None else length
    head = (
        f'HTTP/1.1 {status}\r\nETag: "{etag}"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n'
        f"Content-Length: {said}\r\nConnection: close\r\n{extra}\r\n"
    )
    return head.encode() + body


def error_with(status: str, code: str, inner: str = "") -> bytes:
    return answer_with(f"<Error><Code>{code}</Code>{inner}</Error>".encode(), status=status)


def reset(connection: socket.socket, request: str) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def read_from(answer: Callable[[socket.socket, str], None], **transfer: float) -> tuple[bytes, "Liar"]:
    """What is read of an object at a server that answers so, and the server, stopped."""
    limits = {"stall_timeout_s": 0.3, "deadline_s": 1.0, **transfer}
    with ExitStack() as closers:
        liar = closers.enter_context(Liar(answer))
        landing = closers.enter_context(closing(landing_at(liar.endpoint, "root", bucket=BUCKET, **limits)))
        return b"".join(closers.enter_context(landing.open("day/a.mp3"))), liar


def test_a_body_that_ends_early_is_an_error() -> None:
    with pytest.raises(TransferError, match=r"s3://the-bucket/root/day/a\.mp3: .* of 1000 bytes"):
        read_from(lambda connection, _: connection.sendall(answer_with(b"x" * 500, length=1000)))


def test_a_reset_within_the_body_is_an_error() -> None:
    def answer(connection: socket.socket, request: str) -> None:
        connection.sendall(answer_with(b"x" * 500, length=1000))
        reset(connection, request)

    with pytest.raises(TransferError, match="1000 bytes"):
        read_from(answer)


def test_a_server_that_only_resets_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match="root/day/a"):
        read_from(reset)


def test_a_broken_body_is_resumed_and_completed() -> None:
    def answer(connection: socket.socket, request: str) -> None:
        if "range: bytes=600-999" in request.lower():
            part = "Content-Range: bytes 600-999/1000\r\n"
            connection.sendall(answer_with(b"b" * 400, status="206 Partial Content", extra=part))
        else:
            connection.sendall(answer_with(b"a" * 600, length=1000))

    data, liar = read_from(answer)
    assert data == b"a" * 600 + b"b" * 400
    assert len(liar.requests) == 2


def test_a_body_is_not_resumed_with_another_object() -> None:
    def answer(connection: socket.socket, request: str) -> None:
        if "range:" in request.lower():
            part = "Content-Range: bytes 600-999/1000\r\n"
            connection.sendall(answer_with(b"b" * 400, status="206 Partial Content", extra=part, etag="f" * 32))
        else:
            connection.sendall(answer_with(b"a" * 600, length=1000))

    with pytest.raises(TransferError):
        read_from(answer)


@pytest.mark.parametrize("extra", ["", "Transfer-Encoding: chunked\r\n"], ids=["until closed", "chunked"])
def test_a_body_of_unknown_length_is_refused(extra: str) -> None:
    body = "5\r\nhello\r\n0\r\n\r\n" if extra else "hello"
    head = f'HTTP/1.1 200 OK\r\nETag: "{ETAG}"\r\nConnection: close\r\n{extra}\r\n'
    with pytest.raises(TransferError, match="no Content-Length"):
        read_from(lambda connection, _: connection.sendall((head + body).encode()))


def test_a_stall_is_cut_off_and_so_is_a_stalled_resumption() -> None:
    with Liar(lambda connection, _: (connection.sendall(answer_with(b"x", length=9)), liar.pause(30))[1]) as liar:
        landing = landing_at(liar.endpoint, "root", stall_timeout_s=0.2, deadline_s=2.0)
        began_at = time.monotonic()
        with closing(landing), landing.open("a") as download, pytest.raises(TransferError, match="of 9 bytes"):
            list(download)
    assert time.monotonic() - began_at < 5


def test_no_response_is_an_outage() -> None:
    with Liar(lambda connection, _: liar.pause(30)) as liar:
        landing = landing_at(liar.endpoint, "root", stall_timeout_s=0.2, deadline_s=2.0)
        with closing(landing), pytest.raises(UnavailableError, match="nothing came"):
            landing.open("a").__enter__()


def test_a_drip_is_cut_off_at_the_deadline() -> None:
    def answer(connection: socket.socket, _: str) -> None:
        connection.sendall(answer_with(b"", length=10_000))
        for _byte in range(300):
            connection.sendall(b"x")
            liar.pause(0.1)

    with Liar(answer) as liar:
        landing = landing_at(liar.endpoint, "root", stall_timeout_s=5.0, deadline_s=1.0)
        began_at = time.monotonic()
        with closing(landing), landing.open("a") as download, pytest.raises(TransferError, match="deadline"):
            list(download)
    assert time.monotonic() - began_at < 10


def test_bytes_that_differ_from_the_etag_are_refused() -> None:
    def answer(connection: socket.socket, request: str) -> None:
        body = b"" if request.startswith("HEAD") else b"other bytes"
        connection.sendall(answer_with(body, length=len(b"other bytes")))

    with Liar(answer) as liar, closing(landing_at(liar.endpoint, "root")) as landing, landing.open("a") as download:
        data = b"".join(download)
        with pytest.raises(TransferError, match=ETAG):
            download.verify_md5(hashlib.md5(data).hexdigest())
        download.verify_md5(ETAG)


def test_an_object_that_changed_since_is_refused() -> None:
    def answer(connection: socket.socket, request: str) -> None:
        if request.startswith("HEAD"):
            connection.sendall(
                answer_with(b"", length=4, etag="f" * 32, extra="x-amz-server-side-encryption: aws:kms\r\n")
            )
        else:
            connection.sendall(answer_with(b"data"))

    changed = pytest.raises(TransferError, match="changed while")
    with Liar(answer) as liar, closing(landing_at(liar.endpoint, "root")) as landing:  # noqa: SIM117 - too long a line
        with landing.open("a") as download, changed:
            download.verify_md5("0" * 32)


def test_an_etag_that_is_not_a_hash_proves_nothing(landing: S3Landing, boto: Any, prefix: str) -> None:
    boto.put_object(Bucket=BUCKET, Key=f"{prefix}/kms", Body=b"x", ServerSideEncryption="aws:kms")
    upload = boto.create_multipart_upload(Bucket=BUCKET, Key=f"{prefix}/parts")
    here = {"Bucket": BUCKET, "Key": f"{prefix}/parts", "UploadId": upload["UploadId"]}
    part = boto.upload_part(PartNumber=1, Body=b"x", **here)
    boto.complete_multipart_upload(MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}, **here)
    for path in ("kms", "parts"):
        with landing.open(path) as download:
            download.verify_md5("0" * 32)


def test_a_storm_of_503_is_an_outage_after_few_attempts() -> None:
    liars = []

    def answer(connection: socket.socket, request: str) -> None:
        liars.append(request)
        connection.sendall(error_with("503 Slow Down", "SlowDown"))

    with pytest.raises(UnavailableError, match=r"root/day/a\.mp3: S3 answered SlowDown") as caught:
        read_from(answer, deadline_s=30.0)
    assert caught.value.retryable
    assert 2 <= len(liars) <= 5


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        ("403 Forbidden", "AccessDenied", "s3:ListBucket"),
        ("403 Forbidden", "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
        ("403 Forbidden", "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        ("403 Forbidden", "RequestTimeTooSkewed", "clock"),
        ("400 Bad Request", "ExpiredToken", "expired"),
        ("401 Unauthorized", "Unauthorized", "access denied"),
    ],
)
def test_a_refusal_is_reported_at_once_and_without_secrets(status: str, code: str, says: str) -> None:
    def answer(connection: socket.socket, _: str) -> None:
        connection.sendall(error_with(status, code, f"<Token-0>{TOKEN}</Token-0>"))

    with Liar(answer) as liar, closing(landing_at(liar.endpoint, "root")) as landing:
        for action in (lambda: landing.open("a").__enter__(), lambda: landing.list("a"), landing.check):
            with pytest.raises(AccessDeniedError, match=says) as caught:
                action()
            assert "s3://the-bucket/root" in str(caught.value)
            assert TOKEN not in "".join(traceback.format_exception(caught.value))
        assert len(liar.requests) == 4, "of a folder that is refused the root is asked for, too"


def test_an_archived_object_fails_alone() -> None:
    with pytest.raises(TransferError, match="restore it"):
        read_from(lambda connection, _: connection.sendall(error_with("403 Forbidden", "InvalidObjectState")))


@pytest.mark.parametrize("aws", [True, False], ids=["AWS", "elsewhere"])
def test_a_bucket_in_another_region_is_a_configuration_error_where_regions_count(
    aws: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(connection: socket.socket, _: str) -> None:
        body = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
        connection.sendall(answer_with(body, extra="x-amz-bucket-region: eu-west-1\r\n"))

    with Liar(answer) as liar:
        monkeypatch.setenv("HTTP_PROXY", liar.endpoint)  # so that what is meant for AWS comes here
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        endpoint = "http://s3.us-east-1.amazonaws.com" if aws else liar.endpoint
        named = pytest.raises(ConfigurationError, match="eu-west-1") if aws else nullcontext()
        with closing(landing_at(endpoint, "root")) as landing, named:
            landing.check()
        assert len(liar.requests) == 1


def test_an_endpoint_of_another_region_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="another region"):
        read_from(lambda connection, _: connection.sendall(error_with("301 Moved", "PermanentRedirect")))


def test_a_redirect_to_another_host_is_refused_and_nothing_reaches_it() -> None:
    with Liar(lambda connection, _: connection.sendall(answer_with(b"evil"))) as elsewhere:
        to = f"Location: http://localhost:{elsewhere.port}/evil\r\n"
        with pytest.raises(UnavailableError, match="redirects to another host"):
            read_from(
                lambda connection, _: connection.sendall(answer_with(b"", status="307 Moved", extra=to)),
                deadline_s=20.0,
            )
        assert elsewhere.requests == []


def test_an_endpoint_that_refuses_connections_is_unavailable() -> None:
    with Liar(reset) as liar:
        pass
    with closing(landing_at(liar.endpoint, "root")) as landing:
        with pytest.raises(UnavailableError, match=r"root/a: the endpoint refuses connections"):
            landing.open("a").__enter__()
        with pytest.raises(UnavailableError, match="cannot be reached"):
            landing.check()


def test_a_web_server_is_not_an_empty_landing() -> None:
    raises = pytest.raises(UnavailableError, match="endpoint_url")
    with Liar(lambda connection, _: connection.sendall(answer_with(b"", status="404 Not Found"))) as liar:  # noqa: SIM117
        with closing(landing_at(liar.endpoint, "root")) as landing, raises:
            landing.check()

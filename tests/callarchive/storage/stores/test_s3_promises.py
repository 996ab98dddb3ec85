"""A bucket is tested for conditional writes before the first lock or write-once name."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from callarchive.domain.errors import AlreadyExistsError, ConfigurationError, StoreError, UnavailableError
from callarchive.settings import S3Settings
from callarchive.storage.stores.s3 import S3Store
from callarchive.storage.stores.s3_promises import Promises, try_promises

BUCKET = "the-bucket"
Start = Callable[..., str]


def ignore_all(exchange: Any) -> None:
    exchange.drop("if-none-match", "if-match")


def ignore_if_none_match(exchange: Any) -> None:
    exchange.drop("if-none-match")


def ignore_if_match(exchange: Any) -> None:
    exchange.drop("if-match")


def accept_without_writing(exchange: Any) -> None:
    if exchange.method == "PUT" and exchange.condition == "if-none-match":
        exchange.status = 200


def refuse_all(exchange: Any) -> None:
    if exchange.condition:
        exchange.status, exchange.body = 412, b"<Error><Code>PreconditionFailed</Code></Error>"


def not_implemented(status: int, code: str) -> Callable[[Any], None]:
    def refuse(exchange: Any) -> None:
        if exchange.condition:
            exchange.status, exchange.body = status, f"<Error><Code>{code}</Code></Error>".encode()

    return refuse


def no_put_etag(exchange: Any) -> None:
    if exchange.method == "PUT":
        exchange.drop("etag")


def no_get_etag(exchange: Any) -> None:
    if exchange.method == "GET":
        exchange.drop("etag")


def one_etag_for_all(exchange: Any) -> None:
    exchange.drop("etag")
    exchange.headers["ETag"] = '"' + "a" * 32 + '"'


def no_times(exchange: Any) -> None:
    exchange.drop("last-modified")


def old_times(exchange: Any) -> None:
    if exchange.method == "GET":
        exchange.drop("last-modified")
        exchange.headers["Last-Modified"] = "Thu, 01 Jan 1970 00:00:00 GMT"


def by(endpoint: str, like: S3Store, *, lease_s: float = 30.0) -> S3Store:
    return S3Store(like.url, S3Settings(endpoint_url=endpoint, region="us-east-1"), lease_s=lease_s)


def left_in(store: S3Store, boto: Any) -> list[str]:
    prefix = store.uri("x").removeprefix(f"s3://{BUCKET}/")[:-1]
    listed = boto.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [entry["Key"].removeprefix(prefix) for entry in listed.get("Contents", ())]


def assert_unusable(store: S3Store, boto: Any, what: str, *, creates: bool = True) -> None:
    """Assert that locks and, with `creates`, names are refused, with the store, the reason and the next step."""
    said = rf"{re.escape(store.url)}: .*{what}.*docs/stores\.md"
    with pytest.raises(ConfigurationError, match=said) as caught, store.lock("day", wait_s=0):
        pass
    assert caught.value.exit_code == 2
    if creates:
        with pytest.raises(ConfigurationError, match=said):
            store.create("a.mp3", b"x")
        with store.stage("day") as staging, pytest.raises(ConfigurationError, match=said):
            staging.commit("day/a.mp3")
    with pytest.raises(ConfigurationError, match=said):
        store.prove(locks=True)
    assert left_in(store, boto) == [], "the test cleaned up, and nothing was written"


@pytest.mark.parametrize(
    ("lie", "what"),
    [
        (ignore_all, "answered 200 to a PUT with If-None-Match: .*overwrote"),
        (ignore_if_none_match, "answered 200 to a PUT with If-None-Match: .*overwrote"),
        (ignore_if_match, "answered 200 to a PUT with If-Match and another ETag.*overwrote"),
        (accept_without_writing, "could not be read back"),
        (refuse_all, "answered 412 PreconditionFailed to a PUT with If-None-Match: .*free"),
        (not_implemented(501, "NotImplemented"), "answered 501 NotImplemented to a PUT with If-None-Match"),
        (not_implemented(400, "InvalidArgument"), "answered 400 InvalidArgument to a PUT with If-None-Match"),
    ],
)
def test_without_conditional_writes_there_are_no_locks_and_no_names(
    s3_store: S3Store, s3_endpoint: str, boto: Any, meddling_server: Start, lie: Callable[[Any], None], what: str
) -> None:
    assert_unusable(by(meddling_server(s3_endpoint, asked=lie), s3_store), boto, what)


@pytest.mark.parametrize("condition", ["if-none-match", "if-match"])
def test_a_store_that_refuses_but_overwrites_is_detected(
    s3_store: S3Store, s3_endpoint: str, boto: Any, meddling_server: Start, condition: str
) -> None:
    dropped: set[int] = set()

    def write_anyway(exchange: Any) -> None:
        if exchange.method == "PUT" and exchange.condition == condition:
            dropped.add(id(exchange))
            exchange.before = client_has(exchange)
            exchange.drop(condition)

    def client_has(exchange: Any) -> bool:
        key = exchange.path.partition("?")[0].removeprefix(f"/{BUCKET}/")
        return bool(boto.list_objects_v2(Bucket=BUCKET, Prefix=key).get("Contents"))

    def say_refused(exchange: Any) -> None:
        if id(exchange) in dropped and exchange.before:
            exchange.status, exchange.body = 412, b"<Error><Code>PreconditionFailed</Code></Error>"

    endpoint = meddling_server(s3_endpoint, asked=write_anyway, answered=say_refused)
    assert_unusable(by(endpoint, s3_store), boto, "412 PreconditionFailed .*overwrote the object")


@pytest.mark.parametrize(
    ("lie", "what"),
    [
        (no_put_etag, "response to a PUT has no ETag"),
        (no_get_etag, "response to a GET has no ETag"),
        (one_etag_for_all, "ETag"),
        (no_times, "have no Date or no Last-Modified"),
        (old_times, "Last-Modified of a new object is .* before"),
    ],
)
def test_without_etags_and_times_there_are_no_locks(
    s3_store: S3Store, s3_endpoint: str, boto: Any, meddling_server: Start, lie: Callable[[Any], None], what: str
) -> None:
    assert_unusable(by(meddling_server(s3_endpoint, answered=lie), s3_store), boto, what, creates=False)


def test_if_match_on_a_free_name_must_be_refused(
    s3_store: S3Store, s3_endpoint: str, boto: Any, meddling_server: Start
) -> None:
    def create_all_the_same(exchange: Any) -> None:
        key = exchange.path.partition("?")[0].removeprefix(f"/{BUCKET}/")
        if exchange.condition == "if-match" and not boto.list_objects_v2(Bucket=BUCKET, Prefix=key).get("Contents"):
            exchange.drop("if-match")

    endpoint = meddling_server(s3_endpoint, asked=create_all_the_same)
    assert_unusable(by(endpoint, s3_store), boto, "200 to a PUT with If-Match on a name that was free", creates=False)


def test_a_store_with_only_if_none_match_has_names_but_no_locks(
    s3_store: S3Store, s3_endpoint: str, boto: Any, meddling_server: Start
) -> None:
    def no_if_match(exchange: Any) -> None:
        if exchange.condition == "if-match":
            exchange.status, exchange.body = 501, b"<Error><Code>NotImplemented</Code></Error>"

    store = by(meddling_server(s3_endpoint, asked=no_if_match), s3_store)
    store.create("a.mp3", b"first")
    with pytest.raises(AlreadyExistsError):
        store.create("a.mp3", b"second")
    with pytest.raises(ConfigurationError, match="501 NotImplemented to a PUT with If-Match"):
        store.lock("day", wait_s=0).__enter__()
    assert left_in(store, boto) == ["a.mp3"]


@pytest.mark.parametrize("how", ["ignored", "refused"])
def test_a_lock_is_marked_free_if_delete_does_not_support_if_match(
    s3_store: S3Store, s3_endpoint: str, boto: Any, meddling_server: Start, how: str
) -> None:
    def only_plain_deletes(exchange: Any) -> None:
        if exchange.method == "DELETE" and exchange.condition == "if-match":
            if how == "refused":
                exchange.status, exchange.body = 501, b"<Error><Code>NotImplemented</Code></Error>"
            exchange.drop("if-match")

    store = by(meddling_server(s3_endpoint, asked=only_plain_deletes), s3_store)
    with store.lock("day", wait_s=0), pytest.raises(UnavailableError):
        store.lock("day", wait_s=0).__enter__()
    with store.lock("day", wait_s=0), pytest.raises(UnavailableError):
        store.lock("day", wait_s=0).__enter__()
    assert store.list("") == []


def test_reading_and_replacing_need_no_test(s3_store: S3Store, s3_endpoint: str, meddling_server: Start) -> None:
    asked = []
    endpoint = meddling_server(s3_endpoint, asked=lambda exchange: asked.append(exchange.method))
    store = by(endpoint, s3_store)
    store.replace("t/a", b"x")
    assert store.read("t/a") == b"x"
    assert [item.path for item in store.list("")] == ["t/a"]
    assert store.folders("") == ("t",)
    store.delete("t/a")
    assert asked == ["PUT", "GET", "GET", "GET", "DELETE"]


def test_a_process_tests_a_store_once(s3_store: S3Store, s3_endpoint: str, meddling_server: Start) -> None:
    asked: list[str] = []
    endpoint = meddling_server(s3_endpoint, asked=lambda exchange: asked.append(exchange.path))
    store = by(endpoint, s3_store)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.create(f"{n}", b"x"), range(8)))
    by(endpoint, s3_store).create("another", b"x")
    trial = [path for path in asked if "/_locks/trial-" in path]
    assert len(asked) - len(trial) == 9, "one PUT each"
    assert 0 < len(trial) <= 20


@pytest.mark.live
def test_an_outage_is_not_a_failed_test(s3_store: S3Store, s3_endpoint: str, meddling_server: Start) -> None:
    down = True

    def fail(exchange: Any) -> None:
        if down:
            exchange.status, exchange.body = 503, b"<Error><Code>SlowDown</Code></Error>"

    store = by(meddling_server(s3_endpoint, asked=fail), s3_store)
    with pytest.raises(UnavailableError):
        store.create("a.mp3", b"x")
    down = False
    store.create("a.mp3", b"x")


def test_several_processes_may_test_a_store_simultaneously(s3_store: S3Store, boto: Any) -> None:
    prefix = s3_store.uri("x").removeprefix(f"s3://{BUCKET}/")[:-1]
    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(lambda _: try_promises(s3_store._client(), BUCKET, prefix), range(4)))
    assert seen == [Promises(deletes_if_match=True)] * 4
    assert left_in(s3_store, boto) == []


# What a PUT has stored


@pytest.mark.parametrize("etag", ["of nothing", "absent"])
def test_wrong_bytes_are_deleted_even_if_the_response_has_the_right_checksum(
    s3_store: S3Store, s3_endpoint: str, boto: Any, meddling_server: Start, etag: str
) -> None:
    """moto, rclone and JuiceFS copy the checksum of the request into the response."""

    def damage(exchange: Any) -> None:
        if exchange.method == "PUT" and b"mine" in exchange.request_body:
            exchange.request_body = exchange.request_body.replace(b"mine", b"MINE")

    def hide(exchange: Any) -> None:
        if exchange.method == "PUT" and "day" in exchange.path:
            exchange.drop("etag")
            if etag == "of nothing":
                exchange.headers["ETag"] = '"' + "0" * 32 + '"'

    store = by(meddling_server(s3_endpoint, asked=damage, answered=hide), s3_store)
    with pytest.raises(StoreError, match="other bytes than were sent"):
        store.create("day/a.mp3", b"these are mine")
    with pytest.raises(StoreError, match="other bytes than were sent"):
        store.replace("day/b", b"these are mine")
    assert left_in(store, boto) == []


def test_bytes_are_read_back_if_the_response_has_no_hash(
    s3_store: S3Store, s3_endpoint: str, meddling_server: Start
) -> None:
    asked: list[str] = []

    def no_hash(exchange: Any) -> None:
        if "/_locks/" not in exchange.path:
            asked.append(exchange.method)
        exchange.drop("etag", "x-amz-checksum-sha256")

    store = by(meddling_server(s3_endpoint, answered=no_hash), s3_store)
    store.create("day/a.mp3", b"x")
    assert asked == ["PUT", "GET"]

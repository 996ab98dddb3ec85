"""Bytes from a bucket are archived when something else than their own response confirms them."""

import hashlib
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from callarchive.domain.errors import TransferError
from callarchive.domain.landing_objects import SourceEvidence
from callarchive.settings import AccountSettings, S3Settings, Secret, TransferSettings
from callarchive.storage.landing.s3.landing import S3Landing

BUCKET = "the-bucket"
DATA = bytes(range(256)) * 8


@pytest.fixture
def read(
    s3_endpoint: str, boto: Any, aws_environment: None, meddling_server: Callable[..., str]
) -> Callable[..., SourceEvidence | None]:
    """Reads an object as the archive does, through a server that changes answers. Returns what confirmed the bytes."""
    boto.put_object(Bucket=BUCKET, Key="evidence/day/a.mp3", Body=DATA)

    def through(meddle: Callable[[Any], None]) -> SourceEvidence | None:
        account = AccountSettings(
            subaccount_id="acme",
            api_key=Secret(env="UNUSED"),
            landing=f"s3://{BUCKET}/evidence",
            s3=S3Settings(endpoint_url=meddling_server(s3_endpoint, answered=meddle), region="us-east-1"),
            session_sources=({"kind": "log_export"},),  # type: ignore[arg-type] # validated by pydantic
        )
        transfer = TransferSettings(stall_timeout_s=5.0, deadline_s=20.0)
        with closing(S3Landing(account, transfer, concurrency=2)) as landing, landing.open("day/a.mp3") as download:
            data = b"".join(bytes(chunk) for chunk in download)
            if download.object.etag is not None:
                download.verify_md5(hashlib.md5(data).hexdigest())
            (listed,) = landing.list("day").objects
            source = download.object
            assert listed.same_as(size_bytes=source.size_bytes, etag=source.etag, modified_at=source.modified_at)
            return source.evidence

    return through


def without_etag(*methods: str, cut: bool = False, flip: bool = False) -> Callable[[Any], None]:
    """Answers to these methods have no ETag (`LIST`: lines of listings); GET's body is cut or flipped."""

    def meddle(exchange: Any) -> None:
        listing = exchange.method == "GET" and "list-type" in exchange.path
        if ("LIST" if listing else exchange.method) in methods:
            exchange.drop("etag")
            if listing:
                head, _, rest = exchange.body.partition(b"<ETag>")
                exchange.body = head + rest.partition(b"</ETag>")[2]
        if exchange.method == "GET" and not listing:
            if cut:
                exchange.body = exchange.body[:-100]
            if flip:
                exchange.body = b"X" + exchange.body[1:]

    return meddle


def test_the_etag_of_the_response_confirms_the_bytes(read: Callable[..., Any]) -> None:
    assert read(without_etag()) is SourceEvidence.MD5


@pytest.mark.parametrize("methods", [("GET",), ("GET", "HEAD")], ids=["of HEAD", "of a listing"])
def test_another_etag_confirms_the_bytes_where_the_response_has_none(
    read: Callable[..., Any], methods: tuple[str, ...]
) -> None:
    assert read(without_etag(*methods)) is SourceEvidence.MD5


@pytest.mark.parametrize("methods", [("GET",), ("GET", "HEAD")], ids=["by HEAD", "by a listing"])
def test_flipped_bytes_are_detected_though_the_response_has_no_etag(
    read: Callable[..., Any], methods: tuple[str, ...]
) -> None:
    with pytest.raises(TransferError, match="bytes that came have MD5"):
        read(without_etag(*methods, flip=True))


@pytest.mark.parametrize("methods", [("GET",), ("GET", "HEAD", "LIST")], ids=["an ETag on HEAD", "no ETag at all"])
def test_a_body_with_a_cut_length_is_detected(read: Callable[..., Any], methods: tuple[str, ...]) -> None:
    with pytest.raises(TransferError, match=f"{len(DATA) - 100} bytes came, the store says {len(DATA)}"):
        read(without_etag(*methods, cut=True))


def test_a_cut_body_is_detected_where_the_etag_is_not_a_hash(read: Callable[..., Any]) -> None:
    def in_parts(exchange: Any) -> None:
        without_etag(cut=True)(exchange)
        exchange.drop("etag")
        exchange.headers["ETag"] = '"' + "0" * 32 + '-2"'

    with pytest.raises(TransferError, match="bytes came, the store says"):
        read(in_parts)


def test_bytes_confirmed_only_by_their_number_are_marked(read: Callable[..., Any]) -> None:
    assert read(without_etag("GET", "HEAD", "LIST")) is SourceEvidence.SIZE


def test_a_weak_etag_confirms_the_bytes(read: Callable[..., Any]) -> None:
    def weak(exchange: Any) -> None:
        exchange.headers |= {name: f"W/{value}" for name, value in exchange.headers.items() if name.lower() == "etag"}

    assert read(weak) is SourceEvidence.MD5


def test_the_time_and_etag_that_a_response_lacks_are_those_of_the_listing(read: Callable[..., Any]) -> None:
    assert read(lambda exchange: exchange.drop("etag", "last-modified")) is SourceEvidence.MD5

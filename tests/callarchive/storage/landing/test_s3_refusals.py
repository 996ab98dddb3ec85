"""What S3, or a service that is not S3, refuses: one request, and an error that quotes it and has the right next step."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from callarchive.domain.errors import (
    AccessDeniedError,
    AnswerError,
    ArchiveError,
    ColdObjectError,
    ConfigurationError,
    RejectedRequestError,
    UnavailableError,
)
from callarchive.settings import AccountSettings, S3Settings, Secret, TransferSettings
from callarchive.storage.landing.s3.landing import S3Landing
from callarchive.storage.stores.s3 import S3Store

BUCKET = "the-bucket"
PAGE = "<!doctype html><html><body>Please sign in<br></body></html>"
KMS = (
    "User: arn:aws:iam::123456789012:user/archiver is not authorized to perform: kms:Decrypt on resource: "
    "arn:aws:kms:eu-west-1:123456789012:key/1 because no resource-based policy allows the kms:Decrypt action"
)
DENIED_BY_POLICY = (
    "User: arn:aws:iam::123456789012:user/archiver is not authorized to perform: s3:GetObject on resource: "
    "&quot;arn:aws:s3:::the-bucket/cold/a.mp3&quot; with an explicit deny in a resource-based policy"
)


def landing_at(endpoint: str, prefix: str = "cold") -> S3Landing:
    account = AccountSettings(
        subaccount_id="acme",
        api_key=Secret(env="UNUSED"),
        landing=f"s3://{BUCKET}/{prefix}",
        s3=S3Settings(endpoint_url=endpoint, region="us-east-1"),
        session_sources=({"kind": "log_export"},),  # type: ignore[arg-type] # validated by pydantic
    )
    return S3Landing(account, TransferSettings(stall_timeout_s=5.0, deadline_s=20.0), concurrency=2)


def refusal(action: Callable[[], object]) -> ArchiveError:
    with pytest.raises(ArchiveError) as caught:
        action()
    return caught.value


@pytest.fixture
def put_cold(boto: Any, aws_environment: None) -> Iterator[Callable[[str], str]]:
    """Writes an object of this storage class and returns its name."""
    keys = []

    def put(storage_class: str) -> str:
        keys.append(f"cold/{storage_class}.mp3")
        boto.put_object(Bucket=BUCKET, Key=keys[-1], Body=b"x", StorageClass=storage_class)
        return f"{storage_class}.mp3"

    yield put
    for key in keys:
        boto.delete_object(Bucket=BUCKET, Key=key)


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_a_cold_object_names_its_storage_class_and_is_read_once_it_is_restored(
    s3_endpoint: str, boto: Any, put_cold: Callable[[str], str], storage_class: str
) -> None:
    name = put_cold(storage_class)
    with closing(landing_at(s3_endpoint)) as landing:
        error = refusal(lambda: landing.open(name))
        assert isinstance(error, ColdObjectError)
        assert not error.retryable
        assert str(error).startswith(f"s3://{BUCKET}/cold/{name}: it is in storage class {storage_class}: restore it")
        assert "aws s3api restore-object" in str(error)
        boto.restore_object(Bucket=BUCKET, Key=f"cold/{name}", RestoreRequest={"Days": 1})
        with landing.open(name) as download:
            assert b"".join(download) == b"x"


@pytest.mark.parametrize("storage_class", ["GLACIER_IR", "STANDARD_IA", "INTELLIGENT_TIERING"])
def test_objects_of_classes_without_a_restore_are_read(
    s3_endpoint: str, put_cold: Callable[[str], str], storage_class: str
) -> None:
    with closing(landing_at(s3_endpoint)) as landing, landing.open(put_cold(storage_class)) as download:
        assert b"".join(download) == b"x"


def test_a_restore_in_progress_is_reported_and_not_requested_again(
    s3_endpoint: str, put_cold: Callable[[str], str], meddling_server: Callable[..., str]
) -> None:
    def restoring(exchange: Any) -> None:
        if exchange.method == "HEAD":
            exchange.headers["x-amz-restore"] = 'ongoing-request="true"'

    name = put_cold("GLACIER")
    with closing(landing_at(meddling_server(s3_endpoint, answered=restoring))) as landing:
        error = str(refusal(lambda: landing.open(name)))
    assert "storage class GLACIER and is being restored" in error
    assert "restore-object" not in error


@pytest.mark.parametrize("head", [200, 403], ids=["of HEAD", "of the error where HEAD is refused"])
def test_a_tier_of_intelligent_tiering_is_named(
    s3_endpoint: str, put_cold: Callable[[str], str], meddling_server: Callable[..., str], head: int
) -> None:
    def tiered(exchange: Any) -> None:
        if exchange.method == "HEAD":
            exchange.status = head
            exchange.headers["x-amz-archive-status"] = "DEEP_ARCHIVE_ACCESS"
        else:
            exchange.status = 403
            exchange.body = (
                b"<Error><Code>InvalidObjectState</Code><StorageClass>INTELLIGENT_TIERING</StorageClass>"
                b"<AccessTier>DEEP_ARCHIVE_ACCESS</AccessTier></Error>"
            )

    name = put_cold("INTELLIGENT_TIERING")
    with closing(landing_at(meddling_server(s3_endpoint, answered=tiered))) as landing:
        error = str(refusal(lambda: landing.open(name)))
    assert "storage class INTELLIGENT_TIERING, tier DEEP_ARCHIVE_ACCESS: restore it" in error


def test_a_cold_object_of_our_own_archive_names_its_storage_class(
    s3_settings: S3Settings, put_cold: Callable[[str], str]
) -> None:
    name = put_cold("DEEP_ARCHIVE")
    error = refusal(lambda: b"".join(S3Store(f"s3://{BUCKET}/cold", s3_settings).open(name)))
    assert isinstance(error, ColdObjectError)
    assert f"s3://{BUCKET}/cold/{name}: it is in storage class DEEP_ARCHIVE" in str(error)


def error_xml(code: str, message: str = "", more: str = "") -> str:
    return f"<Error><Code>{code}</Code><Message>{message}</Message>{more}<RequestId>1</RequestId></Error>"


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (403, error_xml("AccessDenied", KMS), AccessDeniedError, "need kms:Decrypt on the KMS key"),
        (403, error_xml("AccessDenied", "The ciphertext refers to a customer master key that does not exist"),
         AccessDeniedError, "need kms:Decrypt on the KMS key"),
        (400, error_xml("KMS.DisabledException", "arn:aws:kms:eu-west-1:1:key/1 is disabled."),
         RejectedRequestError, "KMS.DisabledException while reading (arn:aws:kms:eu-west-1:1:key/1 is disabled)"),
        (403, error_xml("AccessDenied", DENIED_BY_POLICY), AccessDeniedError, "need s3:GetObject, and no policy may deny"),
        (403, error_xml("AccessDenied", "Access Denied"),
         AccessDeniedError, "(AccessDenied): the credentials need s3:GetObject;"),
        (403, error_xml("AccessDenied", "The bucket is a Requester Pays bucket: x-amz-request-payer is missing"),
         AccessDeniedError, "turn Requester Pays off"),
        (403, error_xml("AccountProblem", "There is a problem with your account"),
         AccessDeniedError, "(AccountProblem: There is a problem with your account)"),
        (403, PAGE, AccessDeniedError, "(HTTP 403): there is no S3 error code"),
        (401, '{"message": "Missing Authentication Token"}', AccessDeniedError, "check endpoint_url"),
        (405, PAGE, RejectedRequestError, "check endpoint_url"),
        (400, "", RejectedRequestError, "check endpoint_url"),
        (400, error_xml("InvalidRequest", "The object was stored using a form of Server Side Encryption."),
         RejectedRequestError, "(The object was stored using a form of Server Side Encryption)"),
        (400, error_xml("AuthorizationHeaderMalformed", "", "<Region>eu-west-1</Region>"),
         ConfigurationError, "the bucket is in eu-west-1: set s3.region"),
        (404, error_xml("NoSuchBucket"), ConfigurationError, "no such bucket"),
    ],
)  # fmt: skip
def test_a_refusal_is_quoted_with_its_next_step_after_one_request(
    s3_endpoint: str,
    aws_environment: None,
    meddling_server: Callable[..., str],
    status: int,
    body: str,
    kind: type[ArchiveError],
    says: str,
) -> None:
    requests = []

    def refuse(exchange: Any) -> None:
        requests.append(exchange.path)
        exchange.status, exchange.body = status, body.encode()

    with closing(landing_at(meddling_server(s3_endpoint, asked=refuse))) as landing:
        error = refusal(lambda: landing.open("a.mp3"))
        assert type(error) is kind
        assert says in str(error)
        assert not error.retryable
        assert len(requests) == 1
        listing = refusal(landing.check)
        assert type(listing) is kind
        assert ("s3:ListBucket" in str(listing)) == ("<Message>Access Denied</Message>" in body)
        assert all("/" + BUCKET in path for path in requests)


@pytest.mark.parametrize(
    ("status", "code"), [(400, "RequestTimeout"), (429, "TooManyRequests"), (503, "SlowDown"), (400, "ThrottlingException")]
)  # fmt: skip
def test_what_may_change_by_waiting_is_retryable(
    s3_endpoint: str, aws_environment: None, meddling_server: Callable[..., str], status: int, code: str
) -> None:
    def refuse(exchange: Any) -> None:
        exchange.status, exchange.body = status, error_xml(code).encode()

    with closing(landing_at(meddling_server(s3_endpoint, asked=refuse))) as landing:
        error = refusal(lambda: landing.open("a.mp3"))
    assert type(error) is UnavailableError
    assert error.retryable


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html; charset=utf-8", PAGE),
        ("application/xhtml+xml", "<html><body>Please sign in</body></html>"),
        ("application/json", '{"buckets": []}'),
        ("text/plain", ""),
    ],
)
def test_a_listing_answered_by_another_service_names_what_it_is_after_one_request(
    s3_endpoint: str, aws_environment: None, meddling_server: Callable[..., str], kind: str, body: str
) -> None:
    requests = []

    def sign_in(exchange: Any) -> None:
        requests.append(exchange.path)
        exchange.status, exchange.headers, exchange.body = 200, {"Content-Type": kind}, body.encode()

    with closing(landing_at(meddling_server(s3_endpoint, asked=sign_in))) as landing:
        error = refusal(landing.check)
    assert type(error) is AnswerError
    assert f"the answer is no listing of a bucket but {kind}: check endpoint_url" in str(error)
    assert len(requests) == 1


def test_an_endpoint_that_redirects_every_request_is_named(
    s3_endpoint: str, aws_environment: None, meddling_server: Callable[..., str]
) -> None:
    def redirect(exchange: Any) -> None:
        exchange.status, exchange.headers, exchange.body = 302, {"Location": "https://login.example/"}, b""

    with closing(landing_at(meddling_server(s3_endpoint, asked=redirect))) as landing:
        error = refusal(landing.check)
    assert type(error) is UnavailableError
    assert str(error).startswith(f"s3://{BUCKET}/cold: the endpoint redirects every request")


def test_a_listing_that_s3_fails_with_status_200_is_retried(
    s3_endpoint: str, boto: Any, aws_environment: None, meddling_server: Callable[..., str]
) -> None:
    requests = []

    def fail_once(exchange: Any) -> None:
        requests.append(exchange.path)
        if len(requests) == 1:
            exchange.status, exchange.body = 200, error_xml("InternalError").encode()

    with closing(landing_at(meddling_server(s3_endpoint, asked=fail_once))) as landing:
        landing.check()
    assert len(requests) == 2

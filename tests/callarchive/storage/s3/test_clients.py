"""boto3 and obstore use the same endpoint and credentials."""

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import obstore
import pytest
from botocore.exceptions import ClientError, CredentialRetrievalError
from moto.server import ThreadedMotoServer
from obstore.exceptions import GenericError, UnauthenticatedError
from obstore.store import S3Store as ObjectStore

from callarchive.domain.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    ArchiveError,
    ColdObjectError,
    ConfigurationError,
    ObjectNotFoundError,
    StoreError,
    UnavailableError,
)
from callarchive.settings import S3Settings
from callarchive.storage.s3.clients import object_store, s3_client, s3_session, split_s3_url
from callarchive.storage.s3.errors import ConflictError, translate_botocore, translate_obstore


@pytest.fixture(autouse=True)
def empty_aws_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-tests")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    url = f"http://127.0.0.1:{port}"
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="other", aws_secret_access_key="other"
    )
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key="folder/key", Body=b"found")
    client.close()
    yield url
    server.stop()


def opened(settings: S3Settings, bucket: str = "bucket") -> ObjectStore:
    session = s3_session(settings)
    client = s3_client(settings, session=session)
    return object_store(session, client, bucket, stall_timeout_s=5, deadline_s=20)


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("how", ["settings", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "profile"])
def test_one_endpoint_serves_boto3_and_obstore(
    endpoint: str, how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = S3Settings()
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    # obstore would read these by itself; boto3 knows none of them.
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")
    if how == "settings":
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        settings = S3Settings(endpoint_url=endpoint)
    elif how == "profile":
        (tmp_path / "config").write_text(f"[profile acme]\nendpoint_url = {endpoint}\n")
        settings = S3Settings(profile="acme")
        (tmp_path / "credentials").write_text("[acme]\naws_access_key_id = AKIAACME\naws_secret_access_key = x\n")
    else:
        monkeypatch.setenv(how, endpoint)
    client = s3_client(settings)
    assert client.get_object(Bucket="bucket", Key="folder/key")["Body"].read() == b"found"
    client.close()
    assert obstore.get(opened(settings), "folder/key").bytes() == b"found"


@pytest.mark.usefixtures("keys")
def test_aws_is_contacted_at_the_buckets_own_host_unless_its_name_has_a_dot() -> None:
    settings = S3Settings(region="ap-southeast-1")
    assert opened(settings).config["endpoint"] == "https://bucket.s3.ap-southeast-1.amazonaws.com"
    assert opened(settings).config["region"] == "ap-southeast-1"
    assert opened(settings, "dotted.bucket").config["endpoint"] == "https://s3.ap-southeast-1.amazonaws.com"


def client_options(settings: S3Settings) -> Mapping[str, object]:
    options = opened(settings).client_options
    assert options is not None
    return {**options}


@pytest.mark.usefixtures("keys")
def test_plain_http_is_used_only_where_it_is_configured() -> None:
    assert client_options(S3Settings(endpoint_url="http://127.0.0.1:9000"))["allow_http"] == "true"
    assert client_options(S3Settings(endpoint_url="https://127.0.0.1:9000"))["allow_http"] == "false"


@pytest.mark.usefixtures("keys")
def test_the_proxy_and_its_exceptions_in_the_environment_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = S3Settings(region="eu-west-1")
    assert client_options(settings)["proxy_excludes"] == "bucket.s3.eu-west-1.amazonaws.com"
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.acme.example:3128")
    assert client_options(settings)["proxy_url"] == "http://proxy.acme.example:3128"
    monkeypatch.setenv("NO_PROXY", ".amazonaws.com")
    assert client_options(settings)["proxy_url"] != "http://proxy.acme.example:3128"


def test_without_credentials_the_first_use_names_the_variables(endpoint: str) -> None:
    settings = S3Settings(endpoint_url=endpoint, region="us-east-1")
    with pytest.raises(AccessDeniedError, match="AWS_ACCESS_KEY_ID"):
        opened(settings)


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    ("settings", "environment", "says"),
    [
        (S3Settings(profile="nobody"), {}, "nobody"),
        (S3Settings(region="no region"), {}, "no region"),
        (S3Settings(region="eu-west-1"), {"AWS_ENDPOINT_URL_S3": "not a url"}, "not a url"),
        (S3Settings(region="eu-west-1"), {"AWS_CA_BUNDLE": "/nonexistent/ca.pem"}, "ca.pem"),
    ],
)
def test_invalid_s3_settings_are_configuration_errors(
    settings: S3Settings, environment: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=says):
        opened(settings)


def test_failed_credentials_are_not_an_outage(endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[profile broken]\ncredential_process = /bin/false\n")
    with pytest.raises(AccessDeniedError, match="could not be obtained"):
        opened(S3Settings(endpoint_url=endpoint, region="us-east-1", profile="broken"))


def test_failed_renewal_of_credentials_is_not_an_outage() -> None:
    def fail() -> Any:
        raise CredentialRetrievalError(provider="role", error_msg="gone")

    store = ObjectStore("bucket", region="us-east-1", credential_provider=fail)
    with pytest.raises(UnauthenticatedError) as caught:
        obstore.get(store, "folder/key")
    error = translate_obstore(caught.value, place="s3://bucket/folder/key", doing="reading")
    assert isinstance(error, AccessDeniedError)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AccessDenied", 403, AccessDeniedError),
        ("403", 403, AccessDeniedError),
        ("ExpiredToken", 400, AccessDeniedError),
        ("InvalidAccessKeyId", 403, AccessDeniedError),
        ("NoSuchKey", 404, ObjectNotFoundError),
        ("404", 404, ObjectNotFoundError),
        ("NoSuchBucket", 404, ConfigurationError),
        ("PermanentRedirect", 301, ConfigurationError),
        ("InvalidObjectState", 403, ColdObjectError),
        ("PreconditionFailed", 412, AlreadyExistsError),
        ("ConditionalRequestConflict", 409, ConflictError),
        ("SlowDown", 503, UnavailableError),
        ("InternalError", 500, UnavailableError),
        ("QuotaExceeded", 400, StoreError),
    ],
)
def test_s3s_error_code_takes_precedence_over_the_status(code: str, status: int, kind: type[ArchiveError]) -> None:
    said = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    of_botocore = translate_botocore(ClientError(said, "GetObject"), place="s3://b/k", doing="reading")
    text = f"Server returned non-2xx status code: {status} X: <Error><Code>{code}</Code></Error>"
    of_obstore = translate_obstore(GenericError(text), place="s3://b/k", doing="reading")
    for error in (of_botocore, of_obstore):
        assert type(error) is kind
        assert str(error).startswith("s3://b/k: ")


def test_a_url_is_split_without_decoding() -> None:
    assert split_s3_url("s3://bucket/a%20b/c/") == ("bucket", "a%20b/c")
    assert split_s3_url("s3://bucket") == ("bucket", "")


def test_an_unknown_error_code_is_cleaned_and_bounded() -> None:
    said = {"Error": {"Code": "\x1b[1mNo, 6591234567, ?X-Amz-Signature=5ecret " + "x" * 500}}
    answer: Any = {**said, "ResponseMetadata": {"HTTPStatusCode": 500}}
    shown = "".join(map(str, translate_botocore(ClientError(answer, "GetObject"), place="p", doing="reading").args))
    assert not [word for word in ("\x1b", "6591234567", "5ecret", "x" * 80) if word in shown]

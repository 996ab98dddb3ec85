"""An S3 server of the tests' own, and one store of each kind."""

import itertools
import logging
import zoneinfo
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from callarchive.settings import S3Settings
from callarchive.stores import Store
from callarchive.stores.local import LocalStore
from callarchive.stores.s3 import S3Store

BUCKET = "the-bucket"
_numbers = itertools.count()


@pytest.fixture
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture(scope="session")
def boto(s3_endpoint: str) -> Iterator[Any]:
    """A client of its own, to see what is really there."""
    client = boto3.client(
        "s3",
        endpoint_url=s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id="AKIAOTHER",
        aws_secret_access_key="other",
    )
    client.create_bucket(Bucket=BUCKET)
    yield client
    client.close()


@pytest.fixture
def s3_settings(s3_endpoint: str, aws_environment: None) -> S3Settings:
    return S3Settings(endpoint_url=s3_endpoint, region="us-east-1")


@pytest.fixture
def s3_store(boto: Any, s3_settings: S3Settings) -> S3Store:
    return S3Store(f"s3://{BUCKET}/some/prefix-{next(_numbers)}", s3_settings, lease_s=30.0)


@pytest.fixture
def local_store(tmp_path: Path) -> LocalStore:
    return LocalStore(f"file://{tmp_path}/root")


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    store: Store = request.getfixturevalue(f"{request.param}_store")
    return store


@pytest.fixture
def tz_age(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder for PYTHONTZPATH in which one zone has another's rules: `tz_age("Africa/Casablanca", "Etc/GMT+10")`."""

    def make(zone: str, rules_of: str, *, version: str | None = None) -> Path:
        folder = tmp_path / f"tz-{rules_of.replace('/', '-')}"
        (folder / zone).parent.mkdir(parents=True, exist_ok=True)
        (folder / zone).write_bytes(files("tzdata").joinpath("zoneinfo", *rules_of.split("/")).read_bytes())
        if version:
            (folder / "tzdata.zi").write_text(f"# version {version}\n# and so on\n", encoding="ascii")
        return folder

    return make


@pytest.fixture
def use_tz_data() -> Iterator[Callable[[Path | None], None]]:
    """Lets zoneinfo read a folder before the package, as PYTHONTZPATH does in a new process; None ends that."""

    def use(folder: Path | None) -> None:
        zoneinfo.reset_tzpath(to=() if folder is None else (str(folder),))
        zoneinfo.ZoneInfo.clear_cache()

    before = zoneinfo.TZPATH
    yield use
    zoneinfo.reset_tzpath(to=before)
    zoneinfo.ZoneInfo.clear_cache()

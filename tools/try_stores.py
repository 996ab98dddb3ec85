"""Test an S3-compatible store and print its rows for the tables in docs/stores.md.

    python tools/try_stores.py NAME http://127.0.0.1:9000 BUCKET

Credentials come from the usual AWS chain. The bucket is created if needed. All objects are written below a random prefix and
deleted at the end. The docstring of each column's function describes the test; the last three columns use callarchive's own
landing and stores.
"""

import argparse
import base64
import hashlib
import secrets
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from callarchive.domain.errors import ArchiveError
from callarchive.settings import AccountSettings, S3Settings, Secret, TransferSettings
from callarchive.storage.landing.s3.landing import S3Landing
from callarchive.storage.stores.s3 import S3Store

_CONCURRENCY = 8
_KEYS = 25
_LANDING_OBJECTS = 1100


@dataclass(frozen=True)
class Trial:
    """A bucket, and the prefix of this trial in it."""

    client: Any
    bucket: str
    prefix: str

    def key(self) -> str:
        return f"{self.prefix}{secrets.token_hex(8)}"

    def put(self, key: str, body: bytes, **condition: str) -> str:
        """Write an object and return `200` or the error response."""
        try:
            self.client.put_object(Bucket=self.bucket, Key=key, Body=body, **condition)
        except (ClientError, BotoCoreError) as err:
            return _error(err)
        return "200"

    def body(self, key: str) -> bytes | None:
        """Return the object's bytes, None if there is no object."""
        try:
            body: bytes = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except ClientError as err:
            if _error(err).startswith("404"):
                return None
            raise
        return body


def if_none_match(trial: Trial) -> str:
    """Test PUT with `If-None-Match: *`: it creates a new object, and is rejected without effect if the object exists."""
    key = trial.key()
    new, existing = trial.put(key, b"first", IfNoneMatch="*"), trial.put(key, b"second", IfNoneMatch="*")
    if new != "200":
        return f"no: {new} for a new object"
    if trial.body(key) != b"first":
        return f"no: {existing}, and the object is overwritten"
    return f"yes ({existing})" if existing[:3] in ("409", "412") else f"no: {existing} for an existing object"


def concurrent_creates(trial: Trial) -> str:
    """Count how many of eight concurrent creates of one key succeed: one, if the store is atomic."""
    most = 0
    for _ in range(5):
        key = trial.key()
        with ThreadPoolExecutor(_CONCURRENCY) as pool:
            responses = list(
                pool.map(lambda n, key=key: trial.put(key, b"%d" % n, IfNoneMatch="*"), range(_CONCURRENCY))
            )
        most = max(most, responses.count("200"))
    return f"{most} of {_CONCURRENCY}"


def if_match(trial: Trial) -> str:
    """Test PUT with `If-Match`: accepted with the object's ETag, rejected with an earlier ETag and without an object."""
    key, absent = trial.key(), trial.key()
    trial.put(key, b"first")
    etag = trial.client.head_object(Bucket=trial.bucket, Key=key).get("ETag")
    if etag is None:
        return "no: no ETag"
    current = trial.put(key, b"second", IfMatch=etag)
    earlier = trial.put(key, b"third", IfMatch=etag)
    without = trial.put(absent, b"fourth", IfMatch=etag)
    if current != "200":
        return f"no: {current} for the current ETag"
    if trial.body(key) != b"second":
        return f"no: {earlier} for an earlier ETag, and the object is overwritten"
    if trial.body(absent) is not None:
        return f"in part: {without} without an object, and the object is created"
    return f"yes ({earlier}; no object: {without})"


def delete_if_match(trial: Trial) -> str:
    """Test DELETE with `If-Match`: rejected with a different ETag."""
    key = trial.key()
    trial.put(key, b"first")
    try:
        trial.client.delete_object(Bucket=trial.bucket, Key=key, IfMatch=f'"{"0" * 32}"')
        answer = "204"
    except ClientError as err:
        answer = _error(err)
    if trial.body(key) is None:
        return f"no: {answer}, and the object is deleted"
    return f"yes ({answer})"


def paging(trial: Trial) -> str:
    """Test that pages of a listing contain every key once and in order, flat and by folders, with and without `StartAfter`."""
    below = f"{trial.prefix}pages/"
    keys = [f"{below}{n:02}/2026-01-01T10:00:00+{n} é.mp3" for n in range(_KEYS)]
    for key in keys:
        trial.put(key, b"x")
    faults = []

    def all_pages(**options: str) -> list[dict[str, Any]]:
        pages = trial.client.get_paginator("list_objects_v2").paginate(
            Bucket=trial.bucket, Prefix=below, PaginationConfig={"PageSize": 7, "MaxItems": 100}, **options
        )
        return list(pages)

    flat = [entry["Key"] for page in all_pages() for entry in page.get("Contents", ())]
    if flat != keys:
        faults.append(f"{len(set(flat) & set(keys))} of {_KEYS} keys")
    after = [entry["Key"] for page in all_pages(StartAfter=keys[9]) for entry in page.get("Contents", ())]
    if after != keys[10:]:
        faults.append(f"{len(set(after) & set(keys[10:]))} of {_KEYS - 10} keys after StartAfter")
    folders = [entry["Prefix"] for page in all_pages(Delimiter="/") for entry in page.get("CommonPrefixes", ())]
    if folders != [f"{below}{n:02}/" for n in range(_KEYS)]:
        faults.append(f"{len(set(folders))} of {_KEYS} folders")
    ahead = all_pages(Delimiter="/", StartAfter=f"{below}03")
    if f"{below}03/" not in [entry["Prefix"] for page in ahead for entry in page.get("CommonPrefixes", ())]:
        faults.append("StartAfter a folder's name omits the folder")
    return f"no: {', '.join(faults)}" if faults else "yes"


def sha256_on_put(trial: Trial) -> str:
    """Test that a PUT with a wrong `x-amz-checksum-sha256` is rejected."""
    wrong = base64.b64encode(hashlib.sha256(b"other bytes").digest()).decode()
    key = trial.key()
    answer = trial.put(key, b"bytes", ChecksumSHA256=wrong)
    stored = "" if trial.body(key) is None else ", and the object is stored"
    return f"checked ({answer})" if answer != "200" and not stored else f"ignored ({answer}{stored})"


def etags(trial: Trial) -> str:
    """Report which responses have an ETag, and whether it is the MD5 of the bytes."""
    key, body = trial.key(), secrets.token_bytes(1000)
    listed = {
        "PUT": trial.client.put_object(Bucket=trial.bucket, Key=key, Body=body),
        "GET": trial.client.get_object(Bucket=trial.bucket, Key=key),
        "HEAD": trial.client.head_object(Bucket=trial.bucket, Key=key),
    }
    listed["GET"]["Body"].read()
    page = trial.client.list_objects_v2(Bucket=trial.bucket, Prefix=key)
    listed["listing"] = next(iter(page.get("Contents", ())), {})
    found = {name: answer.get("ETag", "").strip('"') for name, answer in listed.items()}
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    without = [name for name, etag in found.items() if not etag]
    if len(without) == len(found):
        return "none"
    kind = "MD5" if all(etag == md5 for etag in found.values() if etag) else "not MD5"
    same = "" if len(set(found.values()) - {""}) == 1 else ", not always the same"
    return f"{kind}{same}" + (f", none on {', '.join(without)}" if without else "")


def times(trial: Trial) -> str:
    """Test that a new object's Last-Modified is within 5 s of the response's Date."""
    key = trial.key()
    trial.put(key, b"x")
    response = trial.client.get_object(Bucket=trial.bucket, Key=key)
    response["Body"].read()
    date = response["ResponseMetadata"]["HTTPHeaders"].get("date")
    if date is None or "LastModified" not in response:
        return f"no {'Date' if date is None else 'Last-Modified'}"
    off_s = (parsedate_to_datetime(date) - response["LastModified"]).total_seconds()
    return "yes" if abs(off_s) <= 5 else f"no: {off_s:g} s apart"


def as_landing(trial: Trial) -> str:
    """Test that callarchive's landing lists and reads 1,100 objects, more than a page."""
    below = f"{trial.prefix}landing"
    paths = [f"2026-01-{n % 20 + 1:02}/2026-01-01T10:00:00+00:00_{n:04}.mp3" for n in range(_LANDING_OBJECTS)]
    with ThreadPoolExecutor(_CONCURRENCY) as pool:
        responses = set(pool.map(lambda path: trial.put(f"{below}/{path}", path.encode()), paths))
    if responses != {"200"}:
        return f"no: PUT returned {responses}"
    account = AccountSettings(
        subaccount_id="trial",
        api_key=Secret(env="UNUSED"),
        landing=f"s3://{trial.bucket}/{below}",
        s3=_settings(trial),
        session_sources=({"kind": "log_export"},),  # type: ignore[arg-type] # validated by pydantic
    )
    landing = S3Landing(account, TransferSettings(stall_timeout_s=10, deadline_s=30), concurrency=_CONCURRENCY)
    faults = []
    try:
        landing.check()
        listed = {item.path for item in landing.list("").objects}
        if listed != set(paths):
            faults.append(f"{len(listed & set(paths))} of {_LANDING_OBJECTS} objects listed")
        for path in paths[:: _LANDING_OBJECTS // 10]:
            with landing.open(path) as download:
                if b"".join(bytes(chunk) for chunk in download) != path.encode():
                    faults.append("read different bytes than were written")
    except ArchiveError as err:
        faults.append(_first_line(err))
    finally:
        landing.close()
    return f"no: {'; '.join(faults)}" if faults else "yes"


def as_archive(trial: Trial) -> str:
    """Test that callarchive accepts the store as an archive: write-once objects."""
    return _prove(trial, locks=False)


def as_catalog(trial: Trial) -> str:
    """Test that callarchive accepts the store as a catalog: write-once objects and locks."""
    return _prove(trial, locks=True)


def _prove(trial: Trial, *, locks: bool) -> str:
    store = S3Store(f"s3://{trial.bucket}/{trial.prefix}store", _settings(trial))
    try:
        store.prove(locks=locks)
    except ArchiveError as err:
        return f"no: {_first_line(err)}"
    return "yes"


def _settings(trial: Trial) -> S3Settings:
    return S3Settings(endpoint_url=trial.client.meta.endpoint_url, region=trial.client.meta.region_name)


def _first_line(err: ArchiveError) -> str:
    return str(err).partition("conditional writes: ")[2].partition(";")[0] or str(err)


COLUMNS: dict[str, Callable[[Trial], str]] = {
    "If-None-Match on PUT": if_none_match,
    "successful creates": concurrent_creates,
    "If-Match on PUT": if_match,
    "If-Match on DELETE": delete_if_match,
    "paging": paging,
    "SHA-256 of a PUT": sha256_on_put,
    "ETag": etags,
    "times": times,
    "landing": as_landing,
    "archive": as_archive,
    "catalog": as_catalog,
}
_TABLES = (
    ("landing", "archive", "catalog", "ETag", "paging"),
    ("If-None-Match on PUT", "successful creates", "If-Match on PUT", "If-Match on DELETE", "SHA-256 of a PUT"),
)
"""The columns of each table in docs/stores.md, without the first."""


def _error(err: Exception) -> str:
    if not isinstance(err, ClientError):
        return type(err).__name__
    status = err.response["ResponseMetadata"]["HTTPStatusCode"]
    code = err.response["Error"].get("Code", "")
    return f"{status}" if code in ("", str(status)) else f"{status} {code}"


def try_store(client: Any, bucket: str) -> dict[str, str]:
    """Run all tests and return the results by column."""
    trial = Trial(client, bucket, f"callarchive-trial-{secrets.token_hex(4)}/")
    results = {}
    for name, test in COLUMNS.items():
        try:
            results[name] = test(trial)
        except (ClientError, BotoCoreError, ValueError) as err:
            results[name] = f"error: {_error(err)}"
    for page in client.get_paginator("list_objects").paginate(Bucket=bucket, Prefix=trial.prefix):
        for entry in page.get("Contents", ()):
            client.delete_object(Bucket=bucket, Key=entry["Key"])
    return results


def main() -> int:
    """Test the store and print its rows."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("name", help="name and version of the store, for the tables")
    arguments.add_argument("endpoint_url")
    arguments.add_argument("bucket")
    options = arguments.parse_args()
    config = Config(
        s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, response_checksum_validation="when_required"
    )
    client = boto3.client("s3", endpoint_url=options.endpoint_url, config=config)
    try:
        client.create_bucket(Bucket=options.bucket)
    except ClientError as err:
        print(f"creating the bucket: {_error(err)}", file=sys.stderr)
    results = try_store(client, options.bucket)
    width = max(map(len, results))
    for name, text in results.items():
        print(f"{name:{width}}  {text}")
    for columns in _TABLES:
        print(f"| {' | '.join([options.name, *(results[column] for column in columns)])} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

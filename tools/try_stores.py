"""Tries an S3-compatible store and prints its row of the table in docs/stores.md.

    python tools/try_stores.py NAME http://127.0.0.1:9000 BUCKET

Credentials come from AWS's usual chain. Everything is written below one prefix of a random name, in a bucket that exists or
can be made, and is deleted at the end. What each column asks is the docstring of its function. Only what was observed is
printed; the last three columns use callarchive's own landing and stores.
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

_AT_ONCE = 8
_KEYS = 25
_LANDED = 1100


@dataclass(frozen=True)
class Trial:
    """A bucket, and a prefix in it that is this trial's own."""

    client: Any
    bucket: str
    prefix: str

    def key(self) -> str:
        return f"{self.prefix}{secrets.token_hex(8)}"

    def put(self, key: str, body: bytes, **condition: str) -> str:
        """`200`, or what the store answered in its place."""
        try:
            self.client.put_object(Bucket=self.bucket, Key=key, Body=body, **condition)
        except (ClientError, BotoCoreError) as err:
            return _answer(err)
        return "200"

    def body(self, key: str) -> bytes | None:
        """The object's bytes, None for one that is not there."""
        try:
            body: bytes = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except ClientError as err:
            if _answer(err).startswith("404"):
                return None
            raise
        return body


def if_none_match(trial: Trial) -> str:
    """PUT with `If-None-Match: *`: accepted on a free name, refused on a taken one, and the first bytes stay."""
    key = trial.key()
    free, taken = trial.put(key, b"first", IfNoneMatch="*"), trial.put(key, b"second", IfNoneMatch="*")
    if free != "200":
        return f"no: a free name is answered {free}"
    if trial.body(key) != b"first":
        return f"no: {taken}, and the object is overwritten"
    return f"yes ({taken})" if taken[:3] in ("409", "412") else f"no: a taken name is answered {taken}"


def at_once(trial: Trial) -> str:
    """How many of eight simultaneous creates of one name the store accepts: one, if it decides atomically."""
    most = 0
    for _ in range(5):
        key = trial.key()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            answers = list(pool.map(lambda n, key=key: trial.put(key, b"%d" % n, IfNoneMatch="*"), range(_AT_ONCE)))
        most = max(most, answers.count("200"))
    return f"{most} of {_AT_ONCE}"


def if_match(trial: Trial) -> str:
    """PUT with `If-Match`: accepted with the object's ETag, refused with a former one and on a name that is free."""
    key, free_name = trial.key(), trial.key()
    trial.put(key, b"first")
    etag = trial.client.head_object(Bucket=trial.bucket, Key=key).get("ETag")
    if etag is None:
        return "no: there is no ETag"
    right = trial.put(key, b"second", IfMatch=etag)
    former = trial.put(key, b"third", IfMatch=etag)
    on_free = trial.put(free_name, b"fourth", IfMatch=etag)
    if right != "200":
        return f"no: the right ETag is answered {right}"
    if trial.body(key) != b"second":
        return f"no: a former ETag is answered {former}, and the object is overwritten"
    if trial.body(free_name) is not None:
        return f"in part: on a free name it is answered {on_free}, and the object is created"
    return f"yes ({former}; free name {on_free})"


def delete_if_match(trial: Trial) -> str:
    """DELETE with `If-Match`: refused with another ETag."""
    key = trial.key()
    trial.put(key, b"first")
    try:
        trial.client.delete_object(Bucket=trial.bucket, Key=key, IfMatch=f'"{"0" * 32}"')
        answer = "204"
    except ClientError as err:
        answer = _answer(err)
    if trial.body(key) is None:
        return f"no: {answer}, and the object is gone"
    return f"yes ({answer})"


def paging(trial: Trial) -> str:
    """Whether pages of a listing hold every key once, in order, flat and by folders, also after `StartAfter`."""
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
        faults.append("StartAfter a folder's name leaves the folder out")
    return f"no: {', '.join(faults)}" if faults else "yes"


def sha256_on_put(trial: Trial) -> str:
    """Whether a PUT is refused whose `x-amz-checksum-sha256` is not that of its body."""
    wrong = base64.b64encode(hashlib.sha256(b"other bytes").digest()).decode()
    key = trial.key()
    answer = trial.put(key, b"bytes", ChecksumSHA256=wrong)
    kept = "" if trial.body(key) is None else ", and the object is kept"
    return f"compared ({answer})" if answer != "200" and not kept else f"ignored ({answer}{kept})"


def etags(trial: Trial) -> str:
    """Which answers have an ETag, and whether it is the MD5 of the bytes."""
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
    same = "" if len(set(found.values()) - {""}) == 1 else ", not the same everywhere"
    return f"{kind}{same}" + (f", none on {', '.join(without)}" if without else "")


def times(trial: Trial) -> str:
    """Whether a new object's Last-Modified is the time of the answer's Date, within 5 s."""
    key = trial.key()
    trial.put(key, b"x")
    answer = trial.client.get_object(Bucket=trial.bucket, Key=key)
    answer["Body"].read()
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if date is None or "LastModified" not in answer:
        return f"no {'Date' if date is None else 'Last-Modified'}"
    off_s = (parsedate_to_datetime(date) - answer["LastModified"]).total_seconds()
    return "yes" if abs(off_s) <= 5 else f"no: {off_s:g} s apart"


def as_landing(trial: Trial) -> str:
    """Whether callarchive's landing lists, finds and reads each of 1,100 objects (more than a page) by its name."""
    below = f"{trial.prefix}landing"
    paths = [f"2026-01-{n % 20 + 1:02}/2026-01-01T10:00:00+00:00_{n:04}.mp3" for n in range(_LANDED)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = set(pool.map(lambda path: trial.put(f"{below}/{path}", path.encode()), paths))
    if answers != {"200"}:
        return f"no: filling it is answered {answers}"
    account = AccountSettings(
        subaccount_id="trial",
        api_key=Secret(env="UNUSED"),
        landing=f"s3://{trial.bucket}/{below}",
        s3=_settings(trial),
        session_sources=({"kind": "log_export"},),  # type: ignore[arg-type] # validated by pydantic
    )
    landing = S3Landing(account, TransferSettings(stall_timeout_s=10, deadline_s=30), concurrency=_AT_ONCE)
    faults = []
    try:
        landing.check()
        listed = {item.path for item in landing.list("").objects}
        if listed != set(paths):
            faults.append(f"{len(listed & set(paths))} of {_LANDED} objects listed")
        for path in paths[:: _LANDED // 10]:
            with landing.open(path) as download:
                if b"".join(bytes(chunk) for chunk in download) != path.encode():
                    faults.append("other bytes than were written")
    except ArchiveError as err:
        faults.append(_first_line(err))
    finally:
        landing.close()
    return f"no: {'; '.join(faults)}" if faults else "yes"


def as_archive(trial: Trial) -> str:
    """Whether callarchive takes it for an archive: names that are written once."""
    return _proven(trial, locks=False)


def as_catalog(trial: Trial) -> str:
    """Whether callarchive takes it for a catalog: locks too."""
    return _proven(trial, locks=True)


def _proven(trial: Trial, *, locks: bool) -> str:
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
    "creates that win at once": at_once,
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


def _answer(err: Exception) -> str:
    if not isinstance(err, ClientError):
        return type(err).__name__
    status = err.response["ResponseMetadata"]["HTTPStatusCode"]
    code = err.response["Error"].get("Code", "")
    return f"{status}" if code in ("", str(status)) else f"{status} {code}"


def try_store(client: Any, bucket: str) -> dict[str, str]:
    """What was observed, by column."""
    trial = Trial(client, bucket, f"callarchive-trial-{secrets.token_hex(4)}/")
    seen = {}
    for name, ask in COLUMNS.items():
        try:
            seen[name] = ask(trial)
        except (ClientError, BotoCoreError, ValueError) as err:
            seen[name] = f"error: {_answer(err)}"
    for page in client.get_paginator("list_objects").paginate(Bucket=bucket, Prefix=trial.prefix):
        for entry in page.get("Contents", ()):
            client.delete_object(Bucket=bucket, Key=entry["Key"])
    return seen


def main() -> int:
    """Prints the row."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("name", help="the store and its version, as the table shows it")
    arguments.add_argument("endpoint_url")
    arguments.add_argument("bucket")
    told = arguments.parse_args()
    config = Config(
        s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, response_checksum_validation="when_required"
    )
    client = boto3.client("s3", endpoint_url=told.endpoint_url, config=config)
    try:
        client.create_bucket(Bucket=told.bucket)
    except ClientError as err:
        print(f"making the bucket: {_answer(err)}", file=sys.stderr)
    seen = try_store(client, told.bucket)
    width = max(map(len, seen))
    for name, text in seen.items():
        print(f"{name:{width}}  {text}")
    print(f"| {' | '.join([told.name, *seen.values()])} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

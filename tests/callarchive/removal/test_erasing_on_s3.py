"""Erasure in a bucket with versioning: no version of anything that names what was erased is left."""

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from callarchive.simulator.running import DEMO_ACCOUNTS
from callarchive.simulator.s3 import REGION

Start = Callable[..., Any]
BUCKET = "our-archive"


@pytest.fixture
def trial(start_trial: Start) -> Any:
    """A day that was archived twice, with archive and catalog in a bucket with versioning."""
    trial = start_trial(sessions_per_day=4, accounts=DEMO_ACCOUNTS[:1])
    client = trial.simulator.s3.client
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    text = trial.config.read_text()
    for section in ("archive", "catalog"):
        options = f'{{ endpoint_url = "{trial.simulator.s3.endpoint_url}", region = "{REGION}" }}'
        head, _, rest = text.partition(f"[{section}]\n")
        new = f'[{section}]\nurl = "s3://{BUCKET}/calls/{section}"\ns3 = {options}'
        text = f"{head}{new}\n{rest.partition(chr(10))[2]}"
    trial.config.write_text(text)
    trial.archive()
    return trial


def versions(trial: Any) -> Iterator[tuple[str, bytes]]:
    """Yield the key of every version of every object, with its bytes, unpacked if they are Parquet or zstd."""
    client = trial.simulator.s3.client
    for page in client.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
        for marker in page.get("DeleteMarkers", ()):
            yield marker["Key"], b""
        for one in page.get("Versions", ()):
            data = client.get_object(Bucket=BUCKET, Key=one["Key"], VersionId=one["VersionId"])["Body"].read()
            if data[:4] == b"PAR1":
                data += json.dumps(pq.read_table(io.BytesIO(data)).to_pylist(), default=str).encode()
            elif data[:4] == b"\x28\xb5\x2f\xfd":
                with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as unpacked:
                    data += unpacked.read()
            yield one["Key"], data


def with_word(trial: Any, word: str) -> list[str]:
    return [key for key, data in versions(trial) if word.encode() in key.encode() + data.lower()]


@pytest.mark.live
def test_no_version_of_anything_that_names_the_session_is_left(trial: Any) -> None:
    client = trial.simulator.s3.client
    with trial.connections() as connections:
        days = connections.catalog.arrow("recordings").to_pylist()
    row = next(row for row in days if row["archive_status"] == "archived")
    key = row["archive_uri"].removeprefix(f"s3://{BUCKET}/")
    audio = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    trial.archive()  # tables and responses have older versions now
    client.put_object(Bucket=BUCKET, Key=key, Body=audio + b"older")
    client.put_object(Bucket=BUCKET, Key=key, Body=audio)
    client.delete_object(Bucket=BUCKET, Key=f"{key.rpartition('/')[0]}/{row['recording_id']}.0123456789abcdef.mp3")
    assert len(with_word(trial, row["session_id"])) > 10
    words = ("erase", "--session", row["session_id"], "--reason", "case 17", "--delete-at-landing", "--json")
    done = trial.run(*words)
    assert done.returncode == 0, done.stderr
    left = with_word(trial, row["session_id"])
    assert {one.split("/")[3] if "_steps" in one else one.split("/")[2] for one in left} == {
        "recordings",
        "recording_files",
    }, left
    assert not [one for one, data in versions(trial) if audio in data]
    for table in ("recordings", "_steps/recording_files"):
        (rows,) = [data for one, data in versions(trial) if f"/{table}/" in one and row["session_id"].encode() in data]
        assert row["source_uri"].encode() not in rows
    objects = [one["Key"] for one in client.list_objects_v2(Bucket="demo-recordings")["Contents"]]
    assert not [one for one in objects if row["recording_id"] in one]
    verified = trial.run("verify")
    assert verified.returncode == 0, verified.stdout
    again = trial.run(*words)
    assert (again.returncode, json.loads(again.stdout)["erased"]) == (0, [])

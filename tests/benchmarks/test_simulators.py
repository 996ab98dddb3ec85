"""The simulators of S3 and the 8x8 API respond to the requests of the main job and its peers like the real services."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import botocore.exceptions
import pytest

from benchmarks.corpus import Corpus
from benchmarks.servers import s3_place, simulator
from benchmarks.simulators import ARRIVALS, BUCKET, PREFIX, SUBACCOUNT_ID


@pytest.fixture
def s3(corpus: Corpus) -> Iterator[Any]:
    with s3_place(corpus) as place:
        yield boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{place.port}",
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="y",
        )


def pages(s3: Any, **options: Any) -> list[dict[str, Any]]:
    return list(s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, **options))


@pytest.mark.parametrize("page_keys", [1, 5, 12, 1000])
def test_a_listing_has_every_object_once_for_any_page_size(s3: Any, corpus: Corpus, page_keys: int) -> None:
    listed = [
        (entry["Key"], entry["Size"], entry["ETag"])
        for page in pages(s3, Prefix=f"{PREFIX}/", MaxKeys=page_keys)
        for entry in page.get("Contents", ())
    ]

    assert listed == sorted(
        (f"{PREFIX}/{sample.path}", sample.size_bytes, f'"{sample.md5}"') for sample in corpus.samples
    )


@pytest.mark.parametrize("page_keys", [1, 5, 1000])
def test_a_listing_with_a_delimiter_has_each_folder_once(s3: Any, corpus: Corpus, page_keys: int) -> None:
    folder = f"{PREFIX}/{corpus.samples[0].day}/"
    found = pages(s3, Prefix=folder, Delimiter="/", MaxKeys=page_keys)
    folders = [entry["Prefix"] for page in found for entry in page.get("CommonPrefixes", ())]

    assert folders == sorted(f"{folder}{sample.session_id}/" for sample in corpus.samples)
    assert not any(page.get("Contents") for page in found)


def test_an_object_can_be_read_whole_and_in_ranges(s3: Any, corpus: Corpus) -> None:
    sample = corpus.samples[0]
    data = (corpus.folder / sample.path).read_bytes()
    key = f"{PREFIX}/{sample.path}"

    assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == data
    part = s3.get_object(Bucket=BUCKET, Key=key, Range="bytes=100-199")
    assert part["Body"].read() == data[100:200]
    assert part["ContentRange"] == f"bytes 100-199/{len(data)}"
    assert s3.get_object(Bucket=BUCKET, Key=key, Range="bytes=100-")["Body"].read() == data[100:]
    assert s3.head_object(Bucket=BUCKET, Key=key)["ContentLength"] == len(data)


def test_a_missing_object_is_a_404_and_the_connection_stays_usable(s3: Any, corpus: Corpus) -> None:
    for request in (s3.head_object, s3.get_object):
        with pytest.raises(botocore.exceptions.ClientError) as refused:
            request(Bucket=BUCKET, Key=f"{PREFIX}/no-such-key")
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
        assert pages(s3, MaxKeys=1)[0]["KeyCount"] == 1


def test_the_api_returns_the_arrivals_since_the_last_call(corpus: Corpus) -> None:
    with simulator("api", corpus) as api:
        url = f"http://127.0.0.1:{api.port}"
        for sample in corpus.samples[:3]:
            place = f"{url}/api/v1/subaccounts/{SUBACCOUNT_ID}/recordings/{sample.session_id}"
            with urllib.request.urlopen(place) as answer:
                (recording,) = json.load(answer)["recordings"]
            assert recording["recordingId"] == sample.recording_id

        arrivals = [json.load(urllib.request.urlopen(url + ARRIVALS)) for _ in range(2)]

    assert len(arrivals[0]) == 3
    assert arrivals[0] == sorted(arrivals[0])
    assert arrivals[1] == []

"""Erasure in a bucket with versioning and Object Lock: no version has the session or its audio any more."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from callarchive.catalog import schemas
from callarchive.simulator.running import DEMO_ACCOUNTS
from callarchive.simulator.s3 import REGION

BUCKET = "our-archive"


@pytest.fixture
def trial(start_trial: Callable[..., Any]) -> Any:
    """A day, with archive and catalog in a bucket that keeps recordings for a day."""
    trial = start_trial(sessions_per_day=4, accounts=DEMO_ACCOUNTS[:1])
    s3 = trial.simulator.s3
    s3.client.create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}, ObjectLockEnabledForBucket=True
    )
    text = trial.config.read_text()
    for section, more in (("archive", 'objects = { lock_mode = "GOVERNANCE", lock_days = 1 }\n'), ("catalog", "")):
        place = f's3 = {{ endpoint_url = "{s3.endpoint_url}", region = "{REGION}" }}'
        head, _, rest = text.partition(f"[{section}]\n")
        text = f'{head}[{section}]\nurl = "s3://{BUCKET}/{section}"\n{place}\n{more}{rest.partition(chr(10))[2]}'
    trial.config.write_text(text)
    trial.archive()
    return trial


def copy_of_all_versions(client: Any, folder: Path) -> Path:
    """Write every version of every object into a folder `versions` of its own, below the object's key."""
    for page in client.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
        for entry in page.get("Versions", ()):
            found = client.get_object(Bucket=BUCKET, Key=entry["Key"], VersionId=entry["VersionId"])
            above, _, name = entry["Key"].rpartition("/")
            place = folder / above / ("now" if entry["IsLatest"] else entry["VersionId"]) / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(found["Body"].read())
        for entry in page.get("DeleteMarkers", ()):
            (folder / f"{entry['Key']}.deleted").parent.mkdir(parents=True, exist_ok=True)
            (folder / f"{entry['Key']}.deleted").touch()
    return folder


@pytest.mark.live
def test_no_version_of_an_object_has_an_erased_session(
    trial: Any, places_with: Any, document: Any, tmp_path: Path
) -> None:
    client = trial.simulator.s3.client
    with trial.connections() as connections:
        rows = connections.catalog.rows(schemas.RECORDINGS, trial.days[0])
    row = next(row for row in rows if row["archive_status"] == "archived")
    session, key = row["session_id"], row["archive_uri"].removeprefix(f"s3://{BUCKET}/")
    audio = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    before = places_with(copy_of_all_versions(client, tmp_path / "before"), [session])
    assert len([path for path in before if "/now/" not in path]) > 1
    words = ("erase", "--session", session, "--reason", "case 17")
    refused = trial.run(*words)
    assert refused.returncode == 3, refused.stderr
    assert f"{row['archive_uri']}: Object Lock keeps version" in refused.stderr
    assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == audio
    document(trial.run(*words, "--bypass-governance", "--json"))
    after = copy_of_all_versions(client, tmp_path / "after")
    left = places_with(after, [session])
    assert {path.split("/")[0] for path in left} == {"catalog"}, left
    assert all("/now/" in path and path.split("/")[1] in ("_steps", "recordings") for path in left), left
    assert not [path for path in after.rglob("*") if path.is_file() and audio in path.read_bytes()]
    document(trial.run("ledger", "verify", "--json"))

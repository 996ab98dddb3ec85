#!/usr/bin/env bash
# botocore: parses a response that is not a listing as the listing of an empty bucket, without an error.
#
# Versions: boto3 and botocore 1.44.5. Seen on 2026-11-30.
#
# The response to ListObjectsV2 is 200 with well-formed XML that is not a ListBucketResult: here the XHTML login page of a proxy, with
# Content-Type text/html. botocore checks neither the content type nor the root element. It finds no Contents, and the call returns a
# result without objects. An empty body has the same effect. A page that is not well-formed (HTML with an unclosed <meta>) raises an
# error, but that error reports status 500 although the server sent 200.
#
# Why this matters for an archive of recordings: an empty listing for a day decides that a recording was never delivered, or that another
# copy can be deleted. A proxy whose session has expired returns this response for every day. Workaround: accept a listing only if it has
# the elements of every listing (IsTruncated, and the requested Name or Prefix).
#
# Exit status: 0 the behaviour is as described, 1 it has changed, 2 the test could not run.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

if ! python3 -m venv "$tmp/venv" ||
    ! "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check boto3==1.44.5 botocore==1.44.5; then
    echo "could not install the packages" >&2
    exit 2
fi

# The server runs in a thread of the client's process and ends with it.
status=0
env -i PATH="$PATH" HOME="$tmp" AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any "$tmp/venv/bin/python" - <<'PYTHON' || status=$?
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import ClientError

XHTML = b"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8" /><title>Sign in</title></head>
<body><h1>Sign in</h1>
<form method="post" action="/login"><p><label>Name <input name="name" /></label> <button>Sign in</button></p></form>
</body></html>
"""
HTML = XHTML.replace(b" />", b">")
LISTING = b"""<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>recordings</Name><Prefix>2026-11-01/</Prefix>
<KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>
"""


class Proxy(BaseHTTPRequestHandler):
    """Answers every GET with 200 and the same body."""

    protocol_version = "HTTP/1.1"
    body, content_type = b"", ""

    def do_GET(self) -> None:
        body = self.body
        self.send_response(200)
        self.send_header("Content-Type", self.content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing."""


print(f"boto3 {boto3.__version__}, botocore {botocore.__version__}, Python {sys.version.split()[0]}\n")
server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
threading.Thread(target=server.serve_forever, daemon=True).start()
s3 = boto3.client(
    "s3",
    endpoint_url=f"http://127.0.0.1:{server.server_port}",
    region_name="us-east-1",
    config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
)


def ask(body: bytes, content_type: str) -> str:
    """List a day's objects while the proxy answers with `body` and return what the caller sees."""
    Proxy.body, Proxy.content_type = body, content_type
    options = {"Bucket": "recordings", "Prefix": "2026-11-01/"}
    try:
        answer = s3.list_objects_v2(**options)
        pages = list(s3.get_paginator("list_objects_v2").paginate(**options))
    except ClientError as err:
        return f"error {err.response['ResponseMetadata']['HTTPStatusCode']}"
    count = sum(len(page.get("Contents", ())) for page in (answer, *pages))
    return f"{count} objects, {'a listing' if 'IsTruncated' in answer else 'nothing that a listing has'}"


seen = {
    "an empty listing": ask(LISTING, "application/xml"),
    "a log-in page, well-formed": ask(XHTML, "text/html; charset=utf-8"),
    "an empty body": ask(b"", "text/html"),
    "a log-in page, not well-formed": ask(HTML, "text/html; charset=utf-8"),
}
for name, text in seen.items():
    print(f"200 with {name:30} -> {text}")
nothing = "0 objects, nothing that a listing has"
if list(seen.values()) != ["0 objects, a listing", nothing, nothing, "error 500"]:
    sys.exit(3)
print("\nAs described: the page and the empty body are parsed as 'no objects', and no error is raised.")
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

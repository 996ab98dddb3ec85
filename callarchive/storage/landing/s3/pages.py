"""Pages of a bucket's listing: read from S3's XML, believed only if they are one, and asked for until the listing ends.

The reader here takes a quarter of the time that botocore's own takes for a page of 1,000 keys. Requests are made in
`s3_bucket`.
"""

import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from callarchive.domain.errors import AnswerError

_EMPTY_MAX = 10
"""So many pages in a row may be empty: stores that pass over deleted objects send some."""


class Listed(NamedTuple):
    """A line of a listing. `etag` is without quotes, and empty where there is none."""

    key: str
    size_bytes: int
    etag: str
    modified_at: datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to a request for a listing.

    Attributes:
        folders: the common prefixes, each with its slash.
        is_last: whether the store says that nothing follows.
        token: where it says that the next page begins; None where it does not say.
        region: of the bucket, where the store says it.
    """

    entries: list[Listed]
    folders: list[str]
    is_last: bool
    token: str | None
    region: str | None


class BrokenOffError(Exception):
    """A listing that did not end as it should. Its text says how, as the end of a sentence."""


def read_listing(
    operation_model: Any, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_event: Any
) -> None:
    """Read an answer to ListObjectsV2 in botocore's place, which is left with nothing to read.

    For botocore's event `before-parse.s3.*`. An answer that is no listing, such as a web page, is left as it is: botocore would
    take it for an empty one, and `page_from` refuses it.
    """
    if operation_model.name != "ListObjectsV2" or response_dict["status_code"] != 200:
        return
    with suppress(ET.ParseError, KeyError, ValueError):
        root = ET.fromstring(response_dict["body"])  # noqa: S314 - as botocore itself does
        page = _page(root, region=response_dict["headers"].get("x-amz-bucket-region"))
        response_dict["body"] = b"<ListBucketResult/>"
        customized_response_dict["Page"] = page


def _page(root: ET.Element, *, region: str | None) -> Page:
    """Raises KeyError or ValueError: it is no listing."""
    space, _, name = root.tag.rpartition("}")
    if name != "ListBucketResult":
        raise ValueError(name)
    skip = len(space) + 1 if space else 0  # names are "{space}name"
    told = {element.tag[skip:]: element.text or "" for element in root}
    listed = [
        {child.tag[skip:]: child.text or "" for child in element}
        for element in root
        if element.tag[skip:] == "Contents"
    ]
    folders = [
        "".join(child.text or "" for child in element) for element in root if element.tag[skip:] == "CommonPrefixes"
    ]
    decoded = _decoded if told.get("EncodingType") == "url" else str
    return Page(
        [
            Listed(
                decoded(fields["Key"]),
                int(fields["Size"]),
                fields.get("ETag", "").strip('"'),
                datetime.fromisoformat(fields["LastModified"]) if "LastModified" in fields else None,
            )
            for fields in listed
        ],
        [decoded(folder) for folder in folders],
        is_last=told.get("IsTruncated") != "true",
        token=told.get("NextContinuationToken") or None,
        region=region,
    )


def _decoded(key: str) -> str:
    key = key.replace("%3A", ":")  # all that there is to decode in 8x8's names
    return unquote_plus(key) if "%" in key or "+" in key else key


def page_from(answer: dict[str, Any], *, prefix: str) -> Page:
    """Return the page in botocore's answer.

    Raises:
        AnswerError: it is no listing, or one of other keys than those that begin with `prefix`.
    """
    page = answer.get("Page")
    if not isinstance(page, Page):
        raise AnswerError("the answer is no listing of a bucket")
    if not all(entry.key.startswith(prefix) for entry in page.entries) or not all(
        folder.startswith(prefix) and folder.endswith("/") for folder in page.folders
    ):
        raise AnswerError("the answer lists keys that were not asked for")
    return page


def pages_to_the_end(ask: Callable[[dict[str, str]], Page], *, ends_at: float) -> Iterator[Page]:
    """Yield the pages of one listing.

    Keys need not be in S3's order, for not every store keeps to it; but no page may begin or end as an earlier one did.

    Args:
        ask: makes a request, with a continuation token or, for the first page, without.
        ends_at: when it must be over, by `time.monotonic`.

    Raises:
        BrokenOffError: more should follow, and the store does not say where, begins again, or is too slow.
    """
    options: dict[str, str] = {}
    tokens: set[str] = set()
    begins: set[str] = set()
    ends: set[str] = set()
    empty = 0
    while True:
        page = ask(options)
        keys = [entry.key for entry in page.entries] or page.folders
        if keys and (keys[0] in begins or keys[-1] in ends):
            raise BrokenOffError("the listing never ends: S3 sent a page again that came before")
        if keys:
            begins.add(keys[0])
            ends.add(keys[-1])
        empty = 0 if keys else empty + 1
        yield page
        if page.is_last:
            return
        if not page.token:
            raise BrokenOffError("S3 says that more follows, and not where")
        if page.token in tokens or empty >= _EMPTY_MAX:
            raise BrokenOffError("the listing never ends: S3 says that more follows, and nothing does")
        tokens.add(page.token)
        if time.monotonic() >= ends_at:
            raise BrokenOffError("listing it took longer than transfer.deadline_s")
        options = {"ContinuationToken": page.token}

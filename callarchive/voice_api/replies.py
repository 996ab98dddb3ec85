"""Reads ordinary responses with less CPU than http.client and urllib3, which read all others.

An ordinary response arrives with its whole head at once, announces the end of its body in one way, and leaves the connection
open. Parsing its head takes 5 to 15 us; http.client's parser, which is made for mail, takes 20 to 65.
"""

import re
from collections.abc import Generator
from http.client import HTTPResponse, IncompleteRead
from typing import Any

import urllib3

_HEAD = re.compile(
    rb"HTTP/1\.1 ([2-5]\d\d)(?: [^\r\n]*)?\r\n((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\r\n\0]*\r\n){1,99})\r\n"
)
"""At most 99 headers, like http.client. One that continues on a second line does not match."""
_FRAMING = re.compile(rb"^(content-length|transfer-encoding|connection):[ \t]*([^\r]*?)[ \t]*\r$", re.MULTILINE)
_LENGTH = re.compile(rb"[0-9]{1,18}")


class Reply(HTTPResponse):
    """http.client's response, which parses the head of an ordinary one itself."""

    fields: urllib3.HTTPHeaderDict | None = None  # the headers of an ordinary response
    _method: str  # of the request; set by http.client

    def begin(self, **limits: Any) -> None:
        """Read the head."""
        head = _HEAD.match(self.fp.peek())
        if head is None or not self._announces_end(int(head[1]), _FRAMING.findall(head[2].lower())):
            super().begin(**limits)
            return
        self.fp.read(head.end())
        self.fields = urllib3.HTTPHeaderDict()
        for line in head[2].decode("iso-8859-1").split("\r\n")[:-1]:
            name, _, value = line.partition(":")
            self.fields.add(name, value.strip(" \t"))

    def _announces_end(self, status: int, found: list[tuple[bytes, bytes]]) -> bool:
        """Set how the body ends, and return whether the response is ordinary."""
        framing = [field for field in found if field != (b"connection", b"keep-alive")]
        if len(framing) != 1 or status in (204, 304) or self._method == "HEAD":
            return False
        [(name, value)] = framing
        self.chunked = (name, value) == (b"transfer-encoding", b"chunked")
        if not self.chunked and not (name == b"content-length" and _LENGTH.fullmatch(value)):
            return False
        self.version, self.status, self.reason, self.will_close = 11, status, "", False
        self.chunk_left, self.length = None, None if self.chunked else int(value)
        return True


class OrdinaryResponse(urllib3.HTTPResponse):
    """urllib3's response, with a body that needs no decoding: http.client reads it."""

    def __init__(self, reply: HTTPResponse, **options: Any) -> None:
        super().__init__(reply, **options)
        self._reply = reply

    def stream(
        self,
        amt: int | None = None,
        decode_content: bool | None = None,  # noqa: ARG002, FBT001 - urllib3's signature
    ) -> Generator[bytes, None, None]:
        """Yield the body in pieces. Raises IncompleteRead if it ends early, and what reading from the socket raises."""
        while piece := self._reply.read(amt):
            yield piece
        if self._reply.length:
            raise IncompleteRead(b"", self._reply.length)
        self.release_conn()


def response_of(reply: HTTPResponse) -> urllib3.HTTPResponse:
    """Return the response that urllib3's pool expects of a connection."""
    fields = reply.fields if isinstance(reply, Reply) else None
    is_ordinary = fields is not None and "Content-Encoding" not in fields
    return (OrdinaryResponse if is_ordinary else urllib3.HTTPResponse)(
        reply,
        headers=urllib3.HTTPHeaderDict(reply.msg.items()) if fields is None else fields,
        status=reply.status,
        version=reply.version,
        reason=reply.reason,
        preload_content=False,
        decode_content=False,
        original_response=reply,
    )

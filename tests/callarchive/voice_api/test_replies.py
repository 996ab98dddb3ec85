"""Responses that are read without http.client's parser, and those that are left to it, compared with http.client itself."""

import gzip
import socket
import threading
from contextlib import ExitStack
from http.client import HTTPException, HTTPResponse, IncompleteRead

import pytest

from callarchive.voice_api.replies import OrdinaryResponse, Reply, response_of

BODY = b'{"recordings": []}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"4;x=y\r\n" + BODY[:4] + b"\r\nE\r\n" + BODY[4:] + b"\r\n0\r\nTrailer: x\r\n\r\n"
OTHERS = b"".join(b"h%d: x\r\n" % number for number in range(98))


@pytest.fixture
def begun():
    """Yield a function that returns a response of a kind to bytes, after which the server closes the connection."""
    with ExitStack() as opened:

        def begin(kind, sent, method="GET"):
            near, far = socket.socketpair()
            opened.enter_context(near)
            near.settimeout(10)
            sender = threading.Thread(target=lambda: (far.sendall(sent), far.close()))
            sender.start()
            opened.callback(sender.join)
            response = kind(near, method=method)
            opened.callback(response.close)
            response.begin()
            return response

        yield begin


def read(response):
    return b"".join(response.stream(7, decode_content=True))


def test_a_response_to_head_is_left_to_http_client_as_it_has_no_body(begun):
    reply = begun(Reply, b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n", method="HEAD")
    assert (reply.fields, reply.read()) == (None, b"")


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + BODY,
        b"HTTP/1.1 200\r\n" + LENGTH + b"\r\n" + BODY,
        b"HTTP/1.1 404 \xe4\r\nX:\r\n" + LENGTH + b"\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nCONTENT-LENGTH:\t 18 \r\nconnection: Keep-Alive\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nset-cookie: b\r\nRetry-After: \xe4;:  c \r\nEmpty:\r\n"
        + LENGTH
        + b"\r\n"
        + BODY,
        b"HTTP/1.1 503 OK\r\n" + OTHERS + LENGTH + b"\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n" + CHUNKS,
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + BODY + b"HTTP/1.1 500 another\r\n\r\n",
    ],
)
def test_an_ordinary_response_is_read_as_by_http_client(begun, sent):
    response, expected = response_of(begun(Reply, sent)), begun(HTTPResponse, sent)
    assert isinstance(response, OrdinaryResponse)
    assert response.status == expected.status
    assert response.chunked == expected.chunked
    assert response.length_remaining == expected.length
    for name in expected.headers:
        assert response.headers.getlist(name) == [value.strip() for value in expected.headers.get_all(name)]
    assert {name.lower() for name in response.headers} == {name.lower() for name in expected.headers}
    assert read(response) == expected.read()
    assert response.closed


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.0 200 OK\r\n" + LENGTH + b"\r\n" + BODY,
        b"HTTP/1.1 200 OK\n" + LENGTH + b"\r\n" + BODY,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + LENGTH + b"\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nX: y\r\n  z\r\n" + LENGTH + b"\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n" + LENGTH + b"\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nX y\r\n" + LENGTH + b"\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nX : y\r\n" + LENGTH + b"\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\n" + LENGTH + CHUNKED + b"\r\n" + CHUNKS,
        b"HTTP/1.1 200 OK\r\n" + LENGTH * 2 + b"\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nContent-Length: +18\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n" + BODY,
        b"HTTP/1.1 204 No\r\n" + LENGTH + b"\r\n",
        b"HTTP/1.1 304 No\r\n" + LENGTH + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n" + LENGTH + b"\r\n" + BODY,
    ],
)
def test_any_other_response_is_left_to_http_client(begun, sent):
    response, expected = response_of(begun(Reply, sent)), begun(HTTPResponse, sent)
    assert not isinstance(response, OrdinaryResponse)
    assert response.status == expected.status
    assert list(response.headers.items()) == expected.getheaders()
    assert read(response) == expected.read()


@pytest.mark.parametrize("framing", [b"Content-Length: %d\r\n\r\n%s", CHUNKED + b"\r\n%x\r\n%s\r\n0\r\n\r\n"])
def test_an_encoded_body_is_decoded(begun, framing):
    packed = gzip.compress(BODY)
    sent = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n" + framing % (len(packed), packed)
    assert read(response_of(begun(Reply, sent))) == BODY


@pytest.mark.parametrize(
    "sent",
    [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + OTHERS + b"a: b\r\nc: d\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n"],
)
def test_what_http_client_refuses_is_refused(begun, sent):
    with pytest.raises(HTTPException) as expected:
        begun(HTTPResponse, sent)
    with pytest.raises(HTTPException) as found:
        begun(Reply, sent)
    assert (found.type, found.value.args) == (expected.type, expected.value.args)


@pytest.mark.parametrize(
    "body", [LENGTH + b"\r\n" + BODY[:-1], CHUNKED + b"\r\n" + CHUNKS[:20], CHUNKED + b"\r\nzz\r\n"]
)
def test_a_body_that_ends_early_is_incomplete(begun, body):
    response = response_of(begun(Reply, b"HTTP/1.1 200 OK\r\n" + body))
    assert isinstance(response, OrdinaryResponse)
    with pytest.raises(IncompleteRead):
        read(response)

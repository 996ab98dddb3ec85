"""Routes: request targets, and connections that are kept."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from callarchive.voice_api.routes import Routes, origin_of

SESSION = "e35e3d0e-065a-11ec-b119-676cb2bc33ef"


@pytest.fixture
def routes():
    made = Routes(connection_count=2)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("url", "origin", "target"),
    [
        ("https://h.example/a/b?c=d%2Fe&f=~g", "https://h.example", "/a/b?c=d%2Fe&f=~g"),
        ("http://127.0.0.1:81", "http://127.0.0.1:81", "/"),
        ("http://h?a=/b", "http://h", "/?a=/b"),
        ("http://[::1]:81/a?b=http://x/", "http://[::1]:81", "/a?b=http://x/"),
    ],
)
def test_a_server_receives_path_and_query_verbatim(routes, monkeypatch, url, origin, target):
    monkeypatch.setenv("no_proxy", "*")
    assert origin_of(url) == origin
    route = routes.to(url)
    assert (route.target(url), route.pool.scheme) == (target, url.partition(":")[0])


def test_a_proxy_for_plain_http_receives_the_whole_url_and_one_for_tls_does_not(routes, monkeypatch):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", "http://user:word@127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert routes.to("http://h.example/a").target("http://h.example/a") == "http://h.example/a"
    assert routes.to("https://h.example/a").target("https://h.example/a") == "/a"
    proxy = routes.to("https://h.example/b").pool.proxy
    assert proxy is not None
    assert proxy.host == "127.0.0.1"


def test_a_missing_ca_bundle_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "absent.pem"))
    routes = Routes(connection_count=1)
    with pytest.raises(OSError, match="CA certificate bundle"):
        routes.to("https://h.example/")
    routes.close()


def test_certificates_are_verified_by_default(routes, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    assert routes.to("https://h.example/").pool.cert_reqs == "CERT_REQUIRED"


def test_a_later_thread_uses_the_connections_of_one_that_ended(server, make_client, reply):
    server.reply_with(reply(body={"recordings": []}))
    client = make_client()
    for _ in range(3):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(client.look_up, SESSION).result()
    assert len({ask.peer for ask in server.received}) == 1

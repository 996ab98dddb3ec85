"""Connections to a host: keep-alive, TLS and certificates, proxies of the environment.

requests resolves all of these, and its adapter owns the connections. `transport` sends on them with urllib3 directly: requests
takes 0.32 ms of CPU per request, urllib3 0.12 ms, at up to a thousand lookups per second. No netrc, cookies or redirects here.
"""

import os
from dataclasses import dataclass

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from callarchive.voice_api.deadlines import WatchedConnection, WatchedTlsConnection


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = WatchedConnection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = WatchedTlsConnection


_POOLS: dict[str, type[urllib3.HTTPConnectionPool]] = {"http": _Pool, "https": _TlsPool}


@dataclass(frozen=True, slots=True)
class Route:
    """The way to one origin, or to the proxy before it. A proxy for plain HTTP needs the whole URL (`names_host`)."""

    pool: urllib3.HTTPConnectionPool
    names_host: bool

    def target(self, url: str) -> str:
        """Return the request target for this URL."""
        if self.names_host:
            return url
        path = url[len(origin_of(url)) :]
        return path if path.startswith("/") else f"/{path}"


class Routes:
    """Routes by origin, created when first needed. Thread-safe. Up to `connection_count` connections to a host are kept."""

    def __init__(self, *, connection_count: int) -> None:
        # More than the hosts of 8x8: beyond that, the adapter closes the least recently used pool.
        self._adapter = _WatchedAdapter(pool_connections=1000, pool_maxsize=connection_count)
        self._verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        self._known: dict[str, Route] = {}

    def to(self, url: str) -> Route:
        """Return the route to the URL's host. Proxies are resolved once per origin, which costs as much as a request."""
        origin = origin_of(url)
        route = self._known.get(origin)
        if route is None:
            route = self._known[origin] = self._adapter.route(origin, verify=self._verify)
        return route

    def close(self) -> None:
        """Close all connections. May be called twice."""
        self._adapter.close()
        self._known.clear()


class _WatchedAdapter(HTTPAdapter):
    """requests' adapter with connections that a `Watchdog` can abort."""

    def init_poolmanager(self, *args: object, **kwargs: object) -> None:
        super().init_poolmanager(*args, **kwargs)  # type: ignore[arg-type]
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: object) -> urllib3.ProxyManager:
        manager: urllib3.ProxyManager = super().proxy_manager_for(proxy, **proxy_kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager

    def route(self, origin: str, *, verify: bool | str) -> Route:
        """Return the route to an origin, resolved as by the adapter's `send`."""
        prepared = requests.Request("GET", f"{origin}/").prepare()
        proxies = get_environ_proxies(f"{origin}/")
        pool = self.get_connection_with_tls_context(prepared, verify, proxies=proxies)
        self.cert_verify(pool, origin, verify, None)  # type: ignore[no-untyped-call]
        assert isinstance(pool, urllib3.HTTPConnectionPool)
        return Route(pool, names_host=self.request_url(prepared, proxies) != prepared.path_url)


def origin_of(url: str) -> str:
    """Return scheme, host and port of an absolute URL, verbatim."""
    begin = url.find("://") + 3
    ends = [end for end in (url.find(mark, begin) for mark in "/?#") if end >= 0]
    return url[: min(ends, default=len(url))]

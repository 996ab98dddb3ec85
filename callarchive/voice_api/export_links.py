"""Decides which links of an export are followed with the API key: those to 8x8's hosts, or to the configured API."""

import ipaddress
import re
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from callarchive.domain.errors import ExportError

_DOMAINS = ("8x8.com", "wavecell.com")
_PORTS = {"http": 80, "https": 443}


def export_url(link: str, *, api_url: str, job: str) -> str:
    """Return the URL to download, rebuilt from its checked parts, with the host as configured if it is the same.

    The key may be sent to the origin of `api_url`, where all loopback names are one host, and from one https host of 8x8 to
    another (8x8's page names voice.wavecell.com where the OpenAPI file names voice.8x8.com). Other links raise ExportError:
    it names the host, never the link, which gives access to the file.
    """
    api = urlsplit(api_url)
    # Parsers disagree about backslashes, blanks and non-ASCII: the URL that we check must be the one requested.
    if not re.fullmatch(r"[!-\[\]-~]{1,8192}", link):
        raise ExportError(f"{job}: refused a link with characters that are invalid in a URL")
    try:
        there = urlsplit(urljoin(api_url + "/", link))
        port = there.port
    except ValueError as err:
        raise ExportError(f"{job}: refused a link that is not a URL") from err
    host = there.hostname or ""
    if there.scheme not in _PORTS or there.username is not None or there.password is not None or not host:
        raise ExportError(f"{job}: refused a link that is not a plain http(s) URL (scheme {there.scheme[:20]!a})")
    if _same_origin(there, api):
        return urlunsplit((api.scheme, api.netloc, there.path, there.query, ""))
    if there.scheme == api.scheme == "https" and _is_8x8(host) and _is_8x8(api.hostname or ""):
        netloc = host if port is None else f"{host}:{port}"
        return urlunsplit((there.scheme, netloc, there.path, there.query, ""))
    place = f"{there.scheme}://{host[:100]}" + ("" if port is None else f":{port}")
    raise ExportError(
        f"{job}: refused a link to {place}, as the API key is sent only to {api.scheme}://{api.netloc}."
        " If that is 8x8's host, set accounts.api_url to it"
    )


def _same_origin(one: SplitResult, other: SplitResult) -> bool:
    same_host = one.hostname == other.hostname or (_is_loopback(one.hostname) and _is_loopback(other.hostname))
    ports = [parts.port or _PORTS.get(parts.scheme) for parts in (one, other)]
    return one.scheme == other.scheme and same_host and ports[0] == ports[1]


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _is_8x8(host: str) -> bool:
    return any(host == domain or host.endswith(f".{domain}") for domain in _DOMAINS)

"""Where an export's link may be followed with the API key: 8x8's own hosts, or the configured API's. Nowhere else."""

import ipaddress
import re
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from callarchive.domain.errors import ExportError

_DOMAINS = ("8x8.com", "wavecell.com")
_PORTS = {"http": 80, "https": 443}


def export_url(link: str, *, api_url: str, job: str) -> str:
    """The URL to fetch, rebuilt from the parts that were checked; at the configured spelling of the host if it is that.

    The key may go to the origin of `api_url`, where all names of the loopback are one host, and from an https host of
    8x8's to another (the page says voice.wavecell.com where the OpenAPI file says voice.8x8.com).

    Raises:
        ExportError: names the host that was refused. The link itself is in no message: it is as good as the file.
    """
    api = urlsplit(api_url)
    # Parsers disagree about backslashes, blanks and what is not ASCII: what we check must be what is asked.
    if not re.fullmatch(r"[!-\[\]-~]{1,8192}", link):
        raise ExportError(f"{job}: a link holds characters that no URL has: refused")
    try:
        there = urlsplit(urljoin(api_url + "/", link))
        port = there.port
    except ValueError as err:
        raise ExportError(f"{job}: a link is not a URL: refused") from err
    host = there.hostname or ""
    if there.scheme not in _PORTS or there.username is not None or there.password is not None or not host:
        raise ExportError(f"{job}: a link is not a plain http(s) URL (scheme {there.scheme[:20]!a}): refused")
    if _same_origin(there, api):
        return urlunsplit((api.scheme, api.netloc, there.path, there.query, ""))
    if there.scheme == api.scheme == "https" and _is_8x8(host) and _is_8x8(api.hostname or ""):
        netloc = host if port is None else f"{host}:{port}"
        return urlunsplit((there.scheme, netloc, there.path, there.query, ""))
    place = f"{there.scheme}://{host[:100]}" + ("" if port is None else f":{port}")
    raise ExportError(
        f"{job}: a link leads to {place}, and the API key is sent to {api.scheme}://{api.netloc} only: refused."
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

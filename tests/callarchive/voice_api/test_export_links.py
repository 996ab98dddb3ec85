"""Hosts that may receive the key, beyond those that can be simulated on the loopback."""

import pytest

from callarchive.domain.errors import ExportError
from callarchive.voice_api.export_links import export_url


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("https://voice.wavecell.com/api/v1/f/token?x=1#part", "https://voice.wavecell.com/api/v1/f/token?x=1"),
        ("https://files.eu.8x8.com:8443/f", "https://files.eu.8x8.com:8443/f"),
        ("https://VOICE.8x8.COM:443/f", "https://voice.8x8.com/f"),
        ("/f", "https://voice.8x8.com/f"),
    ],
)
def test_hosts_of_8x8_share_the_key_over_https(link, expected):
    assert export_url(link, api_url="https://voice.8x8.com", job="job") == expected


@pytest.mark.parametrize(
    ("link", "api_url"),
    [
        ("http://voice.wavecell.com/f", "https://voice.8x8.com"),
        ("https://voice.wavecell.com/f", "http://voice.8x8.com"),
        ("https://voice.wavecell.com/f", "https://gateway.acme.example"),
        ("https://notwavecell.com/f", "https://voice.8x8.com"),
        ("https://8x8.com.evil.example/f", "https://voice.8x8.com"),
        ("https://user@voice.8x8.com/f", "https://voice.8x8.com"),
        ("https://localhost:9001/f", "https://localhost:9000"),
        ("https://voice.8x8.com:99999/f", "https://voice.8x8.com"),
    ],
)
def test_every_other_host_is_refused(link, api_url):
    with pytest.raises(ExportError, match="refused"):
        export_url(link, api_url=api_url, job="job")

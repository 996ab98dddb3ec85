"""Clean text that others wrote before it is stored, shown or logged.

Foreign text is: error messages and bodies of servers, names and paths in landings, values of events, responses and CSV
cells. It may contain terminal escapes, credentials and phone numbers. Every module passes it through `cleaned`, or, where
its form must survive, through a part of that: `storable`, `mask_text`, `without_credentials`, `place_to_keep`.

What counts as a phone number: seven or more digits in a row, eight or more with separators between them, six or more behind
a plus; also percent-encoded and next to letters. UUIDs, time stamps, hashes, sizes with their unit, IPv4 addresses, the host
or bucket of a URL, and rows of 19 or more digits are not.
"""

import re
import unicodedata
from functools import lru_cache
from urllib.parse import unquote

MASK = "***"
_MOST_READ_CHARS = 64 * 1024  # the rest of a longer text is ignored
_NESTED = 5  # passes over a text: a URL may be in the user name of another
PATH_CHARS = 1024
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]{0,1024}(?:\x07|\x1b\\|\x9c)"  # OSC, DCS: titles, links
)

_PERCENT = r"%(?:25)*"
_PARAMETERS = (
    r"X-(?:Amz|Goog|Oss)-(?:Signature|Credential|Security-Token)|AWSAccessKeyId|(?:OSS|Google)AccessId|Key-Pair-Id"
    r"|(?:[a-z]+[_-])?(?:signature|sig|token|secret|password|passwd|passphrase|pwd)|(?:api|access|secret|account)[_-]?key"
)
_AFTER_VALUE = r"\s&;,\"'<>\\"
_NAMED = ("sig", "token", "secret", "pass", "pwd", "key", "credential", "accessid")
_SECRETS: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = tuple(
    (hints, re.compile(pattern, re.IGNORECASE), replacement)
    for hints, pattern, replacement in (
        # Authorization: Bearer abc
        (
            ("authorization",),
            r"(\b(?:proxy-)?authorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?)"
            r"(?:(?:bearer|basic|digest|negotiate|token|AWS4-HMAC-SHA256)\s+)?[^\s\"'<>]+(?:,\s?\w+=[^\s,]+)*",
            rf"\1{MASK}",
        ),
        (
            ("bearer", "aws4-"),
            r"\b(bearer|aws4-hmac-sha256)\s+(?!tokens?\b|auth|keys?\b|and\b|or\b|is\b|was\b|\*)[^\s\"'<>,;]+",
            rf"\1 {MASK}",
        ),
        (("basic",), r"\b(basic)\s+(?=[a-z]*[0-9+/=])[a-z0-9+/]{6,}=*", rf"\1 {MASK}"),
        # user:password@ and what follows ? or # of a URL; also with the URL's own characters percent-encoded
        (
            ("@",),
            r"(\w://)(?:(?:[^\s/?#@\"'<>]{0,512}@)+|[^\s/?#@:\"'<>]{1,128}:(?!\d{1,5}[/?#])[^\s\"'<>]{0,256}@)",
            rf"\1{MASK}@",
        ),
        (("%",), rf"({_PERCENT}3A{_PERCENT}2F{_PERCENT}2F)[^\s/\"'<>]{{0,512}}?{_PERCENT}40", rf"\1{MASK}%40"),
        (("@",), r"(?<![\w.+:/-])(?!sips?:|tel:|mailto:)[\w.+-]{1,64}:[^\s@/:\"'<>]{1,128}@(?=[\w\[])", f"{MASK}@"),
        (("?", "#"), r"(\w://[^\s\"'<>?#]*)[?#][^\s\"'<>]*", rf"\1?{MASK}"),
        (("?",), rf"(?<=[^\s?])\?(?=[^\s\"'<>?=%]{{1,64}}(?:=|{_PERCENT}3D))[^\s\"'<>]*", f"?{MASK}"),
        (("%",), rf"{_PERCENT}3F(?=[^\s\"'<>]{{1,64}}?{_PERCENT}3D)[^\s\"'<>]*", f"?{MASK}"),
        # name=value anywhere; name: value where the value can hardly be a word
        (
            _NAMED,
            rf"((?:{_PARAMETERS})[\"']?(?:=|{_PERCENT}3D)[\"']?)(?!\*\*\*)(?:(?!{_PERCENT}26)[^{_AFTER_VALUE}])+",
            rf"\1{MASK}",
        ),
        (
            _NAMED,
            rf"(\b(?:{_PARAMETERS})[\"']?\s{{0,3}}:\s{{0,3}}[\"']?)"
            rf"(?=[^{_AFTER_VALUE}]*[\d/+_.=-])[^{_AFTER_VALUE}]{{6,}}",
            rf"\1{MASK}",
        ),
        (_NAMED, r"(\"(?:[\w-]*(?:password|secret|token|signature|api_?key))\"\s{0,3}:\s{0,3}\")[^\"]+", rf"\1{MASK}"),
        (("akia", "asia"), r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b", MASK),
        (("eyj",), r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*", MASK),
    )
)
"""What a text must contain, in lower case, for the pattern to be tried; the pattern; its replacement."""

_HINTS = sorted({hint for hints, *_ in _SECRETS for hint in hints})
_ANY_HINT = re.compile("|".join(map(re.escape, _HINTS)))
"""Most texts contain no hint, and a call log has tens of thousands of cells."""

_MONTH_AND_DAY = r"{0}(?:0[1-9]|1[0-2]){0}(?:0[1-9]|[12]\d|3[01])"
_DAY = rf"(?:19|20)\d\d{_MONTH_AND_DAY}"
_CLOCK_SEPARATOR = rf"(?:[:.\-_]|{_PERCENT}3A)"
_CLOCK = r"(?:[01]\d|2[0-3]){0}[0-5]\d(?:{0}[0-5]\d(?:[.,]\d{{1,9}})?)?"
_ZONE = rf"(?:Z|\s?(?:[+-]|{_PERCENT}2B)(?:0\d|1[0-4]):?(?:[0-5]\d)?)?(?!\d)"
_UUID_OR_TIME = (
    r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Fa-f])"
    rf"|(?<!\d){_DAY.format('-')}(?!\d)(?:(?:[T _]|%20){_CLOCK.format(_CLOCK_SEPARATOR)}{_ZONE})?"
)
_UUIDS_AND_TIMES = re.compile(_UUID_OR_TIME, re.ASCII)
"""Most digits in paths are theirs. Without them, most texts obviously contain no number."""

_NO_NUMBER = re.compile(
    "|".join(
        (
            _UUID_OR_TIME,  # 2021-08-20T16:51:01.703Z, 2021-08-20
            r"hmac-sha256:[0-9a-f]{32}(?![0-9A-Za-z])",
            # 2199-01-01, 9999-12-31T23:59:59Z: only where no digit before or after can make it a part of a number
            rf"(?<![\d+()])(?<![\d+)][ .\-])(?:2[1-9]\d\d|9999){_MONTH_AND_DAY.format('-')}"
            rf"(?:(?:T|[ _](?=\d\d:)){_CLOCK.format(':')}{_ZONE}|(?![ ./\-]{{0,2}}\d))",
            # 20210820T165101Z, 2021/08/20
            rf"(?<![0-9A-Za-z+]){_DAY.format('')}"
            rf"(?:[T_-]?{_CLOCK.format('')}{_ZONE}|(?:[01]\d|2[0-3])(?:[0-5]\d){{2}}\d{{3}})?(?![0-9A-Za-z])",
            rf"(?<![\d/]){_DAY.format('/')}(?![\d])",
            # Hashes in hexadecimal: with a letter, of the lengths that are in use
            r"(?<![0-9A-Za-z])(?=[0-9]*[a-fA-F])(?:[0-9a-f]{32}|[0-9A-F]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128})"
            r"(?![0-9A-Za-z])",
            r"(?<=\.)[0-9a-f]{16}(?=\.)",  # of a version in the archive
            # 1234567 bytes, 1234567 of 1234568 bytes, size=1234567, bytes 0-1234567/1234568
            r"(?<![\w+.-])(?:\d+ (?:of|and|or|to|not|instead of) ){0,2}\d+(?:\.\d+)?[ \u00a0]?"
            r"(?:bytes|octets|B|[KMGT]i?B|promised|were promised)(?!\w)",
            r"(?i:size|length|offset|bytes?)(?:_bytes)?[\"']?\s?[:=]?\s?[\"']?\d+(?:[-/]\d+){0,2}(?!\d)",
            # IPv4, unless it might be a number in four pairs
            r"(?<![\d.])(?!\d\d(?:\.\d\d){3}(?!\d))(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d]|\.\d)",
            r"(?:s3|https?|sftp)://[^\s/?#@\"'<>]+",
            r"(?<![\d+])\d{19,}(?!\d)",  # nanoseconds; a phone number has 15 digits and 00 in front at most
            r"arn:[\w-]+:[\w-]*:[\w-]*:\d{12}(?!\d)",
        )
    ),
    re.ASCII,
)

_DIGIT = rf"(?:\d|{_PERCENT}3\d)"
_SEPARATOR = (
    r"(?:[ \t.\-()\u00a0\u00ad\u2000-\u200f\u202a-\u202f\u2060-\u2069\u2010-\u2015\u2212\ufeff]"
    rf"|{_PERCENT}(?:20|28|29|2D|2E))"
)
_START = r"(?<!%)(?<!%[0-9A-Fa-f])"
_NUMBER = re.compile(
    rf"(?:\+|{_PERCENT}2B){_SEPARATOR}?{_DIGIT}(?:{_SEPARATOR}{{0,3}}{_DIGIT}){{5,}}"
    rf"|{_START}\(?{_DIGIT}(?:{_SEPARATOR}{{0,3}}{_DIGIT}){{7,}}"
    rf"|{_START}{_DIGIT}{{7,}}"
    rf"|{_START}(?<!\d)\d{{3}}[.\-]\d{{4}}(?!\d)"
    rf"|{_START}(?<!\d)\(?0\d{{1,5}}\)? ?/ ?\d(?:[ \-]?\d){{4,}}"
)
_SIX_DIGITS = re.compile(r"\d(?:\D*\d){5}")
"""Every number has that many, and most texts have fewer. This takes a tenth of the time of a search for numbers."""


def cleaned(text: str, *, limit: int = 300) -> str:
    r"""Return the text as one line of printable characters, without credentials and phone numbers, cut to `limit` characters.

    Terminal escape sequences are removed, line ends and tabs become spaces; any other character that is not printable
    (controls, bidirectional overrides, lone surrogates) is written as its escape, `\u{202e}`. Cleaning twice changes nothing.
    """
    text = printable(mask_text(_ESCAPE_SEQUENCE.sub("", _bounded(text))))
    return text if len(text) <= limit else text[: limit - 3] + "..."


def cleaned_lines(text: str, *, limit: int = 4000) -> str:
    """Return the text with each line cleaned. `limit` is for all lines together."""
    lines = [cleaned(line, limit=limit) for line in text[:_MOST_READ_CHARS].split("\n")]
    whole = "\n".join(lines)
    return whole if len(whole) <= limit else whole[: limit - 3] + "..."


def cleaned_path(path: str) -> str:
    """Return a path in a landing or the archive, cleaned, at most as long as an S3 key.

    Line ends are escaped too. So a path that is unchanged contains neither `***` nor a backslash, and is shorter than
    `PATH_CHARS`.
    """
    text = "".join(c if c.isprintable() else _escaped(c) for c in mask_text(_bounded(path)))
    return text if len(text) <= PATH_CHARS else text[: PATH_CHARS - 3] + "..."


def printable(text: str) -> str:
    """Return the text as one line of printable characters. Nothing is masked."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _visible(c) for c in _ESCAPE_SEQUENCE.sub("", text))


def mask_text(text: str) -> str:
    """Return the text without credentials and phone numbers. Control characters and length are not changed."""
    without_credentials = mask_credentials(text)
    masked = mask_numbers(without_credentials)
    # A masked number can leave a user and a password in front of an `@` that did not look like them before.
    return masked if masked == without_credentials else mask_credentials(masked)


def mask_credentials(text: str) -> str:
    """Return the text without passwords and queries of URLs, signatures, tokens and `Authorization` values."""
    if not _ANY_HINT.search(text.lower()):
        return text
    for _ in range(_NESTED):
        before, lowered = text, text.lower()
        found = {hint for hint in _HINTS if hint in lowered}
        for hints, pattern, replacement in _SECRETS:
            if not found.isdisjoint(hints):
                text = pattern.sub(replacement, text)
        if text == before:
            break
    return text


def mask_numbers(text: str) -> str:
    """Return the text with its phone numbers, as the module's docstring defines them, replaced by `***`."""
    if not _may_have_number(text):
        return text
    parts, at = [], 0
    for kept in _NO_NUMBER.finditer(text):
        parts += [_NUMBER.sub(MASK, text[at : kept.start()]), kept[0]]
        at = kept.end()
    return "".join((*parts, _NUMBER.sub(MASK, text[at:])))


def storable(text: str) -> str:
    """Return the text with lone surrogates replaced by U+FFFD, as UTF-8 and Parquet require."""
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)


def without_credentials(place: str) -> str:
    """Return a URL or path without user, password, query and fragment, which may hold a presigned signature."""
    scheme, separator, rest = place.partition("://")
    if not separator:
        return place.partition("?")[0]
    host, slash, path = rest.partition("?")[0].partition("#")[0].partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


@lru_cache(maxsize=256)  # a place is read from a response, and again when the response is stored
def place_to_keep(place: str) -> str | None:
    """Return the part of a file's URL or path that may be stored, without credentials and phone numbers.

    Folders up to the last one that contains a phone number are cut off: files are in a folder with their session's id, which
    is found without them. `None` where the file's own name contains a number: then a listing must find it.
    """
    place = without_credentials(storable(place))
    scheme, separator, rest = place.rpartition("://")
    host, slash, path = rest.partition("/") if separator else ("", "", rest)
    if _is_harmless(path):
        return place or None
    parts = path.split("/")
    numbered = [at for at, part in enumerate(parts) if any(mask_text(text) != text for text in {part, unquote(part)})]
    if not numbered:
        # A number may also be spread over folders.
        return place or None if mask_numbers(path) == path else None
    rest_of_path = "/".join(parts[numbered[-1] + 1 :])
    return f"{scheme}{separator}{host}{slash}{rest_of_path}" if rest_of_path else None


def _may_have_number(text: str) -> bool:
    if not _SIX_DIGITS.search(text):
        return False
    rest = _UUIDS_AND_TIMES.sub("x", text)
    return _SIX_DIGITS.search(rest) is not None and _NUMBER.search(rest) is not None


def _is_harmless(path: str) -> bool:
    """Return whether no part of the path, nor several together, can contain a number or a credential, as in most paths."""
    plain = unquote(path)
    return not (_ANY_HINT.search(plain.lower()) or _may_have_number(path) or _may_have_number(plain))


def _visible(character: str) -> str:
    """Return a space for white space, else the character's escape."""
    if character in "\t\n\v\f\r" or unicodedata.category(character) == "Zs":
        return " "
    return _escaped(character)


def _escaped(character: str) -> str:
    return f"\\u{{{ord(character):x}}}"  # in braces, so that its digits join no others


def _bounded(text: str) -> str:
    """Return the text cut to the limit, without a number or word at the cut: it would not be recognised."""
    if len(text) <= _MOST_READ_CHARS:
        return text
    return re.sub(r"\S{1,512}\Z", "", text[:_MOST_READ_CHARS])

"""Paths in a landing: which are allowed, and which a URL or `filePath` of 8x8 may mean. The search is in `object_finder`.

8x8 writes a place in two ways: `externalFileUrl` with percent-encoded colons and without a date folder, the VRU event's
`filePath` with raw colons, a date folder and no scheme. Neither is ever downloaded as a URL: only the end of the path is
used, decoded once, checked, and looked for below the configured root.
"""

import re
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from callarchive.domain.errors import ArchiveError
from callarchive.domain.identifiers import is_uuid

_SCHEMES = ("http", "https", "s3", "sftp", "ftp", "ftps")
_MAX_PLACE_CHARS = 4096
_MAX_PATH_BYTES = 1024  # of an S3 key; longer ones are an error there instead of an absent object
_MAX_NAME_BYTES = 255  # of a name on the file systems behind SFTP servers, likewise
_NO_PART_OF_A_PATH = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
_DOTS_OR_SLASH_STILL_ENCODED = re.compile(r"%(?:25)*(?:2e|2f|5c|00)", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_DATE_FOLDER = re.compile(r"\d{4}-\d\d-\d\d/")
_OF_THE_SERVER = re.compile(r"lost\+found$|[.$@~]|system volume information$")
"""Names of servers' own folders, in lower case."""


class PlaceRefusedError(ArchiveError):
    """A path or URL that is malformed or could lead out of the landing's root."""


def check_path(path: str) -> str:
    """Return the path if it is relative, without an empty, `.` or `..` part, backslash, control character or lone surrogate.

    Raises:
        PlaceRefusedError: otherwise.
    """
    parts = path.split("/")
    bad_part = any(part in ("", ".", "..") for part in parts)
    if bad_part or _NO_PART_OF_A_PATH.search(path):
        raise PlaceRefusedError(f"refused as a path: {ascii(path)[:80]}")
    return path


def paths_from(place: str, *, session_id: str, root: str) -> list[str]:
    """Return the paths below the landing's root that a URL or a `filePath` may mean, likeliest first.

    Args:
        place: `externalFileUrl` or `filePath`. Its host and bucket are ignored.
        session_id: in lower case; 8x8 writes files into the session's folder.
        root: the landing's own prefix, which a place may begin with.

    Raises:
        PlaceRefusedError: it has an unknown scheme, a `..`, encoded separators, or names that are too long for any store.
    """
    if len(place) > _MAX_PLACE_CHARS:
        raise PlaceRefusedError(f"refused as a place: {len(place)} characters")
    if "://" in place or place.lower().startswith("file:"):
        try:
            url = urlsplit(place)
        except ValueError as err:
            raise PlaceRefusedError(f"refused as a URL: {err}") from err
        if url.scheme.lower() not in _SCHEMES:
            raise PlaceRefusedError(f"refused as a URL: scheme {ascii(url.scheme)[:20]}")
        encoded = url.path
    else:
        encoded = place
    parts = []
    for part in encoded.split("/"):
        try:
            decoded = unquote(part, errors="strict")
        except UnicodeDecodeError as err:
            raise PlaceRefusedError(f"refused as a place: {ascii(part)[:60]} is not UTF-8") from err
        if "/" in decoded or _DOTS_OR_SLASH_STILL_ENCODED.search(decoded):
            raise PlaceRefusedError(f"refused as a place: separators or dots are encoded in {ascii(part)[:60]}")
        if decoded:
            parts.append(check_path(decoded))
    if not parts:
        raise PlaceRefusedError("refused as a place: it names no file")
    sizes_bytes = [len(part.encode()) for part in parts]
    if max(sizes_bytes) > _MAX_NAME_BYTES or sum(sizes_bytes) + len(parts) > _MAX_PATH_BYTES:
        raise PlaceRefusedError(f"refused as a place: a name of {max(sizes_bytes)} bytes in {len(place)} characters")
    tails: list[Sequence[str]] = []
    lower = [part.lower() for part in parts]
    if session_id in lower[:-1]:
        at = lower.index(session_id)
        tails.append(parts[at:])
        if at > 0 and _DATE.fullmatch(parts[at - 1]):
            tails.append(parts[at - 1 :])
    root_parts = [part for part in root.split("/") if part]
    tails.extend(
        parts[skipped + len(root_parts) :]
        for skipped in range(2)  # a path-style S3 URL begins with the bucket
        if root_parts and parts[skipped : skipped + len(root_parts)] == root_parts
    )
    tails.append(parts)
    tails += [parts[-2:], parts[-1:]]
    return list(dict.fromkeys("/".join(tail) for tail in tails if tail))


def is_of_recording(folder: str, session_id: str) -> bool:
    """Return whether the folder may hold files of the session, judging by its name.

    It is not below another session's folder or a server's own (`lost+found`, `.snapshot`).
    """
    parts = folder.lower().split("/")
    return not any((is_uuid(part) and part != session_id) or _OF_THE_SERVER.match(part) for part in parts)


def date_folder_of(path: str) -> str:
    """Return the date folder at the beginning of the path, with its slash, or an empty string."""
    folder = _DATE_FOLDER.match(path)
    return folder[0] if folder else ""

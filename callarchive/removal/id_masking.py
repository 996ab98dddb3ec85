"""Ids in text that another program keeps, replaced by as many characters, so that offsets, sizes and formats stay valid."""

import mmap
import re
from bisect import bisect_left
from collections.abc import Collection, Iterator
from pathlib import Path

_ID = re.compile(
    rb"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
    rb"|[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}(?:-[0-9A-Fa-f]{0,12}){0,4}(?![0-9A-Fa-f-])"  # in text that was cut
    rb"|(?<![0-9A-Fa-f])[0-9A-Fa-f]{32}(?![0-9A-Fa-f])"
)
_NEUTRAL = b"erased".ljust(36, b"-")
_FEW = 16
_MOST_NEEDLES = 64


class IdMask:
    """Finds ids of sessions and recordings: in any case, without hyphens, and if they are cut after 12 digits or more."""

    def __init__(self, ids: Collection[str]) -> None:
        self._ids = sorted({one.lower().replace("-", "").encode() for one in ids})
        # Ids are found by a part of them: `find` is many times faster than the expression. Few by their first digits; many by
        # the third group, which is the same in version-1 ids of most of a year.
        is_few = len(self._ids) <= _FEW
        parts = {one[:8] if is_few else one[12:16] for one in self._ids}
        self._needles = parts | {part.upper() for part in parts}
        self._offsets = (0,) if is_few else (14, 12)

    def masked(self, data: bytes) -> bytes:
        """Return the data without the ids; its length stays."""
        copy = bytearray(data)
        for start, neutral in self._spans(data):
            copy[start : start + len(neutral)] = neutral
        return bytes(copy)

    def is_in_file(self, path: Path) -> bool:
        """Return whether the file has one of the ids; False if there is no such file. Raises OSError."""
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return any(self._spans(data))
        except (FileNotFoundError, ValueError):  # ValueError: it is empty
            return False

    def mask_file(self, path: Path) -> bool:
        """Replace the ids in the file, in place: another program may be appending to it. Return whether there were any.

        Raises OSError.
        """
        if not self.is_in_file(path):
            return False
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
            for start, neutral in list(self._spans(data)):
                data[start : start + len(neutral)] = neutral
            data.flush()
        return True

    def _spans(self, data: bytes | mmap.mmap) -> Iterator[tuple[int, bytes]]:
        """Yield for each occurrence of an id its offset and what to write there."""
        for found in self._candidates(data):
            digits = found[0].lower().replace(b"-", b"")
            at = bisect_left(self._ids, digits)
            if at < len(self._ids) and self._ids[at].startswith(digits):
                yield found.start(), _NEUTRAL[: len(found[0])]

    def _candidates(self, data: bytes | mmap.mmap) -> Iterator[re.Match[bytes]]:
        if len(self._needles) > _MOST_NEEDLES:
            yield from _ID.finditer(data)
            return
        for needle in self._needles:
            at = data.find(needle)
            while at >= 0:
                for offset in self._offsets:
                    if at >= offset and (found := _ID.match(data, at - offset)):
                        yield found
                at = data.find(needle, at + 1)

"""The ids that an erasure removes, and whether a text names one of them."""

import re
from dataclasses import dataclass
from functools import cached_property

_UUIDS = re.compile(
    r"(?=([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}))|(?<![0-9a-f])([0-9a-f]{32})(?![0-9a-f])",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True)
class ErasedIds:
    """Sessions of an account that go as a whole, and recordings that go: theirs, and single ones of other sessions."""

    subaccount_id: str
    session_ids: frozenset[str] = frozenset()
    recording_ids: frozenset[str] = frozenset()

    @cached_property
    def all(self) -> frozenset[str]:
        """All ids, of sessions and of recordings."""
        return self.session_ids | self.recording_ids

    def in_text(self, text: str | None) -> bool:
        """Return whether the text has one of the ids, in upper or lower case, with or without hyphens."""
        return text is not None and not self.all.isdisjoint(ids_anywhere(text))

    def cut_from(self, text: str) -> str:
        """Return the text with "(erased)" in place of each id."""
        for one in sorted(self.all.intersection(ids_anywhere(text))):
            text = re.sub(one.replace("-", "-?"), "(erased)", text, flags=re.IGNORECASE)
        return text


def ids_anywhere(text: str) -> set[str]:
    """Return the UUIDs in the text as 8x8 writes them: also overlapping ones, ones inside of words, and without hyphens."""
    found = ((with_hyphens or without).replace("-", "").lower() for with_hyphens, without in _UUIDS.findall(text))
    return {f"{one[:8]}-{one[8:12]}-{one[12:16]}-{one[16:20]}-{one[20:]}" for one in found}

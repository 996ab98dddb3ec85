"""Objects in a landing's listing of recordings that are not where 8x8 reports them.

Folders may be laid out by year, month and day, or moved. An object belongs to a recording if its file's name begins with the
recording id, or contains it below the folder of the recording's session.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta

from callarchive.domain.landing_objects import LandingObject
from callarchive.storage.landing import Gap
from callarchive.storage.landing.contents import LandingContents, recording_id_in
from callarchive.storage.landing.places import is_of_recording

_YEAR = re.compile(r"\d{4}")
_MONTH = re.compile(r"(\d{4})-?(\d\d)")
_DAY = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)")
_DAYS_OFF = (0, 1, -1)


def paths_naming(contents: LandingContents, recordings: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the paths of the recordings' objects, by recording id, in the listing's order.

    All days are searched: a call near midnight, or an object dated only by its arrival, may be under a neighbouring day.

    Args:
        recordings: session id by recording id, in lower case.
    """
    of_session: dict[str, list[str]] = {}
    for recording_id, session_id in recordings.items():
        of_session.setdefault(session_id, []).append(recording_id)
    found: dict[str, list[str]] = {}
    for path in contents.every_path():
        id_ = recording_id_in(path)
        if id_ is not None and id_ in recordings:
            found.setdefault(id_, []).append(path)
            continue
        *folders, name = path.lower().split("/")
        for folder in folders:
            for id_ in of_session.get(folder, ()):
                if id_ in name:
                    found.setdefault(id_, []).append(path)
    return found


def in_order(objects: Sequence[LandingObject], *, named: str | None) -> list[LandingObject]:
    """Return several objects of one recording, the best last.

    The best has the name in 8x8's URL, then is the newest, then the largest; ties are broken by path.

    Args:
        named: the file's name in 8x8's URL.
    """
    return sorted(
        objects,
        key=lambda item: (
            item.path.rpartition("/")[2] == named,
            item.modified_at is not None,
            item.modified_at,
            item.size_bytes or 0,
            item.path,
        ),
    )


def gaps_for(gaps: Iterable[Gap], *, session_id: str, day: date) -> list[Gap]:
    """Return the gaps that may hold the session's recordings of the day.

    These are below the session's folder, or a folder for its year, month or day, or a neighbouring day.
    """
    return [gap for gap in gaps if _may_hold(gap.folder, session_id, day)]


def _may_hold(folder: str, session_id: str, day: date) -> bool:
    if not is_of_recording(folder, session_id):
        return False
    parts = folder.lower().split("/")
    if session_id in parts:
        return True
    near = [day + timedelta(days=offset) for offset in _DAYS_OFF]
    # `calls/2026`, `2026/01`; a day may have folders below it: `2026/01/05/13`, `2026-01-05/sg`.
    ends = [parts[-length:] for length in (1, 2)]
    middles = [parts[at : at + length] for length in (1, 2, 3) for at in range(len(parts))]
    return any(_spells(end, one) for end in ends for one in near) or any(
        _spells_day(middle, one) for middle in middles for one in near
    )


def _spells_day(parts: Sequence[str], day: date) -> bool:
    text = "-".join(parts)
    return bool(_DAY.fullmatch(text)) and text.replace("-", "") == f"{day:%Y%m%d}"


def _spells(parts: Sequence[str], day: date) -> bool:
    """Return whether the parts are the day's month or year."""
    text = "-".join(parts)
    if _MONTH.fullmatch(text):
        return text.replace("-", "") == f"{day:%Y%m}"
    return bool(_YEAR.fullmatch(text)) and text == f"{day:%Y}"

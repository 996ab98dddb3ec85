"""The objects of a recording in a listing, their order, and the gaps that may hide them."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from callarchive.domain.landing_objects import LandingObject
from callarchive.storage.landing import Gap
from callarchive.storage.landing.contents import LandingContents
from callarchive.storage.landing.listed_objects import gaps_for, in_order, paths_naming

DAY = date(2026, 1, 5)
AT = datetime(2026, 1, 5, 23, 59, tzinfo=UTC)
SESSION = "5d9b4dd0-0668-11ec-8c5e-fd3f1c2a9a11"
OTHER = "6d9b4dd0-0668-11ec-8c5e-fd3f1c2a9a11"
RECORDING = "61c2f3b0-0668-41ec-9ae2-ff0d2c1b7a22"


def item(path: str, *, at: datetime | None = AT, size_bytes: int = 1) -> LandingObject:
    return LandingObject(path, f"memory://{path}", size_bytes, modified_at=at)


@pytest.mark.parametrize(
    ("path", "names_it"),
    [
        (f"{RECORDING}_2026-01-05T23:59:00.000Z.mp3", True),
        (f"2026/01/05/{SESSION}/{RECORDING}.mp3", True),
        (f"anywhere/{RECORDING.upper()}.MP3", True),
        (f"{SESSION.upper()}/rec-{RECORDING}.mp3", True),
        (f"{SESSION}/parts/rec-{RECORDING}.mp3", True),
        (f"{OTHER}/rec-{RECORDING}.mp3", False),
        (f"rec-{RECORDING}.mp3", False),
        (f"{SESSION}/audio.mp3", False),
        (f"{RECORDING}/audio.mp3", False),
        (f"{RECORDING}.wav", False),
    ],
)
@pytest.mark.parametrize("at", [AT, AT + timedelta(days=300), None])
def test_an_object_belongs_to_a_recording_by_its_name_or_in_the_sessions_folder(
    path: str, names_it: bool, at: datetime | None
) -> None:
    contents = LandingContents(first=DAY, last=DAY, zone=ZoneInfo("UTC"), listed_at=AT + timedelta(days=400))
    contents.add(item(path, at=at))
    assert paths_naming(contents, {RECORDING: SESSION}) == ({RECORDING: [path]} if names_it else {})


def test_8x8s_name_counts_before_the_age_and_the_age_before_the_size() -> None:
    named = item("b/named.mp3", at=AT - timedelta(days=1))
    newest, small, large = item("a/x.mp3"), item("z/y.mp3", at=AT - timedelta(hours=1)), item("c/y.mp3", size_bytes=2)
    undated = item("zz/y.mp3", at=None, size_bytes=9)
    objects = [large, undated, named, small, newest]
    assert in_order(objects, named="named.mp3") == [undated, small, newest, large, named]
    assert in_order(objects[::-1], named=None)[-1] == large


@pytest.mark.parametrize(
    ("folder", "may_hide_it"),
    [
        (SESSION, True),
        (f"anything/{SESSION.upper()}", True),
        (f"2026-01-05/{SESSION}", True),
        ("2026", True),
        ("2026/01", True),
        ("2026-01", True),
        ("calls/2026/01/05", True),
        ("2026/01/05/23", True),
        ("20260106", True),
        ("2026-01-04", True),
        ("2026-01-05/sg", True),
        (f"2026/01/05/{OTHER}", False),
        (OTHER, False),
        ("2025", False),
        ("2026/02", False),
        ("2026/01/07", False),
        ("2026-01-20", False),
        ("lost+found", False),
        ("2026-01-05/.snapshot", False),
        ("exports", False),
    ],
)
def test_a_gap_may_hide_a_recording_if_its_name_is_the_session_or_its_time(folder: str, may_hide_it: bool) -> None:
    gap = Gap(folder, f"memory://{folder}", "denied")
    assert gaps_for([gap], session_id=SESSION, day=DAY) == [gap] * may_hide_it

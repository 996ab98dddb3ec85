"""Days from a listing: recordings once, dated by their calls, without settled ones."""

import random
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa

from callarchive.domain.landing_objects import LandingObject
from callarchive.planning.forecast.landing_days import LandingDays, Listed
from callarchive.simulator.generation import file_name, uuid_at
from callarchive.storage.landing import Listing

DAY = date(2026, 10, 25)
NOW = datetime(2026, 11, 20, tzinfo=UTC)
SINGAPORE = ZoneInfo("Asia/Singapore")
CHANCE = random.Random(7)


class InMemory:
    walks_folders = False

    def __init__(self, objects: Mapping[str, int | None]) -> None:
        self._objects = objects

    def pages(self, folder: str, **_: object) -> Iterator[Listing]:
        yield Listing([LandingObject(path, path, size) for path, size in self._objects.items()])


def listed(objects: Mapping[str, int | None], first: date = DAY, last: date = DAY) -> LandingDays:
    return LandingDays(InMemory(objects), first, last, zone=SINGAPORE, now=NOW)  # type: ignore[arg-type]


def test_a_recording_counts_once_and_its_largest_object_for_its_bytes() -> None:
    at = datetime(2026, 10, 25, 3, tzinfo=UTC)
    session, other = uuid_at(at, CHANCE), uuid_at(at, CHANCE)
    one, two, three = (uuid_at(at, CHANCE) for _ in range(3))
    found = listed(
        {
            f"{session}/{file_name(one, at)}": 100,
            f"2026-10-26/{session.upper()}/{file_name(one.upper(), at)}": 70,
            f"{session}/{file_name(two, at)}": 10,
            f"{other}/{file_name(three, at)}": 1000,
            f"{other}/{three}.json": 5000,
        }
    )
    assert found.of(DAY, settled=[]) == Listed(3, 1110, 2, 3, 1110)
    assert found.of(DAY, settled=[pa.array([two, str(uuid.uuid4())]), pa.array([three])]) == Listed(3, 1110, 2, 1, 100)
    assert found.of(DAY + timedelta(days=1), settled=[]) == Listed()
    assert found.undated_count == 0


def test_recordings_without_a_size_are_counted_apart_from_the_bytes() -> None:
    at = datetime(2026, 10, 25, 3, tzinfo=UTC)
    one, two, three = (uuid_at(at, CHANCE) for _ in range(3))
    names = [f"{uuid_at(at, CHANCE)}/{file_name(id_, at)}" for id_ in (one, one, two, three)]
    found = listed(dict(zip([*names, "x.mp3"], (None, 100, None, None, None), strict=True)))
    assert found.of(DAY, settled=[pa.array([three])]) == Listed(
        3, 100, 4, 2, 100, unsized_count=2, fetch_unsized_count=1
    )
    assert (found.unsized_count, found.undated_count) == (3, 1)


def test_a_recording_after_midnight_belongs_to_the_day_of_its_call() -> None:
    call = datetime(2026, 10, 25, 15, 59, 50, tzinfo=UTC)  # ten seconds before midnight in Singapore
    begun = call + timedelta(seconds=30)
    path = f"{uuid_at(call, CHANCE)}/{file_name(uuid_at(begun, CHANCE), begun)}"
    found = listed({path: 9}, DAY, DAY + timedelta(days=1))
    assert found.of(DAY, settled=[]).recording_count == 1
    assert found.of(DAY + timedelta(days=1), settled=[]).recording_count == 0
    by_name = listed({f"{uuid.uuid4()}/{file_name(str(uuid.uuid4()), begun)}": 9}, DAY, DAY + timedelta(days=1))
    assert by_name.of(DAY + timedelta(days=1), settled=[]) == Listed(1, 9, 1, 1, 9), "a session whose id has no time"


def test_objects_without_recording_or_time_are_counted_separately() -> None:
    at = datetime(2026, 10, 25, 3, tzinfo=UTC)
    found = listed(
        {
            "call_2026-10-25T03:00:00.000Z.mp3": 5,
            f"{uuid.uuid4()}/{uuid.uuid4()}.mp3": 5,
            f"{file_name(uuid_at(at, CHANCE), at)}": 7,
        }
    )
    assert found.undated_count == 2
    assert found.of(DAY, settled=[]) == Listed(1, 7, 0, 1, 7)

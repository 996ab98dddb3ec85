"""The contents of a landing by day: a bucket is listed once, of an SFTP server only the folders that may hold the day."""

import random
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from callarchive.domain.landing_objects import LandingObject
from callarchive.settings import AccountSettings, TransferSettings
from callarchive.simulator.generation import file_name, uuid_at
from callarchive.simulator.s3 import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, SimulatedS3
from callarchive.simulator.world import AccountPlan
from callarchive.storage.landing import Gap, Listing
from callarchive.storage.landing.contents import list_contents, object_time
from callarchive.storage.landing.s3.landing import S3Landing

DAY = date(2026, 10, 25)
NOW = datetime(2026, 11, 20, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


class Ids:
    """UUIDs of a time, each another one."""

    def __init__(self) -> None:
        self._chance = random.Random(5)

    def at(self, when: datetime) -> str:
        return uuid_at(when, self._chance)


def a_month(ids: Ids) -> dict[str, datetime]:
    """Paths of two recordings a day, with the time at which each began: one by session, one below a date folder."""
    found = {}
    for offset in range(-15, 16):
        for hour in (1, 23):
            at = datetime(2026, 10, 25, hour, 30, tzinfo=UTC) + timedelta(days=offset)
            path = f"{ids.at(at)}/{file_name(ids.at(at), at)}"
            pushed = at.date() + timedelta(days=9 if offset == -1 else 0)
            found[path if hour == 1 else f"{pushed}/{path}"] = at
    return found


def of_the_day(paths: dict[str, datetime]) -> set[str]:
    return {path for path, at in paths.items() if at.astimezone(BERLIN).date() == DAY}


@pytest.mark.needs("sshd")
def test_only_folders_that_may_hold_the_days_recordings_are_read(
    openssh: Callable[..., Any], open_landing: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = openssh()
    paths = a_month(Ids())
    odd = {f"odd/{uuid.uuid4()}/name_2026-10-25T10:00:00.000Z.mp3", "name_2026-10-25T10:00:00.000Z.mp3", "x.txt"}
    for path in [*paths, *odd]:
        file = server.files / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    landing = open_landing(server, path=str(server.files))
    contents = list_contents(landing, DAY, zone=BERLIN, now=NOW)
    assert set(contents.paths(DAY)) == of_the_day(paths) | {path for path in odd if path.endswith(".mp3")}
    assert (contents.first, contents.last) == (DAY, DAY)
    assert contents.object_count < 16, "two days before and after the day, and what has no time"


def test_a_bucket_is_listed_for_a_month(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
    paths = a_month(Ids())
    with SimulatedS3() as s3:
        for path in paths:
            s3.put(AccountPlan("acme_sg", "s3", "acme-recordings/pushed"), path, b"x")
        account = AccountSettings.model_validate(
            {
                "subaccount_id": "acme_sg",
                "api_key": {"env": "UNUSED"},
                "landing": "s3://acme-recordings/pushed",
                "s3": {"endpoint_url": s3.endpoint_url, "region": REGION},
                "session_sources": [{"kind": "log_export"}],
            }
        )
        with closing(S3Landing(account, TransferSettings(), concurrency=4)) as landing:
            contents = list_contents(landing, DAY, zone=BERLIN, now=NOW)
    assert contents.first == DAY
    assert contents.last >= DAY + timedelta(days=30)
    assert contents.object_count < len(paths), "folders of days long before are left out"
    for offset in range(17):
        day = DAY + timedelta(days=offset)
        expected = {path for path, at in paths.items() if at.astimezone(BERLIN).date() == day}
        assert set(contents.paths(day)) == expected


def described(path: str, modified_at: datetime | None = None) -> LandingObject:
    return LandingObject(path, path, 1, modified_at=modified_at)


class InMemory:
    """A landing that can be listed."""

    walks_folders = False

    def __init__(self, *paths: str) -> None:
        self._paths = paths

    def pages(self, folder: str, **_: object) -> Iterator[Listing]:
        yield Listing([described(path) for path in self._paths])


class Closed(InMemory):
    """Some of its folders are closed."""

    folders = ("", "2026-10-25", "2026-10-01", "lost+found")

    def pages(self, folder: str, **_: object) -> Iterator[Listing]:
        yield from super().pages(folder)
        for closed in self.folders:
            yield Listing([], (Gap(closed, f"memory://{closed}", "permission denied"),))


def test_a_gap_counts_for_the_days_that_it_may_hold() -> None:
    contents = list_contents(Closed("audio.mp3"), DAY, zone=BERLIN, now=NOW)  # type: ignore[arg-type]
    assert contents.object_count == 1, "what could be listed is known"
    assert [gap.folder for gap in contents.gaps] == [*Closed.folders]
    assert [gap.folder for gap in contents.gaps_of(DAY)] == ["", "2026-10-25", "lost+found"]
    assert str(contents.gaps[3]) == "memory://lost+found: permission denied"


def test_an_undated_object_is_counted_and_belongs_to_no_day() -> None:
    contents = list_contents(InMemory("audio.mp3"), DAY, zone=BERLIN, now=NOW)  # type: ignore[arg-type]
    assert (contents.object_count, contents.undated_count, contents.paths(DAY)) == (1, 1, [])


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "Australia/Lord_Howe", "America/Havana", "UTC"])
def test_days_follow_the_zone_where_midnight_is_within_an_hour_and_clocks_change(zone: str) -> None:
    ids, expected = Ids(), dict[date, list[str]]()
    for number in range(24 * 60):  # the first day of November in Havana has 25 hours
        at = datetime(2026, 10, 31, 12, tzinfo=UTC) + timedelta(minutes=2 * number)
        path = f"{ids.at(at)}/{file_name(ids.at(at), at)}"
        expected.setdefault(at.astimezone(ZoneInfo(zone)).date(), []).append(path)
    landing = InMemory(*(path for paths in expected.values() for path in paths))
    contents = list_contents(landing, DAY, zone=ZoneInfo(zone), now=NOW)  # type: ignore[arg-type]
    assert {day: contents.paths(day) for day in expected} == expected


def test_an_implausible_time_is_skipped_for_the_next() -> None:
    at = datetime(2026, 10, 25, 12, tzinfo=UTC)
    recording, session = Ids().at(at), Ids().at(at - timedelta(seconds=9))
    absurd = f"{session}/{recording}_1969-12-31T23:59:59.999Z.mp3"
    assert object_time(described(absurd), now=NOW).replace(microsecond=0) == at  # type: ignore[union-attr]
    assert object_time(described(f"{session}/{recording}_2031-01-01T00:00:00Z.mp3"), now=NOW) is not None
    random_id = str(uuid.uuid4())
    by_session = object_time(described(f"{session}/{random_id}.mp3"), now=NOW)
    assert by_session is not None
    assert by_session < at
    assert object_time(described(f"{random_id}/{random_id}.mp3", NOW), now=NOW) == NOW
    assert object_time(described(f"{random_id}/{random_id}.mp3"), now=NOW) is None

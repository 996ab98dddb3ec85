"""The cache of date folders."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from callarchive.domain.evidence import Absent, Evidence, Present, Unknown
from callarchive.domain.landing_objects import LandingObject
from callarchive.storage.landing import Gap, Listing
from callarchive.storage.landing.date_folders import DateFolders

NOW = datetime(2026, 11, 2, 4, tzinfo=UTC)
DAYS = ["2026-10-30", "2026-10-31", "2026-11-01"]
IDS = [f"{number:08x}-0668-11ec-9ae2-ff0d2c1b7a22" for number in range(3)]


class CountingLanding:
    """Objects, and how often each folder was listed or asked for."""

    walks_folders = False

    def __init__(self, *paths: str) -> None:
        self.paths = list(paths)
        self.listed: list[str] = []
        self.asked: list[list[str]] = []
        self.refused: set[str] = set()

    def pages(self, folder: str) -> Iterator[Listing]:
        self.listed.append(folder)
        for path in self.paths:  # a page each
            if path.startswith(f"{folder}/"):
                yield Listing([LandingObject(path, f"memory://{path}", 1)])
        if folder in self.refused:
            yield Listing([], (Gap(folder, f"memory://{folder}", "refused"),))

    def existing_folders(self, names: Sequence[str]) -> dict[str, Evidence[str]]:
        self.asked.append(list(names))
        there = {name for name in names if any(path.startswith(f"{name}/") for path in self.paths)}
        found: dict[str, Evidence[str]] = {name: Present(name) for name in there}
        return {name: found.get(name, Absent("empty")) for name in names} | dict.fromkeys(
            self.refused & set(names), Unknown("refused")
        )


class Clock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


def there(findings: dict[str, Evidence[str]]) -> set[str]:
    return {name for name, finding in findings.items() if isinstance(finding, Present)}


def path(day: str, number: int, suffix: str = "_x.mp3") -> str:
    return f"{day}/session/{IDS[number].upper()}{suffix}"


def test_days_of_a_run_share_the_listings_of_their_folders() -> None:
    landing, clock = CountingLanding(path(DAYS[0], 0), path(DAYS[1], 1)), Clock()
    folders = DateFolders(landing, clock=clock)  # type: ignore[arg-type]
    assert there(folders.existing(DAYS)) == set(DAYS[:2])
    folders.list_whole(DAYS[0])
    assert folders.list_if_small(DAYS[1])
    folders.keep_only(DAYS[1:])
    assert folders.best(IDS[0], DAYS) is None
    assert there(folders.existing([*DAYS[1:], "2026-11-02"])) == {DAYS[1]}
    folders.list_whole(DAYS[1])
    assert landing.asked == [DAYS, ["2026-11-02"]]
    assert landing.listed == DAYS[:2]
    found = folders.best(IDS[1], DAYS)
    assert found is not None
    assert found.path == path(DAYS[1], 1)
    assert folders.best(IDS[0], DAYS) is None


def test_an_old_listing_is_repeated() -> None:
    landing, clock = CountingLanding(path(DAYS[0], 0)), Clock()
    folders = DateFolders(landing, clock=clock)  # type: ignore[arg-type]
    folders.existing(DAYS)
    folders.list_whole(DAYS[0])
    landing.paths.append(path(DAYS[0], 1))
    folders.keep_only(DAYS)
    folders.list_whole(DAYS[0])
    assert folders.best(IDS[1], DAYS) is None
    clock.now = NOW + timedelta(minutes=16)
    folders.keep_only(DAYS)
    assert there(folders.existing(DAYS)) == {DAYS[0]}
    folders.list_whole(DAYS[0])
    assert folders.best(IDS[1], DAYS) is not None
    assert len(landing.asked) == len(landing.listed) == 2


def test_a_large_folder_is_listed_whole_only_on_request() -> None:
    landing = CountingLanding(*(path(DAYS[0], 0, f"_{number}.mp3") for number in range(6)))
    folders = DateFolders(landing, clock=Clock())  # type: ignore[arg-type]
    assert not folders.list_if_small(DAYS[0])
    assert not folders.list_if_small(DAYS[0])
    assert landing.listed == DAYS[:1]
    assert folders.best(IDS[0], DAYS) is None
    folders.list_whole(DAYS[0])
    assert folders.list_if_small(DAYS[0])
    assert landing.listed == [DAYS[0]] * 2
    found = folders.best(IDS[0], DAYS)
    assert found is not None
    assert found.path.endswith("_5.mp3"), "ties are broken by name"


def test_folders_that_would_be_walked_are_not_listed_for_a_few_sessions() -> None:
    landing = CountingLanding(path(DAYS[0], 0))
    landing.walks_folders = True
    folders = DateFolders(landing, clock=Clock())  # type: ignore[arg-type]
    assert not folders.list_if_small(DAYS[0])
    assert landing.listed == []


def test_an_unknown_folder_is_not_absent_and_is_requested_again_later() -> None:
    landing, clock = CountingLanding(path(DAYS[0], 0)), Clock()
    landing.refused = {DAYS[1]}
    folders = DateFolders(landing, clock=clock)  # type: ignore[arg-type]
    assert folders.existing(DAYS)[DAYS[1]] == Unknown("refused")
    assert folders.existing(DAYS)[DAYS[1]] == Unknown("refused")
    assert landing.asked == [DAYS], "not for each recording of the day"
    landing.refused.clear()
    landing.paths.append(path(DAYS[1], 1))
    clock.now = NOW + timedelta(minutes=2)
    assert folders.existing(DAYS)[DAYS[1]] == Present(DAYS[1])
    assert landing.asked == [DAYS, [DAYS[1]]]


def test_the_gaps_of_a_listing_are_cached_with_it() -> None:
    landing = CountingLanding(path(DAYS[0], 0), path(DAYS[1], 1))
    landing.refused = {DAYS[0]}
    folders = DateFolders(landing, clock=Clock())  # type: ignore[arg-type]
    folders.list_whole(DAYS[0])
    folders.list_whole(DAYS[1])
    assert [str(gap) for gap in folders.gaps(DAYS[0])] == [f"memory://{DAYS[0]}: refused"]
    assert folders.gaps(DAYS[1]) == folders.gaps(DAYS[2]) == ()
    assert folders.best(IDS[0], DAYS) is not None, "what was listed beside it is known"

"""No place from 8x8 leads out of the landing, and a day's objects are found with few listings."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callarchive.domain.days import utc_now
from callarchive.domain.errors import ObjectNotFoundError, UnavailableError
from callarchive.domain.evidence import Absent, Evidence, Present
from callarchive.domain.landing_objects import LandingObject
from callarchive.storage.landing import Download, Landing, Listing
from callarchive.storage.landing.date_folders import DateFolders
from callarchive.storage.landing.object_finder import ObjectFinder
from callarchive.storage.landing.places import PlaceRefusedError, check_path, paths_from

SESSION = "5d9b4dd0-0668-11ec-8c5e-fd3f1c2a9a11"
RECORDING = "61c2f3b0-0668-11ec-9ae2-ff0d2c1b7a22"
NAME = f"{RECORDING}_2021-08-26T10:46:56.535Z.mp3"
DAY = date(2021, 8, 26)
ROOT = "my-recordings-path"


def paths(place: str, *, root: str = ROOT) -> list[str]:
    return paths_from(place, session_id=SESSION, root=root)


@pytest.mark.parametrize(
    "place",
    [
        f"https://acme-recordings.s3.ap-southeast-1.amazonaws.com/{ROOT}/{SESSION}/{quote(NAME)}",
        f"https://s3.ap-southeast-1.amazonaws.com/acme-recordings/{ROOT}/{SESSION}/{quote(NAME)}",
        f"https://acme-recordings.s3.amazonaws.com/{SESSION}/{quote(NAME)}",
        f"https://acme-recordings.s3.amazonaws.com/{ROOT}/{SESSION}/{quote(NAME)}?versionId=x#y",
        f"s3://acme-recordings/{ROOT}/{SESSION}/{NAME}",
        f"sftp://pushuser@203.0.113.7:22/{ROOT}/{SESSION}/{NAME}",
        f"{ROOT}/{SESSION}/{NAME}",
        f"/{ROOT}/{SESSION}/{NAME}",
        f"{SESSION}/{NAME}",
        f"HTTPS://HOST/{ROOT}//{SESSION}/{quote(NAME, safe='')}",
        # To another host: it is the path's end alone that is taken, and looked for in our own landing.
        f"https://evil.example/{ROOT}/{SESSION}/{quote(NAME)}",
        f"http://169.254.169.254/latest/meta-data/{SESSION}/{quote(NAME)}",
        f"https://user:password@evil.example:8443/{SESSION}/{quote(NAME)}",
        f"//evil.example/{SESSION}/{NAME}",
    ],
)
def test_every_spelling_of_a_place_means_the_sessions_folder_first(place: str) -> None:
    assert paths(place)[0] == f"{SESSION}/{NAME}"


def test_a_date_folder_is_kept_as_the_second_meaning() -> None:
    assert paths(f"{ROOT}/2021-08-27/{SESSION}/{NAME}")[:2] == [f"{SESSION}/{NAME}", f"2021-08-27/{SESSION}/{NAME}"]


def test_a_place_without_a_session_folder_is_below_the_root() -> None:
    assert f"flat/{NAME}" in paths(f"https://bucket.s3.amazonaws.com/{ROOT}/flat/{quote(NAME)}")
    assert f"flat/{NAME}" in paths(f"https://s3.amazonaws.com/bucket/{ROOT}/flat/{quote(NAME)}")
    assert f"flat/{NAME}" in paths(f"https://bucket.s3.amazonaws.com/flat/{quote(NAME)}", root="")
    assert f"flat/{NAME}" in paths(f"sftp://h/upload/recordings/flat/{NAME}", root="upload/recordings")


def test_a_session_folder_in_upper_case_is_recognised_and_unchanged() -> None:
    assert paths(f"https://h/{ROOT}/{SESSION.upper()}/{quote(NAME)}")[0] == f"{SESSION.upper()}/{NAME}"


def test_a_percent_sign_in_a_name_is_decoded_once() -> None:
    assert paths(f"https://h/{SESSION}/100%25.mp3")[0] == f"{SESSION}/100%.mp3"
    assert paths(f"https://h/{SESSION}/%2541.mp3")[0] == f"{SESSION}/%41.mp3"


@pytest.mark.parametrize(
    "place",
    [
        "",
        "/",
        "https://host",
        "https://host/",
        f"file:///{SESSION}/{NAME}",
        f"file:/{SESSION}/{NAME}",
        f"FILE:{SESSION}/{NAME}",
        f"gopher://host/{SESSION}/{NAME}",
        f"javascript://host/{SESSION}/{NAME}",
        f"https://[::1/{SESSION}/{NAME}",
        f"https://host/../{SESSION}/{NAME}",
        f"../{SESSION}/{NAME}",
        f"{SESSION}/../../{NAME}",
        f"{SESSION}/./{NAME}",
        f"{SESSION}/..",
        f"https://host/%2e%2e/{SESSION}/{NAME}",
        f"https://host/.%2E/{SESSION}/{NAME}",
        f"https://host/%252e%252e/{SESSION}/{NAME}",
        f"https://host/%25252e%25252e/{SESSION}/{NAME}",
        f"https://host/.%0a./{SESSION}/{NAME}",
        f"https://host/.\n./{SESSION}/{NAME}",
        f"https://host/{SESSION}%2F{NAME}",
        f"https://host/{SESSION}%252F{NAME}",
        f"https://host/{SESSION}%2f..%2f..%2fetc%2fpasswd",
        f"https://host/{SESSION}/a%5C..%5Cb.mp3",
        f"https://host/{SESSION}/a%255Cb.mp3",
        f"{SESSION}\\..\\{NAME}",
        f"https://host/{SESSION}/a\x00.mp3",
        f"https://host/{SESSION}/a%00.mp3",
        f"https://host/{SESSION}/a%2500.mp3",
        f"https://host/{SESSION}/a%7f.mp3",
        f"https://host/{SESSION}/a\x1b[31m.mp3",
        f"https://host/{SESSION}/%ff%fe.mp3",
        f"https://host/{SESSION}/%c0%ae%c0%ae/x.mp3",  # an overlong `..`
        f"https://host/{SESSION}/%ed%a0%80.mp3",  # a surrogate in UTF-8
        f"https://host/{SESSION}/\ud800.mp3",
        f"https://host/{SESSION}/" + "a" * 10_240 + ".mp3",
        f"https://host/{SESSION}/" + "a" * 300 + ".mp3",  # more than a file's name may have
        f"https://host/{SESSION}/" + "é" * 150 + ".mp3",
        f"https://host/{SESSION}/" + "a/" * 600 + NAME,  # more than a key may have
    ],
)
def test_a_place_that_could_lead_elsewhere_is_refused(place: str) -> None:
    with pytest.raises(PlaceRefusedError) as caught:
        paths(place)
    message = str(caught.value)
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 200


_SEPARATORS = [
    "..",
    ".",
    "%2e%2e",
    "%252e",
    "%2F",
    "%5c",
    "\\",
    "\x00",
    "%00",
    "//",
    "/",
    ":",
    "@",
    "?",
    "#",
    "%",
    "\ud800",
]
_WORDS = [
    "file:",
    "https://",
    "s3://",
    "host",
    "169.254.169.254",
    "é",
    "2021-08-26",
    SESSION,
    SESSION.upper(),
    ROOT,
    NAME,
]
_PIECES = st.sampled_from(_SEPARATORS) | st.sampled_from(_WORDS)


@given(st.lists(_PIECES, max_size=12).map("".join) | st.text(max_size=60), st.sampled_from(["", ROOT, "a/b"]))
def test_no_place_leads_out_of_the_landing(place: str, root: str) -> None:
    try:
        found = paths(place, root=root)
    except PlaceRefusedError:
        return
    assert found
    for path in found:
        parts = path.split("/")
        assert not {"", ".", ".."} & set(parts)
        assert "\\" not in path
        assert "\x00" not in path
        assert len(path.encode()) <= 1024


@pytest.mark.parametrize("path", ["a", "a/b.mp3", "a:b/c d", "é/ü", "..a/b..", "a%2e"])
def test_an_ordinary_path_is_unchanged(path: str) -> None:
    assert check_path(path) == path


# --- the finder -------------------------------------------------------------------------------------------------------


class MemoryDownload:
    """An object in memory that is being read."""

    def __init__(self, item: LandingObject) -> None:
        self.object = item

    def __iter__(self) -> Iterator[bytes]:
        yield b"x" * (self.object.size_bytes or 0)

    def verify_md5(self, md5_hex: str) -> None:
        """It has no hash of its own."""


class MemoryLanding:
    """A landing in memory that counts what it is asked."""

    uri = "memory://landing"
    concurrency = 8

    page_size = 10

    def __init__(self, *items: LandingObject, walks_folders: bool = False) -> None:
        self.walks_folders = walks_folders
        self.objects = {item.path: item for item in items}
        self.asked: Counter[tuple[str, str]] = Counter()
        self.open_count = 0
        self._lock = threading.Lock()

    def _count(self, what: str, path: str) -> None:
        with self._lock:
            self.asked[what, path] += 1

    def list(self, folder: str) -> Listing:
        self._count("list", folder)
        return Listing([item for path, item in sorted(self.objects.items()) if path.startswith(f"{folder}/")])

    def pages(self, folder: str, *, skip: Callable[[str], bool] | None = None) -> Iterator[Listing]:
        items = self.list(folder).objects
        for start in range(0, len(items), self.page_size):
            yield Listing(items[start : start + self.page_size])

    def existing_folders(self, names: Sequence[str]) -> dict[str, Evidence[str]]:
        self._count("existing_folders", ",".join(names))
        there = {name for name in names if any(path.startswith(f"{name}/") for path in self.objects)}
        return {name: Present(name) if name in there else Absent("empty") for name in names}

    @contextmanager
    def open(self, path: str) -> Iterator[Download]:
        self._count("open", path)
        if path not in self.objects:
            raise ObjectNotFoundError(path)
        with self._lock:
            self.open_count += 1
        try:
            yield MemoryDownload(self.objects[path])
        finally:
            with self._lock:
                self.open_count -= 1

    def stat_many(self, paths: Iterable[str], *, confirm_absent: bool = True) -> dict[str, Evidence[LandingObject]]:
        return {path: Present(self.objects[path]) if path in self.objects else Absent("empty") for path in paths}

    def delete(self, path: str) -> None:
        raise NotImplementedError

    def check(self) -> None:
        """It can be listed."""

    def sample(self) -> Evidence[LandingObject]:
        return next((Present(item) for item in self.objects.values()), Absent("empty"))

    def uri_of(self, path: str) -> str:
        return f"{self.uri}/{path}"

    def close(self) -> None:
        """There is nothing to let go of."""


def item(path: str, *, at: datetime | None = datetime(2021, 8, 26, 11, tzinfo=UTC)) -> LandingObject:
    return LandingObject(path=path, uri=f"memory://landing/{path}", size_bytes=3, modified_at=at)


def recording_id(number: int) -> str:
    return f"{number:08x}-0668-11ec-9ae2-ff0d2c1b7a22"


def session_id(number: int) -> str:
    return f"{number:08x}-0668-11ec-8c5e-fd3f1c2a9a11"


def finder_in(landing: Landing) -> ObjectFinder:
    return ObjectFinder(landing, DateFolders(landing, clock=utc_now), root=ROOT, day=DAY)


def found(
    finder: ObjectFinder, *, place: str | None = None, number: int | None = None, file_path: str | None = None
) -> str:
    """The path that the finder opens."""
    session, recording = (SESSION, RECORDING) if number is None else (session_id(number), recording_id(number))
    with finder.open(session_id=session, recording_id=recording, place=place, file_path=file_path) as download:
        return download.object.path


URL = f"https://acme-recordings.s3.amazonaws.com/{ROOT}/{SESSION}/{quote(NAME)}"


def test_a_file_at_its_url_costs_one_request_and_no_listing() -> None:
    landing = MemoryLanding(item(f"{SESSION}/{NAME}"))
    assert found(finder_in(landing), place=URL) == f"{SESSION}/{NAME}"
    assert landing.asked == {("open", f"{SESSION}/{NAME}"): 1}


def test_the_download_is_closed_when_the_block_is_left() -> None:
    landing = MemoryLanding(item(f"{SESSION}/{NAME}"))
    with finder_in(landing).open(session_id=SESSION, recording_id=RECORDING, place=URL) as download:
        assert landing.open_count == 1
        assert b"".join(download) == b"xxx"
    assert landing.open_count == 0


@pytest.mark.parametrize("offset", [0, 1, -1, 2, 7])
def test_a_file_in_a_date_folder_near_the_call_is_found(offset: int) -> None:
    path = f"{DAY + timedelta(days=offset)}/{SESSION}/{NAME}"
    assert found(finder_in(MemoryLanding(item(path))), place=URL) == path


@pytest.mark.parametrize("offset", [-2, 8])
def test_a_file_in_a_distant_date_folder_is_not_found(offset: int) -> None:
    path = f"{DAY + timedelta(days=offset)}/{SESSION}/{NAME}"
    with pytest.raises(ObjectNotFoundError, match=RECORDING):
        found(finder_in(MemoryLanding(item(path))), place=URL)


@pytest.mark.parametrize("place", [None, "", "https://host/elsewhere.mp3", f"https://host/%2e%2e/{NAME}"])
def test_the_sessions_folder_is_listed_where_the_url_does_not_help(place: str | None) -> None:
    path = f"{SESSION}/{RECORDING}_renamed.mp3"
    assert found(finder_in(MemoryLanding(item(path))), place=place) == path


def test_a_days_folder_is_listed_once_and_not_once_per_recording() -> None:
    count = 50
    landing = MemoryLanding(*(item(f"{DAY}/{session_id(n)}/{recording_id(n)}_x.mp3") for n in range(count)))
    finder = finder_in(landing)
    for n in range(count):
        assert found(finder, number=n, place=URL.replace(SESSION, session_id(n)).replace(RECORDING, recording_id(n)))
    listings = {path: times for (what, path), times in landing.asked.items() if what == "list"}
    assert listings == {str(DAY): 1}
    assert sum(times for (what, _), times in landing.asked.items() if what == "existing_folders") == 1
    # After the first recording was found through the listing, the others are not looked for in vain at their URLs.
    assert sum(times for (what, _), times in landing.asked.items() if what == "open") <= count + 10


@pytest.mark.parametrize(
    ("walks_folders", "size", "listed_whole"), [(False, 3, True), (False, 60, False), (True, 3, False)]
)
def test_a_later_days_folder_is_listed_whole_if_it_is_small(
    *, walks_folders: bool, size: int, listed_whole: bool
) -> None:
    later = DAY + timedelta(days=3)
    strangers = [item(f"{later}/{session_id(n)}/{recording_id(n)}_x.mp3") for n in range(100, 100 + size)]
    late = item(f"{later}/{session_id(7)}/{recording_id(7)}_x.mp3")
    landing = MemoryLanding(*strangers, late, walks_folders=walks_folders)
    finder = finder_in(landing)
    for number in range(7):
        with pytest.raises(ObjectNotFoundError):
            found(finder, number=number)
    assert found(finder, number=7) == late.path
    asked = Counter(path for (what, path), times in landing.asked.items() for _ in range(times) if what == "list")
    in_sessions = [path for path in asked if path.startswith(f"{later}/")]
    assert asked[str(later)] == (0 if walks_folders else 1)
    assert len(in_sessions) == (0 if listed_whole else 8)


@pytest.mark.parametrize("offset", [0, 1, -1])
def test_files_below_a_date_folder_cost_one_request_each_and_no_listing(offset: int) -> None:
    count = 20
    names = [(session_id(n), NAME.replace(RECORDING, recording_id(n))) for n in range(count)]
    landing = MemoryLanding(*(item(f"{DAY + timedelta(days=offset)}/{session}/{name}") for session, name in names))
    finder = finder_in(landing)
    for n, (session, name) in enumerate(names):
        path = found(finder, number=n, place=f"https://host/{ROOT}/{session}/{quote(name)}")
        assert path == f"{DAY + timedelta(days=offset)}/{session}/{name}"
    assert {what for what, _ in landing.asked} == {"open"}
    first = sum(times for (_, path), times in landing.asked.items() if recording_id(0) in path)
    assert sum(landing.asked.values()) == first + count - 1, "the second is looked for where the first was"


FAR = DAY + timedelta(days=40)
"""A date folder that is not searched."""


@pytest.mark.parametrize("place", [None, URL])
@pytest.mark.parametrize(
    "file_path",
    [
        f"{FAR}/{SESSION}/{NAME}",
        f"/{FAR}/{SESSION}/{NAME}",
        f"{ROOT}/{FAR}/{SESSION}/{NAME}",
        f"/some-bucket/{ROOT}/{FAR}/{SESSION}/{NAME}",
        f"/data/pushuser//{FAR}/{SESSION}/{quote(NAME)}",
        f"s3://other-bucket/{FAR}/{SESSION}/{NAME}",
        f"http://169.254.169.254/{FAR}/{SESSION}/{NAME}?x=1",
    ],
)
def test_a_file_is_found_without_a_listing_by_any_form_of_an_events_path(place: str | None, file_path: str) -> None:
    landing = MemoryLanding(item(f"{FAR}/{SESSION}/{NAME}"))
    path = found(finder_in(landing), place=place, file_path=file_path)
    assert path == f"{FAR}/{SESSION}/{NAME}"
    assert {what for what, _ in landing.asked} == {"open"}
    assert sum(landing.asked.values()) == (1 if place is None else 2)


def test_a_file_at_its_url_is_not_searched_at_an_events_path() -> None:
    landing = MemoryLanding(item(f"{SESSION}/{NAME}"), item(f"{FAR}/{SESSION}/{NAME}"))
    finder = finder_in(landing)
    assert found(finder, place=URL, file_path=f"{FAR}/{SESSION}/{NAME}") == f"{SESSION}/{NAME}"
    assert landing.asked == {("open", f"{SESSION}/{NAME}"): 1}


def test_the_date_folder_of_an_event_is_used_for_later_recordings() -> None:
    count = 10
    names = [(session_id(n), NAME.replace(RECORDING, recording_id(n))) for n in range(count)]
    landing = MemoryLanding(*(item(f"{FAR}/{session}/{name}") for session, name in names))
    finder = finder_in(landing)
    for n, (session, name) in enumerate(names):
        place, file_path = f"https://host/{ROOT}/{session}/{quote(name)}", f"{FAR}/{session}/{name}"
        assert found(finder, number=n, place=place, file_path=file_path) == file_path
    assert sum(landing.asked.values()) == count + 1, "only the first is looked for at its URL in vain"


def test_an_event_whose_date_is_wrong_does_not_hide_the_file() -> None:
    landing = MemoryLanding(item(f"{DAY}/{SESSION}/{NAME}"))
    finder = finder_in(landing)
    assert found(finder, file_path=f"{FAR}/{SESSION}/{NAME}") == f"{DAY}/{SESSION}/{NAME}"
    assert {what for what, _ in landing.asked} == {"open"}


@pytest.mark.parametrize(
    "file_path",
    [
        f"{FAR}/../{SESSION}/{NAME}",
        f"{FAR}/%2e%2e/{SESSION}/{NAME}",
        f"{FAR}%2F{SESSION}/{NAME}",
        f"{FAR}/%252e%252e/{NAME}",
        f"{FAR}/{SESSION}/{NAME}\0.mp3",
        f"file:///{FAR}/{SESSION}/{NAME}",
        f"{FAR}\\{SESSION}\\{NAME}",
        "x/" * 3000,
    ],
)
def test_an_events_place_that_8x8_never_sends_is_refused_and_reported(file_path: str) -> None:
    landing = MemoryLanding(item(f"{FAR}/{SESSION}/{NAME}"))
    with pytest.raises(ObjectNotFoundError, match="the event's filePath was refused"):
        found(finder_in(landing), file_path=file_path)


def test_an_event_cannot_substitute_another_recordings_file() -> None:
    other = f"{FAR}/{SESSION}/{NAME.replace(RECORDING, recording_id(1))}"
    landing = MemoryLanding(item(other))
    with pytest.raises(ObjectNotFoundError):
        found(finder_in(landing), file_path=other)
    assert ("open", other) not in landing.asked


def test_recordings_that_are_nowhere_cost_no_second_listing_of_the_day() -> None:
    landing = MemoryLanding(*(item(f"{DAY + timedelta(days=n)}/x/y.mp3") for n in (-1, 0, 1)))
    finder = finder_in(landing)
    for n in range(5):
        with pytest.raises(ObjectNotFoundError):
            found(finder, number=n)
    for offset in (-1, 0, 1):
        assert landing.asked["list", str(DAY + timedelta(days=offset))] == 1


def test_the_newest_mp3_of_several_pushes_is_used() -> None:
    at = datetime(2021, 8, 26, 11, tzinfo=UTC)
    landing = MemoryLanding(
        item(f"{DAY}/{SESSION}/{RECORDING}_a.mp3", at=at + timedelta(hours=1)),
        item(f"{DAY}/{SESSION}/{RECORDING}_b.mp3", at=at + timedelta(hours=2)),
        item(f"{DAY}/{SESSION}/{RECORDING}_c.mp3", at=at),
        item(f"{DAY}/{SESSION}/{RECORDING}_d.mp3.tmp", at=at + timedelta(hours=3)),
        item(f"{DAY}/{SESSION}/{RECORDING}_e.mp3", at=None),
        item(f"{DAY}/{SESSION}/{recording_id(1)}_f.mp3", at=at + timedelta(hours=4)),
    )
    assert found(finder_in(landing)) == f"{DAY}/{SESSION}/{RECORDING}_b.mp3"


def test_pushes_of_the_same_age_are_ordered_by_name() -> None:
    items = [item(f"{SESSION}/{RECORDING}_{letter}.MP3") for letter in "abc"]
    undated = [replace(one, modified_at=None) for one in items]
    for order in (items, items[::-1], undated, undated[::-1]):
        assert found(finder_in(MemoryLanding(*order))) == f"{SESSION}/{RECORDING}_c.MP3"


def test_a_file_named_in_upper_case_is_found() -> None:
    path = f"{DAY}/{SESSION.upper()}/{RECORDING.upper()}_x.mp3"
    assert found(finder_in(MemoryLanding(item(path)))) == path


def test_a_listed_file_that_vanished_is_searched_at_its_url() -> None:
    listed = item(f"{DAY}/{SESSION}/{RECORDING}_old.mp3")
    other = item(f"{DAY}/{session_id(1)}/{recording_id(1)}_x.mp3")
    landing = MemoryLanding(listed, other)
    finder = finder_in(landing)
    assert found(finder, number=1) == other.path
    del landing.objects[listed.path]
    landing.objects[f"{SESSION}/{NAME}"] = item(f"{SESSION}/{NAME}")
    assert found(finder, place=URL) == f"{SESSION}/{NAME}"


def test_not_found_reports_why_the_url_was_refused() -> None:
    with pytest.raises(ObjectNotFoundError, match=rf"{RECORDING} in memory://landing; 8x8's URL was refused as a URL"):
        found(finder_in(MemoryLanding()), place="file:///etc/passwd")


def test_an_unreachable_landing_is_not_an_absent_file() -> None:
    class Unreachable(MemoryLanding):
        def list(self, folder: str) -> Listing:
            raise UnavailableError("no answer")

    with pytest.raises(UnavailableError):
        found(finder_in(Unreachable()), place=URL)


def test_many_threads_at_once_find_every_recording_and_list_the_day_once() -> None:
    count = 64
    landing = MemoryLanding(*(item(f"{DAY}/{session_id(n)}/{recording_id(n)}_x.mp3") for n in range(count)))
    finder = finder_in(landing)
    results: dict[int, str] = {}
    begin = threading.Barrier(8)

    def work(offset: int) -> None:
        begin.wait(5)
        for n in range(offset, count, 8):
            results[n] = found(finder, number=n)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert results == {n: f"{DAY}/{session_id(n)}/{recording_id(n)}_x.mp3" for n in range(count)}
    assert landing.asked["list", str(DAY)] == 1

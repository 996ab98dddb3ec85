"""The contract of a landing, on every server: list, stat, read, absent, refused, changed, large folder, clear errors."""

import random
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from callarchive.domain.errors import (
    AccessDeniedError,
    ArchiveError,
    ConfigurationError,
    ObjectNotFoundError,
    StoreError,
    UnavailableError,
)
from callarchive.domain.evidence import Absent, Present, Unknown
from callarchive.storage.landing import Landing
from tests.servers.running import Place, Server

Open = Callable[[Place], Landing]
FOLDER = "2026-01-05/0aa2b2d6-ea05-11f0-8de9-0242ac120002"
NAMES = (
    f"{FOLDER}/8a8a_2026-01-05T10:00:00.123Z.mp3",  # 8x8's form
    f"{FOLDER}/8a8b_2026-01-05T10:00:00.123+08:00.mp3",
    "2026-01-05/a name with spaces/100%.mp3",
    "flat.mp3",
)
DATA = {name: random.Random(name).randbytes(size) for name, size in zip(NAMES, (3_000_001, 32_769, 1, 0), strict=True)}

DELETION_REFUSED: dict[str, type[ArchiveError]] = {
    "copyparty": AccessDeniedError,  # to this user
    "npm `ssh2`": UnavailableError,  # the tests' file server has no such request
    "npm `s3rver`": StoreError,  # it does not say whether there are versions
    "npm `fauxqs`": StoreError,  # likewise
}


@pytest.fixture
def filled(place: Place) -> Place:
    place.files.remove("marker.txt")
    for name, data in DATA.items():
        place.files.put(name, data)
    return place


def read(landing: Landing, path: str) -> bytes:
    with landing.open(path) as download:
        return b"".join(map(bytes, download))


def test_a_listing_has_every_file_at_any_depth_with_its_size_and_time(filled: Place, open_landing: Open) -> None:
    landing = open_landing(filled)
    listing = landing.list("")
    assert {item.path: item.size_bytes for item in listing.objects} == {name: len(data) for name, data in DATA.items()}
    assert listing.gaps == ()
    assert {item.path for item in landing.list(FOLDER).objects} == set(NAMES[:2])
    assert landing.list("2026-01-06").objects == []
    assert all(item.modified_at and abs(item.modified_at.timestamp() - time.time()) < 60 for item in listing.objects)
    landing.check()
    assert isinstance(landing.sample(), Present)


def test_a_stat_is_what_a_listing_says_and_absent_is_no_error(filled: Place, open_landing: Open) -> None:
    landing = open_landing(filled)
    found = landing.stat_many([*NAMES, "flat.mp4", "2026-01-07/x/y.mp3", FOLDER])
    listed = {item.path: item for item in landing.list("").objects}
    for name in NAMES:
        finding = found[name]
        assert isinstance(finding, Present), finding
        expected = listed[name]
        assert finding.value.same_as(
            size_bytes=expected.size_bytes, etag=expected.etag, modified_at=expected.modified_at
        ), (finding.value, expected)
    assert [isinstance(found[name], Absent) for name in ("flat.mp4", "2026-01-07/x/y.mp3", FOLDER)] == [True] * 3


def test_folders_below_the_root_are_present_or_absent(filled: Place, open_landing: Open) -> None:
    found = open_landing(filled).existing_folders(["2026-01-05", "2026-01-06"])
    assert isinstance(found["2026-01-05"], Present)
    assert isinstance(found["2026-01-06"], Absent)


def test_bytes_are_read_whole_one_by_one_and_at_the_same_time(filled: Place, open_landing: Open) -> None:
    landing = open_landing(filled)
    for name, data in DATA.items():
        assert read(landing, name) == data
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda name: read(landing, name), NAMES * 6)) == [*DATA.values()] * 6


def test_what_is_absent_is_not_found(filled: Place, open_landing: Open) -> None:
    landing = open_landing(filled)
    for path in (f"{FOLDER}/absent.mp3", "no/such/folder.mp3"):
        with pytest.raises(ObjectNotFoundError, match=path), landing.open(path):
            pass
    assert read(landing, NAMES[1]) == DATA[NAMES[1]]


def test_a_replaced_file_of_the_same_size_is_another_one(filled: Place, open_landing: Open) -> None:
    landing = open_landing(filled)
    (before,) = landing.stat_many([NAMES[1]]).values()
    time.sleep(1.1)  # servers report whole seconds
    new = bytes(reversed(DATA[NAMES[1]]))
    filled.files.put(NAMES[1], new)
    (after,) = landing.stat_many([NAMES[1]]).values()
    assert isinstance(before, Present)
    assert isinstance(after, Present)
    old = before.value
    assert not after.value.same_as(size_bytes=old.size_bytes, etag=old.etag, modified_at=old.modified_at)
    assert read(landing, NAMES[1]) == new


def test_a_deleted_file_is_gone_and_no_other(filled: Place, server: Server, open_landing: Open) -> None:
    landing = open_landing(filled)
    if refusal := DELETION_REFUSED.get(server.name):
        with pytest.raises(refusal, match=re.escape(NAMES[0].partition("/")[0])):
            landing.delete(NAMES[1])
        assert read(landing, NAMES[1]) == DATA[NAMES[1]]
        return
    for _ in range(2):
        landing.delete(NAMES[1])
        assert {item.path for item in landing.list("").objects} == {*NAMES} - {NAMES[1]}
    landing.delete("2026-01-07/x/y.mp3")
    assert read(landing, NAMES[0]) == DATA[NAMES[0]]


def test_a_large_folder_is_listed_and_described_whole(place: Place, open_landing: Open) -> None:
    place.files.remove("marker.txt")
    paths = {f"2026-01-05/{number:08x}-ea05-11f0-8de9-0242ac120002/r.mp3" for number in range(400)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda path: place.files.put(path, path.encode()), paths))
    landing = open_landing(place)
    listing = landing.list("2026-01-05")
    assert {item.path for item in listing.objects} == paths
    assert listing.gaps == ()
    assert all(isinstance(finding, Present) for finding in landing.stat_many(sorted(paths)[:50]).values())


@pytest.mark.refusing("file")
def test_a_refused_file_is_listed_and_named_when_it_is_opened(filled: Place, open_landing: Open) -> None:
    filled.files.put("2026-01-06/refused.mp3", b"bytes")
    filled.files.refuse("2026-01-06/refused.mp3")
    landing = open_landing(filled)
    listing = landing.list("")
    assert {item.path for item in listing.objects} == {*NAMES, "2026-01-06/refused.mp3"}
    with pytest.raises(AccessDeniedError, match=r"2026-01-06/refused\.mp3"):
        read(landing, "2026-01-06/refused.mp3")  # rclone refuses to read it, not to open it
    assert read(landing, NAMES[1]) == DATA[NAMES[1]]


@pytest.mark.refusing("folder")
def test_a_refused_folder_is_a_gap_and_the_rest_is_listed(filled: Place, open_landing: Open) -> None:
    filled.files.put("2026-01-06/refused/r.mp3", b"bytes")
    filled.files.refuse("2026-01-06/refused")
    listing = open_landing(filled).list("")
    assert {item.path for item in listing.objects} == set(NAMES)
    assert [gap.folder for gap in listing.gaps] == ["2026-01-06/refused"]


@pytest.mark.refusing("path")
def test_a_file_in_a_refused_folder_is_unknown_and_not_absent(filled: Place, open_landing: Open) -> None:
    path = "2026-01-06/refused/r.mp3"
    filled.files.put(path, b"bytes")
    filled.files.refuse("2026-01-06/refused")
    landing = open_landing(filled)
    assert isinstance(landing.stat_many([path])[path], Unknown)
    with pytest.raises(ArchiveError, match=path) as refused, landing.open(path):
        pass
    assert not isinstance(refused.value, ObjectNotFoundError)
    assert read(landing, NAMES[1]) == DATA[NAMES[1]]


def test_a_root_that_does_not_exist_is_an_error_of_the_configuration(place: Place, open_landing: Open) -> None:
    if place.kind == "s3":  # a prefix cannot be absent
        elsewhere = replace(place, landing="s3://no-such-bucket-here/x")
    else:
        elsewhere = replace(place, landing=f"{place.landing}-elsewhere")
    with pytest.raises(ConfigurationError, match=re.escape(elsewhere.landing.rpartition("@")[2])):
        open_landing(elsewhere).check()


def test_wrong_credentials_are_refused_with_the_account_and_the_key_to_check(
    place: Place, open_landing: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place.wrong_credentials is None:
        pytest.skip("this server lets everybody in")
    section, environment = place.wrong_credentials
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(AccessDeniedError) as refused:
        open_landing(replace(place, section=section)).check()
    if place.kind == "sftp":
        assert "account acme_sg" in str(refused.value)
        assert "accounts.sftp." in str(refused.value)
    else:
        assert place.landing in str(refused.value)
        assert "AWS_SECRET_ACCESS_KEY" in str(refused.value)


def test_a_server_that_is_gone_is_unavailable_and_named(place: Place, open_landing: Open) -> None:
    if place.kind == "s3":
        gone = replace(place, section={**place.section, "endpoint_url": "http://127.0.0.1:9"})
    else:
        head, _, path = place.landing.partition("//")[2].partition("/")
        gone = replace(place, landing=f"sftp://{head.partition(':')[0]}:9/{path}")
    with pytest.raises(UnavailableError, match="127.0.0.1:9" if place.kind == "sftp" else place.landing):
        open_landing(gone).check()

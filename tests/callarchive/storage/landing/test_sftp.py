"""The landing against well-behaved servers: OpenSSH's and asyncssh's."""

import hashlib
import os
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from callarchive.domain.errors import (
    AccessDeniedError,
    ArchiveError,
    ConfigurationError,
    ObjectNotFoundError,
    UnavailableError,
)
from callarchive.domain.evidence import Absent, Evidence, Present, Unknown
from callarchive.storage.landing import Landing, Listing
from callarchive.storage.landing.sftp.landing import SftpLanding

OpenLanding = Callable[..., SftpLanding]


def read(landing: Landing, path: str) -> bytes:
    with landing.open(path) as download:
        chunks = list(download)
        assert all(0 < len(chunk) <= 1 << 20 for chunk in chunks)
        assert sum(map(len, chunks)) == download.object.size_bytes
        return b"".join(chunks)


def there(findings: dict[str, Evidence[str]]) -> set[str]:
    """Folders that were found, where the others are absent."""
    assert not any(isinstance(finding, Unknown) for finding in findings.values())
    return {name for name, finding in findings.items() if isinstance(finding, Present)}


def write(folder: Path, *names: str, size_bytes: int = 1000) -> dict[str, str]:
    """Random files, and the SHA-256 of each."""
    sums = {}
    for name in names:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        data = os.urandom(size_bytes)
        place.write_bytes(data)
        sums[name] = hashlib.sha256(data).hexdigest()
    return sums


def test_listing_has_every_file_below_a_folder_with_size_and_time(server: Any, open_landing: OpenLanding) -> None:
    write(server.files, "day/a/one.mp3", "day/a/b/two.mp3", "day/three.mp3", "elsewhere/four.mp3", size_bytes=7)
    os.utime(server.files / "day/three.mp3", (0, 1_700_000_000))
    landing = open_landing(server)
    found = landing.list("day").objects
    assert [item.path for item in found] == ["day/a/b/two.mp3", "day/a/one.mp3", "day/three.mp3"]
    assert {item.size_bytes for item in found} == {7}
    assert found[2].modified_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert found[2].uri == f"sftp://127.0.0.1:{server.port}{server.path}/day/three.mp3"
    assert [item.path for item in landing.list("").objects][-1] == "elsewhere/four.mp3"


def test_missing_folder_has_an_empty_listing(server: Any, open_landing: OpenLanding) -> None:
    write(server.files, "day/file.mp3")
    landing = open_landing(server)
    assert landing.list("night") == Listing([])
    assert landing.list("day/file.mp3") == Listing([])
    assert there(landing.existing_folders(["day", "night", "day/file.mp3"])) == {"day"}
    assert there(landing.existing_folders(["night"])) == set()


def test_folder_of_many_files_is_listed_whole(server: Any, open_landing: OpenLanding) -> None:
    names = [f"day/{number:04}/{number}.mp3" for number in range(40)] + [f"flat/{number}.mp3" for number in range(700)]
    write(server.files, *names, size_bytes=1)
    landing = open_landing(server)
    assert [item.path for item in landing.list("").objects] == sorted(names)


def test_links_and_invalid_names_are_ignored(server: Any, open_landing: OpenLanding, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write(outside, "secret.mp3")
    write(server.files, "day/good.mp3", "day/naïve 通話.mp3")
    (server.files / "day/link.mp3").symlink_to(outside / "secret.mp3")
    (server.files / "day/inner.mp3").symlink_to(server.files / "day/good.mp3")
    (server.files / "day/folder").symlink_to(outside)
    (server.files / "day/back\\slash.mp3").touch()
    (server.files / "day/line\nend.mp3").touch()
    Path(os.fsdecode(os.fsencode(server.files) + b"/day/not-utf8-\xff.mp3")).touch()
    landing = open_landing(server)
    assert [item.path for item in landing.list("day").objects] == ["day/good.mp3", "day/naïve 通話.mp3"]
    assert len(read(landing, "day/naïve 通話.mp3")) == 1000
    for path in ("day/folder", "day/folder/deeper"):
        assert landing.list(path).objects == []
    assert [gap.folder for gap in landing.list("day/folder").gaps] == ["day/folder"]
    folders = landing.existing_folders(["day", "day/folder"])
    assert folders["day"] == Present(landing.uri_of("day"))
    assert folders["day/folder"] == Unknown(f"{landing.uri_of('day/folder')} is a symbolic link, which is not followed")
    with pytest.raises(ObjectNotFoundError), landing.open("day"):
        pass
    assert landing.stat_many(["day"]) == {"day": Absent("it is no regular file")}


def test_landing_of_links_alone_is_not_empty(server: Any, open_landing: OpenLanding, tmp_path: Path) -> None:
    write(tmp_path / "outside", "secret.mp3")
    (server.files / "day").mkdir()
    (server.files / "day/a.mp3").symlink_to(tmp_path / "outside/secret.mp3")
    landing = open_landing(server)
    assert landing.sample() == Unknown(f"{landing.uri_of('day/a.mp3')}: a symbolic link, which is not followed")


def test_a_link_is_unknown_and_named_as_a_link(server: Any, open_landing: OpenLanding, tmp_path: Path) -> None:
    write(tmp_path / "outside", "secret.mp3")
    write(server.files, "day/good.mp3", "kept/good.mp3")
    (server.files / "day/link.mp3").symlink_to(tmp_path / "outside/secret.mp3")
    (server.files / "day/inner.mp3").symlink_to(server.files / "day/good.mp3")
    (server.files / "day/folder").symlink_to(tmp_path / "outside")
    (server.files / "day/nothing.mp3").symlink_to("nowhere")
    (server.files / "latest").symlink_to("day")
    (server.files / "moved").mkdir()
    (server.files / "moved/good.mp3").symlink_to("../kept/good.mp3")
    landing = open_landing(server)
    for path in ("day/link.mp3", "day/inner.mp3", "day/nothing.mp3"):
        with pytest.raises(AccessDeniedError, match=r"symbolic link.* not followed"), landing.open(path):
            pass
    link = landing.stat_many(["day/inner.mp3"])["day/inner.mp3"]
    assert link == Unknown(f"{landing.uri_of('day/inner.mp3')} is a symbolic link, which is not followed")
    gaps = {gap.folder: gap.reason for gap in landing.list("").gaps}
    assert gaps.keys() - {"day/folder"} == {"day/link.mp3", "day/inner.mp3", "day/nothing.mp3"}
    assert all("a symbolic link" in reason and "not followed" in reason for reason in gaps.values())


@pytest.mark.parametrize(
    "path", ["../outside.mp3", "/etc/passwd", "a//b", "a/../b", "a\\b", "a\x00b", "", "./a", "a/", "\udcff"]
)
def test_path_that_could_lead_elsewhere_is_never_sent(faulty: Any, open_landing: OpenLanding, path: str) -> None:
    landing = open_landing(faulty)
    with pytest.raises(ArchiveError) as refused, landing.open(path):
        pass
    assert not refused.value.retryable
    assert isinstance(landing.stat_many([path])[path], Absent)
    assert set(faulty.asked) <= {".", "/"}


@pytest.mark.parametrize("size_bytes", [0, 1, 32768, 261_119, 261_120, 261_121, 3_000_000])
def test_file_of_any_size_is_read_whole(server: Any, open_landing: OpenLanding, size_bytes: int) -> None:
    sums = write(server.files, "file.mp3", size_bytes=size_bytes)
    assert hashlib.sha256(read(open_landing(server), "file.mp3")).hexdigest() == sums["file.mp3"]


def test_download_describes_the_file_and_has_no_hash_to_compare(server: Any, open_landing: OpenLanding) -> None:
    write(server.files, "day/file.mp3", size_bytes=5)
    landing = open_landing(server)
    with landing.open("day/file.mp3") as download:
        assert landing.list("day") == Listing([download.object])
        assert landing.stat_many(["day/file.mp3", "day/none.mp3"]) == {
            "day/file.mp3": Present(download.object),
            "day/none.mp3": Absent("the server says that there is no such file"),
        }
        download.verify_md5("00")


def test_missing_file_is_not_found(server: Any, open_landing: OpenLanding) -> None:
    landing = open_landing(server)
    with pytest.raises(ObjectNotFoundError, match=r"none\.mp3"), landing.open("day/none.mp3"):
        pass


def test_download_left_early_does_not_disturb_the_next(server: Any, open_landing: OpenLanding) -> None:
    sums = write(server.files, "big.mp3", "next.mp3", size_bytes=2_000_000)
    landing = open_landing(server, concurrency=1)
    for _ in range(3):
        with landing.open("big.mp3") as download:
            next(iter(download))
        assert hashlib.sha256(read(landing, "next.mp3")).hexdigest() == sums["next.mp3"]


def test_many_threads_get_every_file_whole(server: Any, open_landing: OpenLanding) -> None:
    sums = write(server.files, *(f"day/{number}.mp3" for number in range(200)), size_bytes=40_000)
    landing = open_landing(server, concurrency=16)
    with ThreadPoolExecutor(16) as threads:
        got = dict(
            zip(sums, threads.map(lambda path: hashlib.sha256(read(landing, path)).hexdigest(), sums), strict=True)
        )
    assert got == sums


@pytest.mark.needs("sshd")
def test_large_file_is_never_in_memory_as_a_whole(openssh: Any, open_landing: OpenLanding) -> None:
    server = openssh()
    block = os.urandom(1 << 20)
    with (server.files / "large.mp3").open("wb") as file:
        for number in range(48):
            file.write(number.to_bytes(4, "big") + block[4:])
    landing = open_landing(server)
    landing.check()
    tracemalloc.start()
    try:
        hasher = hashlib.sha256()
        with landing.open("large.mp3") as download:
            for chunk in download:
                hasher.update(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    with (server.files / "large.mp3").open("rb") as file:
        assert hasher.hexdigest() == hashlib.file_digest(file, "sha256").hexdigest()
    assert peak < 12 << 20


@pytest.mark.needs("sshd")
def test_more_threads_than_sessions_share_them(openssh: Any, open_landing: OpenLanding) -> None:
    server = openssh("MaxSessions 2", "MaxStartups 2:100:2")
    sums = write(server.files, *(f"{number}.mp3" for number in range(40)))
    landing = open_landing(server, concurrency=10)
    with ThreadPoolExecutor(10) as threads:
        got = dict(
            zip(sums, threads.map(lambda path: hashlib.sha256(read(landing, path)).hexdigest(), sums), strict=True)
        )
    assert got == sums


def test_missing_root_is_a_configuration_error(server: Any, open_landing: OpenLanding) -> None:
    write(server.files, "file.mp3")
    for path in ("/no/such/folder", f"{server.path}/file.mp3"):
        with pytest.raises(ConfigurationError, match=r"accounts\.landing"):
            open_landing(server, path=path).check()


def test_root_is_percent_decoded_and_may_itself_be_a_link(server: Any, open_landing: OpenLanding) -> None:
    write(server.files, "my recordings/file.mp3")
    (server.files / "current").symlink_to("my recordings")
    for name in ("my%20recordings", "current"):
        landing = open_landing(server, path=f"{server.path}/{name}")
        assert [item.path for item in landing.list("").objects] == ["file.mp3"]
        assert len(read(landing, "file.mp3")) == 1000


def test_refused_root_stops_the_run(faulty: Any, open_landing: OpenLanding) -> None:
    write(faulty.files, "day/file.mp3")
    faulty.denied = ("file.mp3",)
    landing = open_landing(faulty)
    with pytest.raises(AccessDeniedError, match=r"day/file\.mp3"), landing.open("day/file.mp3"):
        pass


def test_folders_without_end_are_a_gap(faulty: Any, open_landing: OpenLanding) -> None:
    (faulty.files / "/".join(["deep"] * 40)).mkdir(parents=True)
    write(faulty.files, "day/file.mp3")
    listing = open_landing(faulty).list("")
    assert [item.path for item in listing.objects] == ["day/file.mp3"]
    assert [str(gap) for gap in listing.gaps] == [
        f"sftp://127.0.0.1:{faulty.port}/{'/'.join(['deep'] * 32)}: folders are nested more than 32 deep"
    ]


def test_endless_listing_is_stopped(faulty: Any, open_landing: OpenLanding, monkeypatch: pytest.MonkeyPatch) -> None:
    write(faulty.files, *(f"{number}.mp3" for number in range(20)))
    monkeypatch.setattr("callarchive.storage.landing.sftp.walk._ENTRIES_MAX", 19)
    listing = open_landing(faulty).list("")
    assert len(listing.objects) == 19
    assert [(gap.folder, "more than" in gap.reason) for gap in listing.gaps] == [("", True)]


@pytest.mark.needs("sshd")
def test_keys_may_be_changed_in_mid_transfer(openssh: Any, open_landing: OpenLanding) -> None:
    server = openssh("RekeyLimit 1M")
    sums = write(server.files, *(f"{number}.mp3" for number in range(8)), size_bytes=5_000_000)
    landing = open_landing(server, concurrency=4)
    with ThreadPoolExecutor(4) as threads:
        got = list(threads.map(lambda path: hashlib.sha256(read(landing, path)).hexdigest(), sums))
    assert got == list(sums.values())


def test_check_reads_the_beginning_of_the_listing_only(server: Any, open_landing: OpenLanding) -> None:
    write(server.files, *(f"{number}.mp3" for number in range(300)), size_bytes=1)
    open_landing(server).check()


def test_sample_is_a_file_of_the_landing_or_nothing(server: Any, open_landing: OpenLanding) -> None:
    landing = open_landing(server)
    assert landing.sample() == Absent("no folder of it holds a file")
    (server.files / "2025-12-31").mkdir()
    write(server.files, "2026-01-01/session/file.mp3", size_bytes=9)
    sample = landing.sample()
    assert isinstance(sample, Present)
    assert landing.list("") == Listing([sample.value])


def test_closed_landing_says_so_and_may_be_closed_again(server: Any, open_landing: OpenLanding) -> None:
    landing = open_landing(server)
    landing.check()
    landing.close()
    landing.close()
    with pytest.raises(UnavailableError, match="closed"):
        landing.list("")


def test_nothing_is_contacted_before_the_first_call(faulty: Any, open_landing: OpenLanding) -> None:
    open_landing(faulty)
    assert faulty.transports == []
    assert threading.active_count() < 20

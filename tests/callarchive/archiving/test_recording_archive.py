"""A name that ends in .mp3 is a whole, verified recording. Other bytes become versions or go to quarantine."""

import hashlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import pytest

from callarchive.archiving import recording_archive
from callarchive.archiving.recording_archive import RecordingArchive, Rejection
from callarchive.domain.errors import AlreadyExistsError, ObjectNotFoundError, StoreError, TransferError
from callarchive.domain.landing_objects import LandingObject
from callarchive.domain.models import AudioIssue, KeptFile
from callarchive.mp3 import probe_mp3
from callarchive.runtime.worker_pool import StoppedError
from callarchive.simulator.audio import break_recording, make_recording
from callarchive.storage.stores import Store
from callarchive.storage.stores.local import LocalStore

DAY = date(2026, 11, 1)
NOW = datetime(2026, 11, 2, 3, 4, 5, tzinfo=UTC)
SESSION = "5d9b4dd0-0668-11ec-8c5e-fd3f1c2a9a11"
RECORDING = "61c2f3b0-0668-11ec-9ae2-ff0d2c1b7a22"
FOLDER = f"acme_sg/call_date=2026-11-01/{SESSION}"
SOUND = make_recording(shape="lame_cbr_8k_mono", duration_s=3, seed=1)
OTHER = make_recording(shape="lame_cbr_8k_mono", duration_s=4, seed=2)


class BytesDownload:
    """A download of an object in memory.

    Args:
        promised_bytes: its size according to the landing.
        md5: its hash according to the landing, if any.
    """

    def __init__(
        self, data: bytes, *, promised_bytes: int | None = None, md5: str | None = None, chunk_bytes: int = 1000
    ) -> None:
        size_bytes = len(data) if promised_bytes is None else promised_bytes
        self.object = LandingObject("s/r.mp3", "memory://landing/s/r.mp3", size_bytes, etag=md5)
        self.read_count = 0
        self._data = data
        self._md5 = md5
        self._chunk_bytes = chunk_bytes

    def __iter__(self) -> Iterator[bytes]:
        self.read_count += 1
        for at in range(0, len(self._data), self._chunk_bytes):
            yield self._data[at : at + self._chunk_bytes]

    def verify_md5(self, md5_hex: str) -> None:
        if self._md5 is not None and md5_hex != self._md5:
            raise TransferError("the landing has another hash")


Files = Callable[[], dict[str, bytes]]
"""All files of an archive with their bytes, including temporary ones."""


@pytest.fixture
def archive(store: Store) -> RecordingArchive:
    """Return an archive in a folder, and one in S3."""
    return RecordingArchive(store, clock=lambda: NOW)


@pytest.fixture
def files(archive: RecordingArchive, request: pytest.FixtureRequest) -> Files:
    url = urlsplit(archive.store.url)

    def in_bucket() -> dict[str, bytes]:
        client, prefix = request.getfixturevalue("boto"), f"{url.path[1:]}/"
        listed = client.list_objects_v2(Bucket=url.netloc, Prefix=prefix).get("Contents", ())
        keys = [entry["Key"] for entry in listed]
        return {key.removeprefix(prefix): client.get_object(Bucket=url.netloc, Key=key)["Body"].read() for key in keys}

    return partial(files_below, Path(url.path)) if url.scheme == "file" else in_bucket


def files_below(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def keep(archive: RecordingArchive, download: BytesDownload, *, account: str = "acme_sg") -> KeptFile | Rejection:
    return archive.keep(
        download, subaccount_id=account, day=DAY, session_id=SESSION, recording_id=RECORDING, stop=Event()
    )


def kept(archive: RecordingArchive, data: bytes) -> KeptFile:
    result = keep(archive, BytesDownload(data))
    assert isinstance(result, KeptFile)
    return result


def test_a_recording_is_stored_under_its_name_byte_for_byte(archive: RecordingArchive, files: Files) -> None:
    file = kept(archive, SOUND)
    assert files() == {f"{FOLDER}/{RECORDING}.mp3": SOUND}
    assert file.archive_path == f"{FOLDER}/{RECORDING}.mp3"
    assert (file.size_bytes, file.sha256, file.archived_at) == (len(SOUND), hashlib.sha256(SOUND).hexdigest(), NOW)
    assert file.audio.duration_s == pytest.approx(3, abs=0.1)
    assert (file.audio.sample_rate_hz, file.audio.channels, file.audio.audio_issue) == (8000, 1, None)


@pytest.mark.parametrize("chunk_bytes", [1, 417, 1024 * 1024])
def test_the_size_of_chunks_does_not_matter(archive: RecordingArchive, files: Files, chunk_bytes: int) -> None:
    download = BytesDownload(SOUND, chunk_bytes=chunk_bytes)
    result = keep(archive, download)
    assert isinstance(result, KeptFile)
    assert result.audio == kept(archive, SOUND).audio
    assert download.read_count == 1
    assert list(files().values()) == [SOUND]


def test_an_account_whose_name_would_be_hidden_has_a_visible_folder(archive: RecordingArchive, files: Files) -> None:
    keep(archive, BytesDownload(SOUND), account="_acme")
    assert list(files()) == [f"%5Facme/call_date=2026-11-01/{SESSION}/{RECORDING}.mp3"]
    path = f"%5Facme/call_date=2026-11-01/{SESSION}/{RECORDING}.mp3"
    assert archive.sizes("_acme", DAY, [path]) == {path: len(SOUND)}


def test_storing_the_same_bytes_again_keeps_one_file(archive: RecordingArchive, files: Files) -> None:
    assert kept(archive, SOUND) == kept(archive, SOUND)
    assert list(files()) == [f"{FOLDER}/{RECORDING}.mp3"]


def test_a_whole_file_of_a_killed_run_is_adopted(archive: RecordingArchive, files: Files) -> None:
    archive.store.create(f"{FOLDER}/{RECORDING}.mp3", SOUND)
    assert kept(archive, SOUND).archive_path == f"{FOLDER}/{RECORDING}.mp3"
    assert files() == {f"{FOLDER}/{RECORDING}.mp3": SOUND}


def test_other_bytes_become_a_version_and_never_overwrite(archive: RecordingArchive, files: Files) -> None:
    kept(archive, SOUND)
    version = kept(archive, OTHER)
    name = f"{FOLDER}/{RECORDING}.{hashlib.sha256(OTHER).hexdigest()[:16]}.mp3"
    assert version.archive_path == name
    assert files() == {f"{FOLDER}/{RECORDING}.mp3": SOUND, name: OTHER}
    assert kept(archive, OTHER).archive_path == name, "a version is stored only once, too"
    assert kept(archive, SOUND).archive_path == f"{FOLDER}/{RECORDING}.mp3"
    assert len(files()) == 2


def test_a_version_that_does_not_match_the_hash_in_its_name_is_an_error(
    archive: RecordingArchive, files: Files
) -> None:
    kept(archive, SOUND)
    name = f"{FOLDER}/{RECORDING}.{hashlib.sha256(OTHER).hexdigest()[:16]}.mp3"
    archive.store.replace(name, b"tampered")
    with pytest.raises(AlreadyExistsError, match="does not match the hash in its name"):
        kept(archive, OTHER)
    assert files() == {f"{FOLDER}/{RECORDING}.mp3": SOUND, name: b"tampered"}


@pytest.mark.parametrize(
    ("how", "issue"),
    [("cut_half", AudioIssue.TRUNCATED), ("zero_tail", AudioIssue.TRUNCATED), ("hole", AudioIssue.DAMAGED)],
)
def test_damaged_audio_is_archived_and_flagged(
    archive: RecordingArchive, files: Files, how: str, issue: AudioIssue
) -> None:
    data = break_recording(SOUND, how)
    file = kept(archive, data)
    assert file.audio.audio_issue is issue
    assert file.audio.issue_detail
    assert list(files().values()) == [data]


@pytest.mark.parametrize("how", ["html", "empty", "in an MP4"])
def test_an_object_that_is_not_audio_is_quarantined(archive: RecordingArchive, files: Files, how: str) -> None:
    data = b"\0\0\0\x20ftypisom" + SOUND if how == "in an MP4" else break_recording(SOUND, how)
    result = keep(archive, BytesDownload(data))
    assert isinstance(result, Rejection)
    digest = hashlib.sha256(data).hexdigest()[:16]
    name = f"_quarantine/{FOLDER}/{RECORDING}.{digest}.bin"
    assert files() == {name: data}
    assert result.quarantine_uri == f"{archive.store.url}/{name}"
    assert result.reason
    assert keep(archive, BytesDownload(data)) == result
    assert files() == {name: data}


@pytest.mark.parametrize("promised_bytes", [0, len(SOUND) - 1, len(SOUND) + 1])
def test_a_wrong_size_leaves_nothing(archive: RecordingArchive, files: Files, promised_bytes: int) -> None:
    with pytest.raises(TransferError, match=r"memory://landing/s/r\.mp3"):
        keep(archive, BytesDownload(SOUND, promised_bytes=promised_bytes))
    assert files() == {}


def test_a_hash_that_differs_from_the_landings_leaves_nothing(archive: RecordingArchive, files: Files) -> None:
    with pytest.raises(TransferError):
        keep(archive, BytesDownload(SOUND, md5="0" * 32))
    assert files() == {}
    keep(archive, BytesDownload(SOUND, md5=hashlib.md5(SOUND, usedforsecurity=False).hexdigest()))
    assert list(files().values()) == [SOUND]


def test_a_large_recording_is_hashed_and_measured_in_order_in_threads(
    archive: RecordingArchive, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_archive, "_LARGE_BYTES", len(SOUND))
    with pytest.raises(TransferError):
        keep(archive, BytesDownload(SOUND, md5="0" * 32))
    assert files() == {}
    md5 = hashlib.md5(SOUND, usedforsecurity=False).hexdigest()
    result = keep(archive, BytesDownload(SOUND, md5=md5, chunk_bytes=100))
    assert isinstance(result, KeptFile)
    assert result.sha256 == hashlib.sha256(SOUND).hexdigest()
    assert result.audio == probe_mp3(SOUND)
    assert list(files().values()) == [SOUND]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("beside_")]


def test_an_interrupted_transfer_leaves_nothing(archive: RecordingArchive, files: Files) -> None:
    class Broken(BytesDownload):
        def __iter__(self) -> Iterator[bytes]:
            yield SOUND[:1000]
            raise TransferError("connection reset")

    with pytest.raises(TransferError, match="connection reset"):
        keep(archive, Broken(SOUND))
    assert files() == {}


def test_a_stopped_transfer_leaves_nothing(archive: RecordingArchive, files: Files) -> None:
    stop = Event()

    class Stopping(BytesDownload):
        def __iter__(self) -> Iterator[bytes]:
            yield SOUND[:1000]
            stop.set()
            yield SOUND[1000:2000]
            raise AssertionError("nobody looked at the event")

    with pytest.raises(StoppedError):
        archive.keep(
            Stopping(SOUND), subaccount_id="acme_sg", day=DAY, session_id=SESSION, recording_id=RECORDING, stop=stop
        )
    assert files() == {}


def test_an_archive_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    root.write_bytes(b"a file where the folder should be")
    with pytest.raises(StoreError, match=f"file://{root}"):
        kept(RecordingArchive(LocalStore(f"file://{root}"), clock=lambda: NOW), SOUND)


def test_sizes_are_those_of_the_existing_files(archive: RecordingArchive) -> None:
    kept(archive, SOUND)
    path, gone = f"{FOLDER}/{RECORDING}.mp3", f"{FOLDER}/gone.mp3"
    assert archive.sizes("acme_sg", DAY, [path, gone]) == {path: len(SOUND)}
    assert archive.sizes("acme_sg", DAY, []) == {}


def test_the_hash_is_computed_from_the_current_bytes(archive: RecordingArchive) -> None:
    path = kept(archive, SOUND).archive_path
    assert archive.sha256_of(path) == hashlib.sha256(SOUND).hexdigest()
    archive.store.replace(path, OTHER)
    assert archive.sha256_of(path) == hashlib.sha256(OTHER).hexdigest()
    archive.store.delete(path)
    with pytest.raises(ObjectNotFoundError):
        archive.sha256_of(path)


# Each child stores the recording and kills itself at the nth event: the opening, writing, syncing, linking, renaming or
# removing of a file.
KILLED_KEEPER = """
import os, signal, sys
from datetime import UTC, date, datetime
from threading import Event
from urllib.parse import urlsplit
from callarchive.archiving.recording_archive import RecordingArchive
from callarchive.domain.landing_objects import LandingObject
from callarchive.storage.stores.local import LocalStore

data = open(sys.argv[2], "rb").read()

class Download:
    object = LandingObject(path="s/r.mp3", uri="memory://s/r.mp3", size_bytes=len(data))
    def __iter__(self):
        yield data[:5000]
        yield data[5000:]
    def verify_md5(self, md5_hex):
        pass

def keep(root, kill_at):
    seen = 0
    def event():
        nonlocal seen
        seen += 1
        if seen == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
    def counted(function):
        def call(*arguments):
            event()
            result = function(*arguments)
            event()
            return result
        return call
    os.fsync, os.write = counted(os.fsync), counted(os.write)
    def audit(name, arguments):
        if name == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            event()
        elif name in ("os.rename", "os.link", "os.remove", "os.mkdir"):
            event()
    sys.addaudithook(audit)
    RecordingArchive(LocalStore("file://" + root), clock=lambda: datetime.now(UTC)).keep(
        Download(), subaccount_id="acme_sg", day=date(2026, 11, 1), session_id=sys.argv[3], recording_id=sys.argv[4],
        stop=Event())

for point in range(1, 200):
    child = os.fork()
    if child == 0:
        keep(f"{sys.argv[1]}/{point}", point)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(point, code, flush=True)
    if code == 0:
        break
"""


def test_a_kill_at_any_point_leaves_no_name_or_a_whole_file_and_the_next_run_finishes(tmp_path: Path) -> None:
    (tmp_path / "sound.mp3").write_bytes(SOUND)
    arguments = [str(tmp_path), str(tmp_path / "sound.mp3"), SESSION, RECORDING]
    done = subprocess.run(
        [sys.executable, "-c", KILLED_KEEPER, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    outcomes = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(outcomes) >= 10
    assert [code for _, code in outcomes] == [-signal.SIGKILL] * (len(outcomes) - 1) + [0]
    states = set()
    for point, _ in outcomes:
        root = tmp_path / str(point)
        archive = RecordingArchive(LocalStore(f"file://{root}"), clock=lambda: NOW)
        named = {path: data for path, data in files_below(root).items() if path.endswith(".mp3")}
        assert named in ({}, {f"{FOLDER}/{RECORDING}.mp3": SOUND})
        states.add(len(named))
        archive.store.sweep(archive.day_folder("acme_sg", DAY))
        assert kept(archive, SOUND).archive_path == f"{FOLDER}/{RECORDING}.mp3"
        assert files_below(root) == {f"{FOLDER}/{RECORDING}.mp3": SOUND}
    assert states == {0, 1}

"""Every recording that 8x8 names gets a state; its own trouble is that state, trouble that all would share ends the run."""

import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from hashlib import md5, sha256
from pathlib import Path
from threading import Event

import pytest

from callarchive.archiving.fetcher.account_day import AccountDay, FetchCounts, Wanted, call_time
from callarchive.archiving.fetcher.comparison import Comparison, compare
from callarchive.archiving.fetcher.fetcher import Fetcher
from callarchive.archiving.recording_archive import RecordingArchive
from callarchive.catalog.parquet_files import to_arrow
from callarchive.catalog.rows import file_row
from callarchive.catalog.schemas import RECORDING_FILES
from callarchive.domain.errors import (
    AccessDeniedError,
    ColdObjectError,
    HostKeyError,
    ObjectNotFoundError,
    RejectedRequestError,
    StoreError,
    TransferError,
    UnavailableError,
)
from callarchive.domain.evidence import Absent, Evidence, Present
from callarchive.domain.landing_objects import LandingObject
from callarchive.domain.models import ApiRecording, ApiStatus, ArchiveStatus, RecordingFile
from callarchive.runtime.adaptive_limit import Adaptive
from callarchive.runtime.retry import Backoff
from callarchive.settings import TransferSettings
from callarchive.simulator.audio import break_recording, make_recording
from callarchive.storage.landing import Download, Listing
from callarchive.storage.landing.date_folders import DateFolders
from callarchive.storage.landing.sftp.messages import STATUS, Reply
from callarchive.storage.stores.local import LocalStore

DAY = date(2026, 11, 1)
CALL_AT = datetime(2026, 11, 1, 10, tzinfo=UTC)
LATE = datetime(2026, 11, 5, tzinfo=UTC)
"""Long after the call: what is not there by now is missing."""
SESSION = "5d9b4dd0-0668-11ec-8c5e-fd3f1c2a9a11"
SOUND = make_recording(shape="lame_cbr_8k_mono", duration_s=2, seed=1)
OTHER = make_recording(shape="lame_cbr_8k_mono", duration_s=3, seed=2)
PAGE = break_recording(SOUND, "html")
PATIENCE_S = 10.0


def recording_id(number: int) -> str:
    return f"{number:08x}-0668-41ec-9ae2-ff0d2c1b7a22"


def place(number: int = 1) -> str:
    return f"{SESSION}/{recording_id(number)}_2026-11-01T10:00:00.000Z.mp3"


class MemoryLanding:
    """A landing in memory that can be set to fail, and that counts what is read from it.

    Attributes:
        faults: errors to come at an object, one each time that it is opened; null is no error.
        down: what everything raises, null while the landing is up.
        while_reading: called with an object's path between two of its chunks.
        endless: objects that give chunk after chunk and never end.
        while_checked: called when it is asked whether it is up.
    """

    uri = "memory://landing"
    concurrency = 4
    walks_folders = False

    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        self.objects = objects or {}
        self.faults: dict[str, list[Exception | None]] = {}
        self.down: Exception | None = None
        self.while_reading: Callable[[str], object] = lambda _: None
        self.while_checked: Callable[[], object] = lambda: None
        self.endless: set[str] = set()
        self.opened: Counter[str] = Counter()
        self.stat_count = 0
        self._lock = threading.Lock()

    def describe(self, path: str) -> LandingObject:
        data = self.objects[path]
        etag = md5(data, usedforsecurity=False).hexdigest()
        return LandingObject(path=path, uri=f"{self.uri}/{path}", size_bytes=len(data), etag=etag, modified_at=CALL_AT)

    def _up(self) -> None:
        if self.down is not None:
            raise self.down

    def list(self, folder: str) -> Listing:
        self._up()
        return Listing([self.describe(path) for path in self.objects if path.startswith(f"{folder}/")])

    def pages(self, folder: str, *, skip: Callable[[str], bool] | None = None) -> Iterator[Listing]:
        yield self.list(folder)

    def existing_folders(self, names: Sequence[str]) -> dict[str, Evidence[str]]:
        return {name: Present(name) if self.list(name).objects else Absent("empty") for name in names}

    @contextmanager
    def open(self, path: str) -> Iterator[Download]:
        self._up()
        with self._lock:
            if path not in self.objects:
                raise ObjectNotFoundError(f"{self.uri}/{path} is not there")
            self.opened[path] += 1
            faults = self.faults.get(path)
            fault = faults.pop(0) if faults else None
        yield MemoryDownload(self, path, fault)

    def stat_many(self, paths: Iterable[str], *, confirm_absent: bool = True) -> dict[str, Evidence[LandingObject]]:
        self._up()
        self.stat_count += 1
        return {path: Present(self.describe(path)) if path in self.objects else Absent("not there") for path in paths}

    def delete(self, path: str) -> None:
        del self.objects[path]

    def check(self) -> None:
        self.while_checked()
        self._up()

    def sample(self) -> Evidence[LandingObject]:
        return next((Present(self.describe(path)) for path in self.objects), Absent("empty"))

    def uri_of(self, path: str) -> str:
        return f"{self.uri}/{path}"

    def close(self) -> None:
        """There is nothing to let go of."""


class MemoryDownload:
    """An object of a MemoryLanding that is being read; its fault comes in the middle."""

    def __init__(self, landing: MemoryLanding, path: str, fault: Exception | None) -> None:
        self.object = landing.describe(path)
        self._landing = landing
        self._data = landing.objects[path]
        self._fault = fault

    def __iter__(self) -> Iterator[bytes]:
        half = max(1, len(self._data) // 2)
        yield self._data[:half]
        self._landing.while_reading(self.object.path)
        ends_at = time.monotonic() + PATIENCE_S
        while self.object.path in self._landing.endless:
            assert time.monotonic() < ends_at, "nobody stopped"
            time.sleep(0.002)
            yield self._data[:1]
        if self._fault is not None:
            raise self._fault
        if self._data[half:]:
            yield self._data[half:]

    def verify_md5(self, md5_hex: str) -> None:
        if md5_hex != self.object.etag:
            raise TransferError("the landing has another hash")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "archive"


class Run:
    """Runs of the transfer over one archive and one landing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.landing = MemoryLanding()
        self.archive = RecordingArchive(LocalStore(f"file://{root}"), clock=lambda: LATE)
        self.counts = FetchCounts()
        self.limit = Adaptive(1)
        self.recorded: list[RecordingFile] = []

    def day(self, transfer: TransferSettings, *, now: datetime = LATE) -> AccountDay:
        return AccountDay(
            subaccount_id="acme_sg",
            date=DAY,
            landing=self.landing,
            root="prefix",
            date_folders=DateFolders(self.landing, clock=lambda: now),
            archive=self.archive,
            transfer=transfer,
            clock=lambda: now,
        )

    def fetch(self, *wanted: Wanted, now: datetime = LATE, attempts: int = 2) -> dict[str, RecordingFile]:
        """The states by recording id; each recording is settled once."""
        day = self.day(TransferSettings(attempts=attempts), now=now)
        fetcher = Fetcher(day)
        self.counts, self.limit, self.recorded = day.counts, day.concurrency, []
        known = [w.earlier for w in wanted if w.earlier is not None]
        comparison = compare(day, to_arrow(RECORDING_FILES, [file_row(file) for file in known]))
        unchanged = [file for file in known if file.recording_id in comparison.unchanged_ids]
        changed = [w for w in wanted if w.recording.recording_id not in comparison.unchanged_ids]
        with fetcher.fetch(changed, comparison, record=self.recorded.append) as files:
            settled = list(files)
        assert sorted(map(str, self.recorded)) == sorted(map(str, settled))
        settled += unchanged
        assert sorted(file.recording_id for file in settled) == sorted(w.recording.recording_id for w in wanted)
        return {file.recording_id: file for file in settled}

    def fetch_one(
        self,
        status: ApiStatus = ApiStatus.UPLOAD_COMPLETED,
        *,
        earlier: RecordingFile | None = None,
        now: datetime = LATE,
        attempts: int = 2,
    ) -> RecordingFile:
        (file,) = self.fetch(wanted(status=status, earlier=earlier), now=now, attempts=attempts).values()
        return file

    def kept(self) -> dict[str, bytes]:
        """What is in the archive, but for quarantine, by file name."""
        found = (path for path in self.root.rglob("*") if path.is_file() and "_quarantine" not in path.parts)
        return {path.name: path.read_bytes() for path in found}


@pytest.fixture
def run(root: Path) -> Run:
    return Run(root)


def wanted(
    number: int = 1, *, status: ApiStatus = ApiStatus.UPLOAD_COMPLETED, earlier: RecordingFile | None = None
) -> Wanted:
    url = f"https://bucket.s3.amazonaws.com/prefix/{place(number)}".replace(":00", "%3A00")
    recording = ApiRecording(recording_id(number), status, status.value, external_file_url=url)
    return Wanted(SESSION, recording, earlier, CALL_AT)


FIRST = f"{recording_id(1)}.mp3"
BESIDE = f"{recording_id(1)}.{sha256(OTHER).hexdigest()[:16]}.mp3"


# --- states -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", list(ApiStatus))
def test_a_recording_that_is_there_is_archived_unless_8x8_is_still_at_it(run: Run, status: ApiStatus) -> None:
    run.landing.objects[place()] = SOUND
    file = run.fetch_one(status)
    if status is ApiStatus.PROCESSING:
        assert (file.archive_status, run.kept()) == (ArchiveStatus.PENDING, {})
        assert run.landing.opened == {}
        return
    assert file.archive_status is ArchiveStatus.ARCHIVED
    assert file.error is None
    assert file.source == run.landing.describe(place())
    assert file.kept is not None
    assert file.kept.sha256 == sha256(SOUND).hexdigest()
    assert [version.archive_path for version in file.versions] == [file.kept.archive_path]
    assert run.kept() == {FIRST: SOUND}
    assert (run.counts.fetched_count, run.counts.fetched_bytes, run.counts.unchanged_count) == (1, len(SOUND), 0)


def test_a_recording_that_an_event_calls_uploaded_is_fetched_though_the_api_is_behind(run: Run) -> None:
    run.landing.objects[place()] = SOUND
    item = replace(wanted(status=ApiStatus.PROCESSING), uploaded=True)
    (file,) = run.fetch(item).values()
    assert (file.archive_status, run.kept()) == (ArchiveStatus.ARCHIVED, {FIRST: SOUND})


def test_a_recording_that_8x8_is_at_and_that_is_not_there_is_pending_whatever_an_event_says(run: Run) -> None:
    (file,) = run.fetch(replace(wanted(status=ApiStatus.PROCESSING), uploaded=True), now=LATE).values()
    assert file.archive_status is ArchiveStatus.PENDING


def test_a_recording_that_only_an_event_places_is_found_there(run: Run) -> None:
    path = f"2026-12-24/{place()}"
    run.landing.objects[path] = SOUND
    item = wanted()
    item = replace(item, recording=replace(item.recording, external_file_url=None), file_path=f"recordings/{path}")
    (file,) = run.fetch(item).values()
    assert file.source == run.landing.describe(path)


@pytest.mark.parametrize(
    ("status", "soon", "late"),
    [
        (ApiStatus.PROCESSING, ArchiveStatus.PENDING, ArchiveStatus.PENDING),
        (ApiStatus.UPLOAD_COMPLETED, ArchiveStatus.PENDING, ArchiveStatus.MISSING),
        (ApiStatus.CALLBACK_COMPLETED, ArchiveStatus.PENDING, ArchiveStatus.MISSING),
        (ApiStatus.CALLBACK_FAILED, ArchiveStatus.PENDING, ArchiveStatus.MISSING),
        (ApiStatus.PROCESSING_FAILED, ArchiveStatus.NOT_UPLOADED, ArchiveStatus.NOT_UPLOADED),
        (ApiStatus.UPLOAD_FAILED, ArchiveStatus.NOT_UPLOADED, ArchiveStatus.NOT_UPLOADED),
        (ApiStatus.UNKNOWN, ArchiveStatus.NOT_UPLOADED, ArchiveStatus.NOT_UPLOADED),
    ],
)
def test_a_recording_that_is_nowhere_has_the_state_that_8x8s_word_and_the_time_give(
    run: Run, status: ApiStatus, soon: ArchiveStatus, late: ArchiveStatus
) -> None:
    within_grace = run.fetch_one(status, now=CALL_AT + timedelta(hours=24, microseconds=-1))
    after_grace = run.fetch_one(status, now=CALL_AT + timedelta(hours=24))
    assert (within_grace.archive_status, after_grace.archive_status) == (soon, late)
    assert within_grace.error
    assert after_grace.error
    assert after_grace.kept is None
    assert run.kept() == {}


def test_a_recording_that_was_pending_is_archived_once_it_is_there(run: Run) -> None:
    pending = run.fetch_one(now=CALL_AT)
    run.landing.objects[place()] = SOUND
    assert run.fetch_one(earlier=pending).archive_status is ArchiveStatus.ARCHIVED


@pytest.mark.parametrize("how", ["html", "empty"])
def test_what_is_no_audio_is_rejected_and_not_read_again(run: Run, how: str) -> None:
    run.landing.objects[place()] = break_recording(SOUND, how)
    file = run.fetch_one()
    assert file.archive_status is ArchiveStatus.REJECTED
    assert file.error
    assert file.quarantine_uri is not None
    assert Path(file.quarantine_uri.removeprefix("file://")).read_bytes() == run.landing.objects[place()]
    assert run.kept() == {}
    assert run.fetch_one(earlier=file) == file
    assert run.landing.opened[place()] == 1


def test_a_rejected_object_that_is_replaced_at_the_source_is_archived(run: Run) -> None:
    run.landing.objects[place()] = PAGE
    rejected = run.fetch_one()
    run.landing.objects[place()] = SOUND
    file = run.fetch_one(earlier=rejected)
    assert (file.archive_status, file.quarantine_uri, file.error) == (ArchiveStatus.ARCHIVED, None, None)


def test_an_erased_recording_is_never_fetched_again(run: Run) -> None:
    run.landing.objects[place()] = SOUND
    erased = RecordingFile("acme_sg", SESSION, recording_id(1), ArchiveStatus.ERASED)
    assert run.fetch_one(earlier=erased) == erased
    assert run.landing.opened == {}


def test_a_day_of_all_states_has_one_state_each(run: Run) -> None:
    run.landing.objects = {place(1): SOUND, place(2): PAGE, place(3): SOUND}
    run.landing.faults[place(3)] = [TransferError("reset")] * 9
    files = run.fetch(
        wanted(1), wanted(2), wanted(3), wanted(4), wanted(5, status=ApiStatus.UPLOAD_FAILED), wanted(6), attempts=1
    )
    assert [files[recording_id(n)].archive_status.value for n in range(1, 7)] == [
        "archived",
        "rejected",
        "failed",
        "missing",
        "not_uploaded",
        "missing",
    ]


def test_many_recordings_are_all_archived(run: Run) -> None:
    run.landing.objects = {place(n): make_recording(shape="lame_cbr_8k_mono", duration_s=1, seed=n) for n in range(60)}
    files = run.fetch(*(wanted(n) for n in range(60)))
    assert {file.archive_status for file in files.values()} == {ArchiveStatus.ARCHIVED}
    assert run.kept() == {f"{recording_id(n)}.mp3": run.landing.objects[place(n)] for n in range(60)}
    assert run.counts.fetched_count == 60
    assert run.counts.fetched_bytes == sum(map(len, run.landing.objects.values()))


def test_no_recordings_need_nothing(run: Run) -> None:
    assert run.fetch() == {}
    assert run.landing.stat_count == 0


# --- again ------------------------------------------------------------------------------------------------------------


def test_an_unchanged_recording_is_not_opened_again(run: Run) -> None:
    run.landing.objects[place()] = SOUND
    first = run.fetch_one()
    assert run.fetch_one(earlier=first) == first
    assert run.landing.opened == {place(): 1}
    assert (run.counts.fetched_count, run.counts.unchanged_count) == (0, 1)


def test_a_kept_recording_stays_whatever_8x8_says_of_it_now(run: Run) -> None:
    run.landing.objects[place()] = SOUND
    first = run.fetch_one()
    for status in ApiStatus:
        assert run.fetch_one(status, earlier=first) == first
    del run.landing.objects[place()]
    for status in ApiStatus:
        assert run.fetch_one(status, earlier=first) == first
    assert run.kept() == {FIRST: SOUND}


def test_a_changed_source_becomes_a_version_and_the_old_bytes_stay(run: Run) -> None:
    run.landing.objects[place()] = SOUND
    first = run.fetch_one()
    run.landing.objects[place()] = OTHER
    second = run.fetch_one(earlier=first)
    assert run.kept() == {FIRST: SOUND, BESIDE: OTHER}
    assert second.kept is not None
    assert second.kept.archive_path.endswith(BESIDE)
    assert [(version.archive_path.rpartition("/")[2], version.sha256) for version in second.versions] == [
        (FIRST, sha256(SOUND).hexdigest()),
        (BESIDE, sha256(OTHER).hexdigest()),
    ]
    assert run.fetch_one(earlier=second) == second


def test_a_source_that_changes_back_is_the_first_file_again(run: Run) -> None:
    run.landing.objects[place()] = SOUND
    file = run.fetch_one()
    for data in (OTHER, SOUND):
        run.landing.objects[place()] = data
        file = run.fetch_one(earlier=file)
    assert file.kept is not None
    assert file.kept.archive_path.endswith(FIRST)
    assert [version.archive_path.rpartition("/")[2] for version in file.versions] == [BESIDE, FIRST]
    assert run.kept() == {FIRST: SOUND, BESIDE: OTHER}


def test_a_source_that_turns_into_something_else_takes_nothing_back(run: Run) -> None:
    run.landing.objects[place()] = SOUND
    first = run.fetch_one()
    run.landing.objects[place()] = PAGE
    second = run.fetch_one(earlier=first)
    assert (second.archive_status, second.kept, second.versions) == (first.archive_status, first.kept, first.versions)
    assert second.quarantine_uri is not None
    assert run.kept() == {FIRST: SOUND}
    assert run.fetch_one(earlier=second) == second
    assert run.landing.opened[place()] == 2, "it is looked at once"


def test_a_changed_source_that_cannot_be_read_leaves_what_is_kept(run: Run) -> None:
    run.landing.objects[place()] = SOUND
    first = run.fetch_one()
    run.landing.objects[place()] = OTHER
    run.landing.faults[place()] = [TransferError("reset")]
    assert run.fetch_one(earlier=first, attempts=1) == first
    assert run.fetch_one(earlier=first).versions[-1].sha256 == sha256(OTHER).hexdigest(), "it is tried again"


def test_what_a_killed_run_left_without_a_record_is_adopted_by_its_bytes(run: Run) -> None:
    run.landing.objects[place()] = SOUND
    recorded = run.fetch_one()
    assert run.fetch_one(earlier=None) == recorded
    assert run.kept() == {FIRST: SOUND}


def test_what_a_killed_run_left_of_an_older_source_is_a_version(run: Run) -> None:
    run.landing.objects[place()] = SOUND
    run.fetch_one()
    run.landing.objects[place()] = OTHER
    file = run.fetch_one(earlier=None)
    assert [(version.archive_path.rpartition("/")[2], version.sha256) for version in file.versions] == [
        (FIRST, sha256(SOUND).hexdigest()),
        (BESIDE, sha256(OTHER).hexdigest()),
    ]


def test_a_file_that_is_gone_from_the_archive_is_fetched_again(run: Run) -> None:
    run.landing.objects[place()] = SOUND
    first = run.fetch_one()
    next(run.root.rglob(FIRST)).unlink()
    assert run.fetch_one(earlier=first) == first
    assert run.kept() == {FIRST: SOUND}


def test_a_file_that_was_cut_in_the_archive_is_fetched_beside_it(run: Run) -> None:
    run.landing.objects[place()] = SOUND
    first = run.fetch_one()
    next(run.root.rglob(FIRST)).write_bytes(SOUND[:100])
    file = run.fetch_one(earlier=first)
    whole = f"{recording_id(1)}.{sha256(SOUND).hexdigest()[:16]}.mp3"
    assert run.kept() == {FIRST: SOUND[:100], whole: SOUND}
    assert file.kept is not None
    assert file.kept.archive_path.endswith(whole)
    assert run.fetch_one(earlier=file) == file


def test_a_file_that_is_gone_from_archive_and_source_is_missing_and_not_forgotten(run: Run) -> None:
    run.landing.objects[place()] = SOUND
    first = run.fetch_one()
    next(run.root.rglob(FIRST)).unlink()
    del run.landing.objects[place()]
    file = run.fetch_one(earlier=first)
    assert (file.archive_status, file.kept) == (ArchiveStatus.MISSING, None)
    assert file.versions == first.versions, "verify still reports that it is gone"


def test_sources_are_compared_with_one_request_for_all(run: Run) -> None:
    run.landing.objects = {place(n): make_recording(shape="lame_cbr_8k_mono", duration_s=1, seed=n) for n in range(5)}
    files = run.fetch(*(wanted(n) for n in range(5)))
    run.fetch(*(wanted(n, earlier=files[recording_id(n)]) for n in range(5)))
    assert run.landing.stat_count == 1


# --- trouble ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [TransferError("too few bytes"), UnavailableError("this object alone")])
def test_a_transfer_that_breaks_is_tried_again(run: Run, error: Exception) -> None:
    run.landing.objects[place()] = SOUND
    run.landing.faults[place()] = [error]
    assert run.fetch_one().archive_status is ArchiveStatus.ARCHIVED
    assert run.landing.opened[place()] == 2
    assert run.kept() == {FIRST: SOUND}


@pytest.mark.parametrize("error", [TransferError("too few bytes"), UnavailableError("this object alone")])
def test_a_transfer_that_breaks_every_time_is_failed_with_its_reason(run: Run, error: Exception) -> None:
    run.landing.objects = {place(1): SOUND, place(2): OTHER}
    run.landing.faults[place(1)] = [error] * 9
    files = run.fetch(wanted(1), wanted(2))
    failed = files[recording_id(1)]
    assert (failed.archive_status, failed.error) == (ArchiveStatus.FAILED, f"after 2 attempts: {error}")
    assert run.landing.opened[place(1)] == 2
    assert files[recording_id(2)].archive_status is ArchiveStatus.ARCHIVED, "its neighbour is not affected"
    assert list(run.kept().values()) == [OTHER]


@pytest.mark.parametrize(
    "error", [ColdObjectError("GLACIER: restore it"), RejectedRequestError("KMS.DisabledException")]
)
def test_what_cannot_change_by_waiting_is_one_attempt_and_no_congestion(run: Run, error: Exception) -> None:
    run.landing.objects = {place(number): SOUND for number in range(1, 9)}
    run.landing.faults = {path: [error] for path in run.landing.objects}
    files = run.fetch(*[wanted(number) for number in range(1, 9)], attempts=4)
    assert {(file.archive_status, file.error) for file in files.values()} == {(ArchiveStatus.FAILED, str(error))}
    assert set(run.landing.opened.values()) == {1}
    assert run.limit.limit == run.landing.concurrency
    again = run.fetch(*[wanted(number, earlier=files[recording_id(number)]) for number in range(1, 9)])
    assert {file.archive_status for file in again.values()} == {ArchiveStatus.ARCHIVED}


def test_what_a_server_says_of_a_failed_transfer_is_cleaned_before_it_is_kept(run: Run) -> None:
    said = b"\x1b[31mno, ask +65 9123 4567 or https://u:hunter2@host/x?X-Amz-Signature=5ecret\nAuthorization: Bearer 5ecret"
    body = b"".join((struct.pack(">II", 4, len(said)), said, struct.pack(">I", 0)))
    run.landing.objects[place()] = SOUND
    run.landing.faults[place()] = [Reply(1, STATUS, body).refusal(f"sftp://host/up/6591234567/{place()}")] * 9
    error = run.fetch_one().error or ""
    assert not [word for word in ("4567", "hunter2", "5ecret", "\x1b", "\n") if word in error]
    assert "no, ask *** or https://***@host/x?*** Authorization: ***" in error
    assert recording_id(1) in error


def test_a_number_in_an_objects_path_is_not_shown_in_the_table_and_the_object_is_fetched_once(run: Run) -> None:
    path = f"6591234567/{place()}"
    run.landing.objects[path] = SOUND
    item = replace(wanted(1), file_path=path)
    kept = run.fetch(item)[recording_id(1)]
    row = file_row(kept)
    assert kept.archive_status is ArchiveStatus.ARCHIVED
    assert "6591234567" not in row["source_uri"]
    assert row["source_uri"].endswith(f"/***/{place()}")
    assert row["source_path"] == path  # by which the next run knows that it is unchanged


def test_a_failed_transfer_is_tried_again_by_the_next_run(run: Run) -> None:
    run.landing.objects[place()] = SOUND
    run.landing.faults[place()] = [TransferError("reset")]
    failed = run.fetch_one(attempts=1)
    assert failed.archive_status is ArchiveStatus.FAILED
    assert run.fetch_one(earlier=failed).archive_status is ArchiveStatus.ARCHIVED


def test_a_landing_that_is_down_ends_the_run(run: Run) -> None:
    run.landing.objects[place()] = SOUND
    run.landing.down = UnavailableError("no answer from the landing")
    with pytest.raises(UnavailableError, match="no answer from the landing"):
        run.fetch_one()


def test_a_landing_that_is_down_does_not_put_kept_files_in_doubt(run: Run) -> None:
    run.landing.objects[place()] = SOUND
    first = run.fetch_one()
    run.landing.down = UnavailableError("no answer")
    assert run.fetch_one(earlier=first) == first
    assert (run.counts.unchanged_count, run.counts.uncompared_count) == (1, 1)


@pytest.mark.parametrize("error", [AccessDeniedError("denied"), HostKeyError("another key")])
def test_a_refusal_ends_the_run_at_once_and_is_not_tried_again(run: Run, error: Exception) -> None:
    run.landing.objects = {place(n): SOUND for n in range(50)}
    for path in run.landing.objects:
        run.landing.faults[path] = [error] * 9
    with pytest.raises(type(error)):
        run.fetch(*(wanted(n) for n in range(50)))
    assert max(run.landing.opened.values()) <= 2, "once for itself, and one to learn whether all is refused"
    assert sum(run.landing.opened.values()) < 50
    assert run.kept() == {}


def test_a_refused_object_is_logged_once_with_the_refused_places(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.landing.objects = {place(n): SOUND for n in range(26)}
    refused = [place(n) for n in range(1, 26)]
    for path in refused:
        run.landing.faults[path] = [AccessDeniedError(f"{path}: denied")] * 9
    day = run.day(TransferSettings())
    day.counts.fetched_count = 1  # else the landing would be tried as a whole
    with Fetcher(day).fetch(
        [wanted(n) for n in range(1, 26)], Comparison({}, frozenset()), record=lambda _: None
    ) as files:
        assert {file.archive_status for file in files} == {ArchiveStatus.FAILED}
    assert not caplog.records
    day.refusals.log()
    day.refusals.log()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 21
    assert all(line.endswith(": denied") for line in lines[:20])
    assert lines[-1] == "acme_sg: 5 more objects were refused"


def test_a_refusal_to_compare_ends_the_run(run: Run) -> None:
    run.landing.objects[place()] = SOUND
    first = run.fetch_one()
    run.landing.down = AccessDeniedError("denied")
    with pytest.raises(AccessDeniedError):
        run.fetch_one(earlier=first)


def test_an_archive_that_cannot_be_written_ends_the_run(run: Run) -> None:
    run.landing.objects = {place(n): SOUND for n in range(50)}
    run.root.write_bytes(b"a file where the folder should be")
    with pytest.raises(StoreError):
        run.fetch(*(wanted(n) for n in range(50)))
    assert sum(run.landing.opened.values()) < 50


def test_leaving_early_stops_transfers_under_way_and_leaves_no_half_file(run: Run) -> None:
    run.landing.objects = {place(n): SOUND for n in range(20)}
    run.landing.endless = set(run.landing.objects) - {place(0)}
    fetcher = Fetcher(run.day(TransferSettings()))

    class EnoughError(Exception):
        """The consumer has had enough."""

    def consume() -> None:
        with fetcher.fetch([wanted(n) for n in range(20)], Comparison({}, frozenset()), record=lambda _: None) as files:
            assert next(files).archive_status is ArchiveStatus.ARCHIVED
            raise EnoughError

    with pytest.raises(EnoughError):
        consume()
    assert run.kept() == {f"{recording_id(0)}.mp3": SOUND}, "the one that was settled, and nothing temporary"
    assert sum(run.landing.opened.values()) <= 5, "what waited was not begun"


def test_a_stop_while_a_transfer_waits_for_its_next_attempt_ends_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callarchive.archiving.fetcher.transfer._BACKOFF", Backoff(first_s=20))
    waits = Event()
    run.landing.objects = {place(1): SOUND, place(2): SOUND}
    run.landing.faults = {
        place(1): [UnavailableError("this object alone")] * 9,
        place(2): [HostKeyError("changed")],
    }
    run.landing.while_checked = waits.set  # asked when an object cannot be had, just before the wait
    run.landing.while_reading = lambda path: path == place(1) or waits.wait(PATIENCE_S)
    with pytest.raises(HostKeyError):
        run.fetch(wanted(1), wanted(2), attempts=10)
    assert run.landing.opened[place(1)] == 1


# --- when the call was ------------------------------------------------------------------------------------------------


def test_the_calls_time_is_the_recordings_else_the_sessions_else_the_days_end() -> None:
    end = datetime(2026, 11, 2, tzinfo=UTC)
    session_at = datetime(2026, 11, 1, 9, tzinfo=UTC)
    named = ApiRecording(
        recording_id(1),
        ApiStatus.UNKNOWN,
        external_file_url=f"https://h/{recording_id(1)}_2026-11-01T08%3A00%3A00Z.mp3",
    )
    dated = replace(named, started_at=CALL_AT)
    silent = replace(named, external_file_url=None)

    def at(recording: ApiRecording, session_started_at: datetime | None) -> datetime:
        return call_time(recording, session_started_at, day=DAY, day_end=end, now=LATE)

    assert at(dated, session_at) == CALL_AT
    assert at(named, session_at) == datetime(2026, 11, 1, 8, tzinfo=UTC)
    assert at(silent, session_at) == session_at
    assert at(silent, None) == end

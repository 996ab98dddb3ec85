"""What 8x8 answered, kept per day: look-ups as they came, and the files of the log export.

A day can be read again from here without asking 8x8, years later and with better reading. One object per table and
day (per account for call logs), below `_answers/`, which Parquet readers do not see; zstd, to be opened with
`zstd -d` and `tar --zstd`. Phone numbers are masked before anything is written. How look-ups get there is in
`answer_journal`, how one stands in a line in `answer_lines`.
"""

import csv
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path

import pyarrow as pa

from callarchive.archiving.responses.call_log_rows import masked_rows
from callarchive.archiving.responses.journal import AnswerJournal, kept_lookups, lookups_path, mask_once
from callarchive.catalog.rows import Key
from callarchive.domain.errors import ObjectNotFoundError, StoreError
from callarchive.domain.identifiers import path_segment
from callarchive.domain.models import Lookup
from callarchive.domain.phone_numbers import PhoneNumberMask
from callarchive.runtime.temporary_folders import temporary_folder
from callarchive.storage.stores import Store


class AnswerStore:
    """Raw answers over a store. Not for two writers of one day at once: hold the day's lock."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def day_folders(self, day: date) -> list[str]:
        """The folders that hold the day's answers, below the store's root, whether or not they are there."""
        return [lookups_path(day).rpartition("/")[0], call_log_path(day, "any").rpartition("/")[0]]

    def journal(self, day: date, *, masks: Mapping[str, PhoneNumberMask]) -> AnswerJournal:
        """Takes a run's answers for the day as they come. See `AnswerJournal`."""
        return AnswerJournal(self._store, day, masks=masks)

    def lookups(self, day: date) -> Iterator[tuple[Key, Lookup]]:
        """The kept answers by key, one for each session, read anew.

        Raises:
            StoreError: an object is damaged.
        """
        return kept_lookups(self._store, day)

    def load_lookups(self, day: date) -> dict[Key, Lookup]:
        """All of `lookups` at once; none is an empty dict."""
        return dict(self.lookups(day))

    def save_call_log(self, day: date, subaccount_id: str, files: Sequence[Path], mask: PhoneNumberMask) -> None:
        """The account's call log of the day is these CSV files and no others; no files: an empty one.

        Args:
            mask: applied to the columns of phone numbers, whatever their order and case; where it keeps numbers, the
                column Content is kept too.
        """
        try:
            data = _packed(files, mask)
        except OSError as err:
            raise StoreError(f"{day}, account {subaccount_id}: cannot pack the call log: {err.strerror}") from err
        self._store.replace(call_log_path(day, subaccount_id), data)

    @contextmanager
    def load_call_log(self, day: date, subaccount_id: str) -> Iterator[list[Path] | None]:
        """The kept CSV files in a temporary folder, as `VoiceClient.call_log` hands them over; null if none were kept.

        Raises:
            StoreError: the object is damaged.
        """
        path = call_log_path(day, subaccount_id)
        try:
            data = self._store.read(path)
        except ObjectNotFoundError:
            data = None
        if data is None:
            yield None
            return
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(temporary_folder("callarchive-log-"))
            except OSError as err:
                raise StoreError(f"no temporary folder for the kept call log: {err.strerror}; check TMPDIR") from err
            yield self._unpack(data, folder, path)

    def _unpack(self, data: bytes, folder: Path, path: str) -> list[Path]:
        found: list[Path] = []
        try:
            with (
                pa.CompressedInputStream(pa.BufferReader(data), "zstd") as packed,
                tarfile.open(fileobj=packed, mode="r|") as archive,
            ):
                for number, member in enumerate(archive):
                    # Not extract(): its safe filter came with Python 3.11.4, and the names in the archive are not needed.
                    content = archive.extractfile(member)
                    if content is not None:
                        found.append(folder / f"log-{number:04d}.csv")
                        with found[-1].open("wb") as file:
                            shutil.copyfileobj(content, file)
        except (OSError, pa.ArrowException, tarfile.TarError) as err:
            raise StoreError(f"{self._store.uri(path)}: is damaged ({type(err).__name__}); remove it") from err
        return found


def call_log_path(day: date, subaccount_id: str) -> str:
    """Return where the account's call log of the day lies below the store's root."""
    return f"_answers/call_log/call_date={day}/{path_segment(subaccount_id)}.tar.zst"


def _packed(files: Sequence[Path], mask: PhoneNumberMask) -> bytes:
    """A tar of the masked files, zstd. Without time stamps: the same rows give the same bytes."""
    target = pa.BufferOutputStream()
    with (
        temporary_folder("callarchive-log-") as folder,
        pa.CompressedOutputStream(target, "zstd") as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for number, path in enumerate(files):
            masked = folder / "masked.csv"
            with masked.open("w", encoding="utf-8", newline="") as rows:
                csv.writer(rows, lineterminator="\n").writerows(masked_rows(path, mask=mask_once(mask)))
            member = tarfile.TarInfo(f"log-{number:04d}.csv")
            member.size = masked.stat().st_size
            with masked.open("rb") as file:
                archive.addfile(member, file)
    return target.getvalue().to_pybytes()

"""The response store: responses of 8x8's API per day, from which a day can be parsed again without 8x8.

One object per day for lookups (`zstd -d`), and one per day and account for call logs (`tar --zstd`), numbers masked.
"""

import csv
import shutil
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path

import pyarrow as pa

from callarchive.archiving.responses.call_log_rows import masked_rows
from callarchive.archiving.responses.journal import (
    ResponseJournal,
    erase_lookups,
    kept_lookups,
    lookups_path,
    mask_once,
)
from callarchive.catalog.rows import Key
from callarchive.custody.erasures import ErasureRegister
from callarchive.domain.erased_ids import ErasedIds
from callarchive.domain.errors import ObjectNotFoundError, StoreError
from callarchive.domain.identifiers import path_segment
from callarchive.domain.models import Lookup
from callarchive.domain.phone_numbers import PhoneNumberMask, unmasked
from callarchive.runtime.temporary_folders import temporary_folder
from callarchive.storage.stores import Store

CALL_LOGS = "_answers/call_log"


class ResponseStore:
    """The responses in a store, without what was erased. Writers must hold the day's lock."""

    def __init__(self, store: Store, register: ErasureRegister) -> None:
        self._store = store
        self._register = register

    def day_folders(self, day: date) -> list[str]:
        """Return the folders of the day's responses, relative to the store's root, existing or not."""
        return [lookups_path(day).rpartition("/")[0], call_log_path(day, "any").rpartition("/")[0]]

    def journal(self, day: date, *, masks: Mapping[str, PhoneNumberMask]) -> ResponseJournal:
        """Open the journal for the responses of a run."""
        return ResponseJournal(self._store, day, masks=masks)

    def lookups(self, day: date) -> Iterator[tuple[Key, Lookup]]:
        """Yield the stored lookups, one per session, parsed again. Raises StoreError if an object is damaged."""
        return kept_lookups(self._store, day)

    def load_lookups(self, day: date) -> dict[Key, Lookup]:
        """Return all of `lookups` as a dict."""
        return dict(self.lookups(day))

    def save_call_log(self, day: date, subaccount_id: str, files: Sequence[Path], mask: PhoneNumberMask) -> None:
        """Replace the account's call log of the day with these CSV files, with phone numbers masked."""
        erased = self._register.around(day)

        def is_erased(text: str) -> bool:
            return bool(erased and erased.ids_in(subaccount_id, text).all)

        try:
            data = _packed(files, mask_once(mask), is_erased=is_erased)
        except OSError as err:
            raise StoreError(f"{day}, account {subaccount_id}: cannot pack the call log: {err.strerror}") from err
        self._store.replace(call_log_path(day, subaccount_id), data)

    def erase(self, day: date, ids: ErasedIds, *, others: Collection[str] = ()) -> None:
        """Remove the ids from the day's responses, with older versions of the objects. Raises StoreError.

        Responses for sessions go, and of other responses the entries of recordings. Of call logs, rows that have an id go,
        but not in those of `others`: accounts that have a session with one of the ids.
        """
        erase_lookups(self._store, day, ids)
        left = {call_log_path(day, account) for account in others}
        for item in self._store.list(call_log_path(day, "any").rpartition("/")[0]):
            if item.path not in left:
                self._erase_from_call_log(item.path, ids)
                self._store.erase_old_versions(item.path)

    @contextmanager
    def load_call_log(self, day: date, subaccount_id: str) -> Iterator[list[Path] | None]:
        """Provide the stored CSV files in a temporary folder, or None if no call log is stored. Raises StoreError."""
        path = call_log_path(day, subaccount_id)
        try:
            data = self._store.read(path)
        except ObjectNotFoundError:
            yield None
            return
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(temporary_folder("callarchive-log-"))
            except OSError as err:
                why = f"{err.strerror}; check TMPDIR"
                raise StoreError(f"cannot create a temporary folder for the call log: {why}") from err
            yield self._unpack(data, folder, path)

    def _erase_from_call_log(self, path: str, ids: ErasedIds) -> None:
        with temporary_folder("callarchive-log-") as folder:
            files = self._unpack(self._store.read(path), folder, path)
            if any(ids.in_text(file.read_text(encoding="utf-8", errors="replace")) for file in files):
                self._store.replace(path, _packed(files, unmasked, is_erased=ids.in_text))

    def _unpack(self, data: bytes, folder: Path, path: str) -> list[Path]:
        found: list[Path] = []
        try:
            with (
                pa.CompressedInputStream(pa.BufferReader(data), "zstd") as packed,
                tarfile.open(fileobj=packed, mode="r|") as archive,
            ):
                for number, member in enumerate(archive):
                    # Not extract(): its safe filter needs Python 3.11.4, and the names in the archive are not needed.
                    content = archive.extractfile(member)
                    if content is not None:
                        found.append(folder / f"log-{number:04d}.csv")
                        with found[-1].open("wb") as file:
                            shutil.copyfileobj(content, file)
        except (OSError, pa.ArrowException, tarfile.TarError) as err:
            raise StoreError(f"{self._store.uri(path)} is damaged ({type(err).__name__}): remove it") from err
        return found


def call_log_path(day: date, subaccount_id: str) -> str:
    """Return the path of the account's call log of the day, relative to the store's root."""
    return f"{CALL_LOGS}/call_date={day}/{path_segment(subaccount_id)}.tar.zst"


def _packed(files: Sequence[Path], mask: PhoneNumberMask, *, is_erased: Callable[[str], bool]) -> bytes:
    """Pack the masked files as tar and zstd, without timestamps, so that equal rows give equal bytes.

    Rows that name something erased are left out, and files that have no others.
    """
    target = pa.BufferOutputStream()
    with (
        temporary_folder("callarchive-log-") as folder,
        pa.CompressedOutputStream(target, "zstd") as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for number, path in enumerate(files):
            masked, kept_count, erased_count = folder / "masked.csv", 0, 0
            with masked.open("w", encoding="utf-8", newline="") as rows:
                writer = csv.writer(rows, lineterminator="\n")
                for row in masked_rows(path, mask=mask):
                    if is_erased(" ".join(row)):
                        erased_count += 1
                    else:
                        writer.writerow(row)
                        kept_count += 1
            if erased_count and kept_count <= 1:
                continue  # with nothing but its header, it would look like an export that was cut
            member = tarfile.TarInfo(f"log-{number:04d}.csv")
            member.size = masked.stat().st_size
            with masked.open("rb") as file:
                archive.addfile(member, file)
    return target.getvalue().to_pybytes()

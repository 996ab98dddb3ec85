"""What 8x8 answered, kept per day: look-ups as they came, and the files of the log export.

A day can be read again from here without asking 8x8, years later and with better reading. One object per table and
day (per account for call logs), below `_answers/`, which Parquet readers do not see; zstd, to be opened with
`zstd -d` and `tar --zstd`. Phone numbers are treated before anything is written.
"""

import csv
import json
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from callarchive.call_log_rows import treated_rows
from callarchive.days import parse_timestamp
from callarchive.errors import ObjectNotFoundError, StoreError
from callarchive.identifiers import path_segment
from callarchive.models import Lookup, LookupStatus
from callarchive.phone_numbers import HASH_PREFIX, PhoneNumberTreatment, mask_numbers, treat_numbers_in
from callarchive.stores import Store
from callarchive.voice_api.answers import UnreadableError, clean, parse_json, read_lookup, without_credentials

_UNREADABLE_CHARS = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Kept:
    """A look-up as a line holds it."""

    status: LookupStatus
    looked_up_at: datetime
    line: str
    has_recordings: bool


class AnswerStore:
    """Raw answers over a store. Not for two writers of one day at once: hold the day's lock."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def day_folders(self, day: date) -> list[str]:
        """The folders that hold the day's answers, below the store's root, whether or not they are there."""
        return [_lookups_path(day).rpartition("/")[0], _call_log_path(day, "any").rpartition("/")[0]]

    def save_lookups(
        self,
        day: date,
        lookups: Mapping[str, Sequence[Lookup]],
        *,
        treat: Mapping[str, PhoneNumberTreatment],
    ) -> None:
        """The day's answers hold these too.

        For a session that has one already the newer wins, except that one without recordings never replaces one that
        names some, and an error never an answer: neither a bad day at 8x8 nor its forgetting loses what it once said.

        Args:
            lookups: by subaccount_id.
            treat: the accounts' treatment of phone numbers; of an account without one they are dropped.
        """
        if not any(lookups.values()):
            return
        kept = {key: _kept(line, lookup) for key, line, lookup in self._lines(day)}
        before = dict(kept)
        for subaccount_id, answers in lookups.items():
            treatment = _once(treat.get(subaccount_id, lambda _: None))
            for lookup in answers:
                key = (subaccount_id, lookup.session_id)
                new = _kept(_line(subaccount_id, lookup, treatment), lookup)
                if key not in kept or _replaces(new, kept[key]):
                    kept[key] = new
        if kept != before:
            self._write_lines(day, [kept[key].line for key in sorted(kept)])

    def load_lookups(self, day: date) -> dict[tuple[str, str], Lookup]:
        """The kept answers by (subaccount_id, session_id), read anew; none is an empty dict.

        Raises:
            StoreError: the object is damaged.
        """
        return {key: lookup for key, _, lookup in self._lines(day)}

    def save_call_log(self, day: date, subaccount_id: str, files: Sequence[Path], treat: PhoneNumberTreatment) -> None:
        """The account's call log of the day is these CSV files and no others; no files: an empty one.

        Args:
            treat: applied to the columns of phone numbers, whatever their order and case; where it keeps numbers, the
                column Content is kept too.
        """
        try:
            data = _packed(files, treat)
        except OSError as err:
            raise StoreError(f"{day}, account {subaccount_id}: cannot pack the call log: {err.strerror}") from err
        self._store.replace(_call_log_path(day, subaccount_id), data)

    @contextmanager
    def load_call_log(self, day: date, subaccount_id: str) -> Iterator[list[Path] | None]:
        """The kept CSV files in a temporary folder, as `VoiceClient.call_log` hands them over; null if none were kept.

        Raises:
            StoreError: the object is damaged.
        """
        path = _call_log_path(day, subaccount_id)
        try:
            data = self._store.read(path)
        except ObjectNotFoundError:
            data = None
        if data is None:
            yield None
            return
        with TemporaryDirectory(prefix="callarchive-log-") as folder:
            yield self._unpack(data, Path(folder), path)

    def _lines(self, day: date) -> list[tuple[tuple[str, str], str, Lookup]]:
        """Each kept line with its key and the look-up that it reads as."""
        path = _lookups_path(day)
        try:
            data = self._store.read(path)
        except ObjectNotFoundError:
            return []
        found = []
        try:
            for line in _decompressed(data).decode().splitlines():
                subaccount_id, lookup = _read_line(line)
                found.append(((subaccount_id, lookup.session_id), line, lookup))
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as err:
            raise StoreError(
                f"{self._store.uri(path)}: is damaged ({type(err).__name__}); remove it and run {day}"
            ) from err
        return found

    def _write_lines(self, day: date, lines: list[str]) -> None:
        target = pa.BufferOutputStream()
        with pa.CompressedOutputStream(target, "zstd") as packed:
            for line in lines:
                packed.write(line.encode() + b"\n")
        self._store.replace(_lookups_path(day), target.getvalue().to_pybytes())

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


def _lookups_path(day: date) -> str:
    return f"_answers/lookups/call_date={day}/answers.jsonl.zst"


def _call_log_path(day: date, subaccount_id: str) -> str:
    return f"_answers/call_log/call_date={day}/{path_segment(subaccount_id)}.tar.zst"


def _decompressed(data: bytes) -> bytes:
    """pyarrow reads nothing at all as an empty stream; a whole one has a frame, even around nothing."""
    if not data:
        raise ValueError("nothing is there")
    unpacked: bytes = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
    return unpacked


def _kept(line: str, lookup: Lookup) -> _Kept:
    return _Kept(lookup.status, lookup.looked_up_at, line, bool(lookup.recordings))


def _replaces(new: _Kept, old: _Kept) -> bool:
    if old.has_recordings and not new.has_recordings:
        return False  # a failed look-up, or 8x8 has forgotten the session by now
    if new.status is LookupStatus.ERROR and old.status is not LookupStatus.ERROR:
        return new.has_recordings
    return new.looked_up_at >= old.looked_up_at


def _line(subaccount_id: str, lookup: Lookup, treat: PhoneNumberTreatment) -> str:
    return json.dumps(
        {
            "subaccount_id": subaccount_id,
            "session_id": lookup.session_id,
            "looked_up_at": lookup.looked_up_at.isoformat(),
            "status": lookup.status,
            "http_status": lookup.http_status,
            "error": lookup.error,
            "unreachable": lookup.unreachable,
            "body": None if lookup.body is None else _treated_body(lookup.body, treat),
        }
    )


def _read_line(line: str) -> tuple[str, Lookup]:
    """Account and look-up. What has a body is read by `read_lookup` as if it had just come."""
    row = json.loads(line)
    looked_up_at = parse_timestamp(row["looked_up_at"])
    if looked_up_at is None:
        raise ValueError("no time stamp")
    if row["body"] is not None and row["http_status"] is not None:
        lookup = read_lookup(
            session_id=row["session_id"],
            http_status=row["http_status"],
            body=row["body"],
            looked_up_at=looked_up_at,
        )
        return row["subaccount_id"], lookup
    return row["subaccount_id"], Lookup(
        session_id=row["session_id"],
        status=LookupStatus(row["status"]),
        looked_up_at=looked_up_at,
        error=row["error"],
        http_status=row["http_status"],
        unreachable=row["unreachable"],
    )


def _treated_body(body: str, treat: PhoneNumberTreatment) -> str:
    """The body itself where it holds no phone number, else the same JSON with them treated.

    What is not JSON cannot be treated by its keys: what looks like a number is starred out, and it is cut to 64 Ki
    characters, for it is kept as evidence of an error only.
    """
    try:
        tree = parse_json(body)
        treated = _without_credentials(treat_numbers_in(tree, treat))
        return body if treated == tree else clean(json.dumps(treated, ensure_ascii=False))
    except (UnreadableError, RecursionError):
        return mask_numbers(clean(body[:_UNREADABLE_CHARS]))


def _without_credentials(value: Any) -> Any:
    """A copy of the JSON value in which no `externalFileUrl` carries a password or a signature."""
    if isinstance(value, dict):
        return {
            key: without_credentials(child)
            if str(key).lower() == "externalfileurl" and isinstance(child, str)
            else _without_credentials(child)
            for key, child in value.items()
        }
    return [_without_credentials(child) for child in value] if isinstance(value, list) else value


def _once(treat: PhoneNumberTreatment) -> PhoneNumberTreatment:
    """A kept answer that is saved again is not hashed again."""
    return lambda number: number if number is not None and number.startswith(HASH_PREFIX) else treat(number)


def _packed(files: Sequence[Path], treat: PhoneNumberTreatment) -> bytes:
    """A tar of the treated files, zstd. Without time stamps: the same rows give the same bytes."""
    target = pa.BufferOutputStream()
    with (
        TemporaryDirectory(prefix="callarchive-log-") as folder,
        pa.CompressedOutputStream(target, "zstd") as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for number, path in enumerate(files):
            treated = Path(folder) / "treated.csv"
            with treated.open("w", encoding="utf-8", newline="") as rows:
                csv.writer(rows, lineterminator="\n").writerows(treated_rows(path, treat=_once(treat)))
            member = tarfile.TarInfo(f"log-{number:04d}.csv")
            member.size = treated.stat().st_size
            with treated.open("rb") as file:
                archive.addfile(member, file)
    return target.getvalue().to_pybytes()

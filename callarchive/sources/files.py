"""Session ids from files that somebody else writes: `.csv`, `.txt`, `.jsonl`, `.parquet`, on disk or in S3.

Which file a day's ids stand in, and getting at its bytes, is here. What stands in a row is read in `call_log` and
`id_lists`.
"""

import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast
from zoneinfo import ZoneInfo

from callarchive.domain.errors import ObjectNotFoundError, SourceError
from callarchive.domain.models import Findings
from callarchive.domain.phone_numbers import PhoneNumberTreatment
from callarchive.settings import S3Settings
from callarchive.sources.call_log_csv import LogRow, read_call_log
from callarchive.sources.gathering import Gathering
from callarchive.sources.id_lists import read_jsonl, read_parquet, read_txt

_DAY = "{day}"
_READERS: dict[str, Callable[..., Iterator[LogRow]]] = {
    ".csv": read_call_log,
    ".txt": read_txt,
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
}


class FilesSessions:
    """Sessions that a file names.

    With `{day}` in its path there is one file a day, and every id in it belongs to that day. Without it there is one
    file for all days, and each session is dated by its row or by its version-1 UUID.

    Args:
        path: absolute, or `s3://bucket/key`.
        s3: how S3 is reached, for an `s3://` path.
        treat: what becomes of phone numbers.
        clock: the time now; no call is much later.
    """

    kind = "files"

    def __init__(
        self,
        path: str,
        *,
        subaccount_id: str,
        timezone: ZoneInfo,
        s3: S3Settings,
        treat: PhoneNumberTreatment,
        clock: Callable[[], datetime],
    ) -> None:
        self._path = path
        self._subaccount_id = subaccount_id
        self._timezone = timezone
        self._s3 = s3
        self._treat = treat
        self._clock = clock

    def __repr__(self) -> str:
        return f"FilesSessions({self._path!r})"

    def find(self, day: date) -> Findings:
        """The sessions that the file names for the day. A file without a byte, or with a header alone, names none.

        Raises:
            SourceError: the file is not there or cannot be read, or has rows of which none names a session: the day's
                sessions are unknown then, not none.
            AccessDeniedError, UnavailableError, ConfigurationError: S3 would not give it.
        """
        file = self._path.replace(_DAY, day.isoformat())
        gathering = Gathering(
            source=self.kind,
            subaccount_id=self._subaccount_id,
            day=day,
            timezone=self._timezone,
            treat=self._treat,
            now=self._clock(),
            dated_by_file=_DAY in self._path,
        )
        read = _READERS[PurePosixPath(file).suffix.lower()]
        try:
            with self._opened(file) as stream:
                for row in read(stream, file=file):
                    gathering.add(row, file=file)
        except OSError as err:
            raise SourceError(f"{file} cannot be read: {err.strerror or type(err).__name__}") from err
        return gathering.usable_findings(file)

    @contextmanager
    def _opened(self, file: str) -> Iterator[BinaryIO]:
        """The file's bytes, from the first; it can be sought in."""
        if file.startswith("s3://"):
            with tempfile.TemporaryFile() as copy:
                self._copy_from_s3(file, cast(BinaryIO, copy))
                copy.seek(0)
                yield cast(BinaryIO, copy)
            return
        path = Path(file)
        try:
            # A pipe would be waited for without end, and a device has no last byte.
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError) as err:
            raise SourceError(self._absent(file)) from err
        if not stat.S_ISREG(mode):
            raise SourceError(f"{file} is {'a folder' if stat.S_ISDIR(mode) else 'not a regular file'}")
        with path.open("rb") as stream:
            yield stream

    def _copy_from_s3(self, file: str, copy: BinaryIO) -> None:
        # Imported here: boto3 costs 0.3 s, and most lists are on disk.
        from callarchive.storage.s3.clients import s3_client
        from callarchive.storage.s3.errors import BOTO_ERRORS, translate_botocore

        bucket, _, key = file.removeprefix("s3://").partition("/")
        try:
            body = s3_client(self._s3).get_object(Bucket=bucket, Key=key)["Body"]
            with body:
                shutil.copyfileobj(body, copy)
        except BOTO_ERRORS as err:
            translated = translate_botocore(err, place=file, doing="reading")
            if isinstance(translated, ObjectNotFoundError):
                raise SourceError(self._absent(file)) from err
            raise translated from err

    def _absent(self, file: str) -> str:
        hint = "; for a day without calls write an empty file" if _DAY in self._path else ""
        return f"there is no {file}, so the sessions in it are not known{hint}"

"""Session ids in a day's files on disk or in S3. Rows are read in `call_log_csv` and `id_lists`."""

import gzip
import shutil
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath
from typing import BinaryIO, ClassVar, cast

from callarchive.domain.errors import ObjectNotFoundError, SourceError
from callarchive.domain.models import Findings
from callarchive.settings import S3Settings
from callarchive.sources.call_log_csv import LogRow, read_call_log
from callarchive.sources.gathering import Gathering, SourceContext
from callarchive.sources.id_lists import read_jsonl, read_parquet, read_txt
from callarchive.sources.text_files import open_as_utf8

_DAY = "{day}"
_READERS: dict[str, Callable[..., Iterator[LogRow]]] = {
    ".csv": read_call_log,
    ".txt": read_txt,
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
}


@dataclass(frozen=True)
class FilesSessions:
    """Sessions listed in files.

    With `{day}` in its path there is one file per day, and every id in it belongs to that day. Without it there is one
    file for all days, and each session is dated by its row or by its version-1 UUID.
    """

    kind: ClassVar[str] = "files"
    context: SourceContext
    path: str
    s3: S3Settings

    def find(self, day: date) -> Findings:
        """Return the sessions that the file lists for the day. An empty file, or one with only a header, lists none.

        Raises SourceError if the file is missing or unreadable, or no row names a session; S3's errors.
        """
        file = self.path.replace(_DAY, day.isoformat())
        gathering = Gathering(self.context, source=self.kind, day=day, dated_by_file=_DAY in self.path)
        read = _READERS[PurePosixPath(file).suffix.lower()]
        try:
            with self._opened(file) as stream:
                rows = stream if read is read_parquet else open_as_utf8(stream, file=file)
                for row in read(rows, file=file):
                    gathering.add(row, file=file)
        except (EOFError, zlib.error, gzip.BadGzipFile) as err:
            raise SourceError(f"{file} is a damaged or truncated gzip file: write it again") from err
        except OSError as err:
            reason = err.strerror or type(err).__name__
            advice = "; have its owner let this user read it" if isinstance(err, PermissionError) else ""
            raise SourceError(f"{file} cannot be read: {reason}{advice}") from err
        return gathering.usable_findings(file)

    @contextmanager
    def _opened(self, file: str) -> Iterator[BinaryIO]:
        """Yield the file as a seekable stream."""
        if file.startswith("s3://"):
            with tempfile.TemporaryFile() as copy:
                self._copy_from_s3(file, cast("BinaryIO", copy))
                copy.seek(0)
                yield cast("BinaryIO", copy)
            return
        path = Path(file)
        try:
            # Opening a pipe would block forever, and a device has no end.
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError) as err:
            raise SourceError(self._absent(file)) from err
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise SourceError(f"{file} is {kind}: name the file in the `path` of the session source")
        with path.open("rb") as stream:
            yield stream

    def _copy_from_s3(self, file: str, copy: BinaryIO) -> None:
        # Imported here: boto3 costs 0.3 s, and most lists are on disk.
        from callarchive.storage.s3.clients import s3_client
        from callarchive.storage.s3.errors import BOTO_ERRORS, translate_botocore

        bucket, _, key = file.removeprefix("s3://").partition("/")
        try:
            body = s3_client(self.s3).get_object(Bucket=bucket, Key=key)["Body"]
            with body:
                shutil.copyfileobj(body, copy)
        except BOTO_ERRORS as err:
            translated = translate_botocore(err, place=file, doing="reading")
            if isinstance(translated, ObjectNotFoundError):
                raise SourceError(self._absent(file)) from err
            raise translated from err

    def _absent(self, file: str) -> str:
        hint = "; for a day without calls write an empty file" if _DAY in self.path else ""
        return f"{file} does not exist, so the sessions in it are unknown{hint}"

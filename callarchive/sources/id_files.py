"""The files of session ids that exist for a `files` source with `{day}` in its path. Their content is not read."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from callarchive.domain.days import days_between
from callarchive.domain.errors import SourceError
from callarchive.settings import AccountSettings, FilesSource

_DAY = "{day}"


@dataclass(frozen=True)
class IdFile:
    """A file of session ids in a listing. `state` changes when its bytes may have changed."""

    day: date
    path: str
    state: str
    modified_at: datetime

    @property
    def name(self) -> str:
        """A short hash of the path, the same in every process."""
        return hashlib.sha256(self.path.encode()).hexdigest()[:16]


def id_files(account: AccountSettings, *, first: date, last: date) -> Iterator[IdFile]:
    """Yield the files of the days from `first` to `last`, both included. Raises SourceError, or S3's errors."""
    for source in account.session_sources:
        if isinstance(source, FilesSource) and _DAY in source.path:
            found = (
                _in_bucket(source.path, account)
                if source.path.startswith("s3://")
                else _on_disk(source.path, first, last)
            )
            yield from (file for file in found if first <= file.day <= last)


def _on_disk(path: str, first: date, last: date) -> Iterator[IdFile]:
    for day in days_between(first, last):
        file = Path(path.replace(_DAY, day.isoformat()))
        try:
            found = file.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as err:
            raise SourceError(f"{file} cannot be inspected: {err.strerror}") from err
        state = f"{found.st_size}-{found.st_mtime_ns}"
        yield IdFile(day, str(file), state, datetime.fromtimestamp(found.st_mtime, UTC))


def _in_bucket(path: str, account: AccountSettings) -> Iterator[IdFile]:
    # Imported here: boto3 costs 0.3 s, and most lists are on disk.
    from callarchive.storage.s3.clients import s3_client
    from callarchive.storage.s3.errors import BOTO_ERRORS, translate_botocore

    bucket, _, key = path.removeprefix("s3://").partition("/")
    before, _, after = key.partition(_DAY)
    pattern = re.compile(re.escape(before) + r"(\d{4}-\d\d-\d\d)" + re.escape(after).replace(re.escape(_DAY), r"\1"))
    try:
        for page in s3_client(account.s3).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=before):
            for item in page.get("Contents", ()):
                if (match := pattern.fullmatch(item["Key"])) is not None:
                    with suppress(ValueError):  # 2026-02-30
                        day = date.fromisoformat(match[1])
                        state = f"{item['Size']}-{item['ETag']}"
                        yield IdFile(day, f"s3://{bucket}/{item['Key']}", state, item["LastModified"])
    except BOTO_ERRORS as err:
        raise translate_botocore(err, place=f"s3://{bucket}/{before}", doing="listing") from err

"""8x8's log export: starts a job, polls it until it ends, and downloads its files. Used through `VoiceClient`."""

import logging
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from callarchive.domain.days import parse_timestamp
from callarchive.domain.errors import (
    AnswerError,
    ArchiveError,
    ExportCancelledError,
    ExportError,
    ExportExpiredError,
    ExportFailedError,
    ExportServerError,
    StoreError,
)
from callarchive.domain.payloads import UnreadableError, decode, field_of, parse_json, status_message
from callarchive.runtime.retry import Backoff, Deadline
from callarchive.runtime.temporary_folders import temporary_folder
from callarchive.settings import AccountSettings, LookupSettings
from callarchive.voice_api.export_files import FILE_LIMIT_BYTES, DamagedExportError, unpack, why_not_whole
from callarchive.voice_api.export_links import export_url
from callarchive.voice_api.transport import NoResponseError, Request, Transport

_POLL_PAUSES = Backoff(first_s=0.1, longest_s=15.0, growth=1.4)
_MAX_UNKNOWN_POLLS = 10
_MAX_FETCHES = 3
_FETCH_PAUSES = Backoff(first_s=0.25)
_CANCEL_S = 10.0

_BAD_ENDINGS: dict[str, tuple[type[ExportError], str]] = {
    "failed": (ExportFailedError, "8x8 could not create the export; run the day again"),
    "cancelled": (ExportCancelledError, "the export was cancelled; run the day again"),
    "canceled": (ExportCancelledError, "the export was cancelled; run the day again"),
    "error": (ExportServerError, "the export failed with an internal error of 8x8; run the day again later"),
}

logger = logging.getLogger(__name__)


_NO_SUCH_JOB = 4018  # 8x8's code in its 404 for an export job


class LogExport:
    """The export of one time range. Not thread-safe."""

    def __init__(
        self,
        transport: Transport,
        account: AccountSettings,
        lookups: LookupSettings,
        *,
        url: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._transport = transport
        self._account = account
        self._lookups = lookups
        self._url = f"{url}/messages/exports"
        self._clock = clock

    @contextmanager
    def files(self, start: datetime, end: datetime) -> Iterator[list[Path]]:
        """Yield the CSV files, in a private folder that is deleted afterwards. Raises like `VoiceClient.call_log`."""
        deadline = self._transport.deadline(self._lookups.export_deadline_s)
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(temporary_folder("callarchive-export-"))
            except OSError as err:
                raise StoreError(f"no temporary folder for the export's files: {err.strerror}; check TMPDIR") from err
            try:
                found = self._run(start, end, folder, deadline)
            except ExportExpiredError as err:
                logger.info("account %s: %s; starting the export once more", self._account.subaccount_id, err)
                found = self._run(start, end, folder, deadline)
            yield found

    def check(self) -> str | None:
        """Return `None` if 8x8 responds to a request for an unknown job as documented, else what it returned instead."""
        job_id = str(uuid.uuid4())
        request = Request(method="GET", url=self._job_url(job_id), attempts=2)
        deadline = self._transport.deadline(self._lookups.deadline_s)
        status, tree = self._send(request, deadline, name=self._name(job_id))
        if status == 404 and str(field_of(tree, "code")) == str(_NO_SUCH_JOB):
            return None
        return f"8x8 returned HTTP {status} for an unknown export job, not code {_NO_SUCH_JOB} as documented"

    def _run(self, start: datetime, end: datetime, folder: Path, deadline: Deadline) -> list[Path]:
        job_id = self._start(start, end, deadline)
        try:
            word, tree = self._wait(job_id, deadline)
        except BaseException:  # also an interrupt: the job is no longer needed
            self._cancel(job_id)
            raise
        if word == "empty":
            return []
        if word in _BAD_ENDINGS:
            kind, meaning = _BAD_ENDINGS[word]
            raise kind(f"{self._name(job_id)}: {word}: {meaning}{status_message(tree)}")
        name = self._name(job_id)
        links = _links_in(tree, name)
        expires_at = parse_timestamp(field_of(tree, "expires"))
        if expires_at is not None and expires_at <= self._clock():
            raise ExportExpiredError(f"{name}: its files expired at {expires_at:%Y-%m-%dT%H:%MZ}")
        urls = [export_url(link, api_url=self._account.api_url, job=name) for link in links]
        paths: list[Path] = []
        for number, url in enumerate(urls):
            paths += self._download(url, folder, f"{number:04d}", name, deadline)
        return paths

    def _start(self, start: datetime, end: datetime, deadline: Deadline) -> str:
        """Start a job, and return its id. A lost response may leave a second job, which is harmless."""
        payload = f'{{"from": "{_utc_seconds(start)}", "to": "{_utc_seconds(end, up=True)}", "limit": 0}}'.encode()
        request = Request(method="POST", url=self._url, payload=payload)
        name = f"account {self._account.subaccount_id}: log export"
        status, tree = self._send(request, deadline, name=name)
        job_id = field_of(tree, "jobId")
        if isinstance(job_id, int) and not isinstance(job_id, bool):
            job_id = str(job_id)
        if status not in (200, 201, 202):
            raise ExportError(f"{name}: not started, HTTP {status}{status_message(tree)}")
        if not isinstance(job_id, str) or not re.fullmatch(r"[!-~]{1,300}", job_id) or set(job_id) == {"."}:
            raise ExportError(f"{name}: HTTP {status} without a usable jobId{status_message(tree)}")
        return job_id

    def _wait(self, job_id: str, deadline: Deadline) -> tuple[str, dict[str, Any]]:
        """Poll until the job ends. Return its final status, in lower case, and the whole response."""
        request = Request(method="GET", url=self._job_url(job_id))
        name = self._name(job_id)
        unknown = 0
        for pause_s in _POLL_PAUSES.pauses():
            status, tree = self._send(request, deadline, name=name)
            if status != 200:
                raise ExportError(f"{name}: unknown to 8x8, HTTP {status}{status_message(tree)}")
            state = field_of(tree, "status")
            word = state.strip().lower() if isinstance(state, str) else ""
            if word in ("succeeded", "empty", *_BAD_ENDINGS):
                return word, tree
            unknown = 0 if word in ("queued", "running") else unknown + 1
            if unknown >= _MAX_UNKNOWN_POLLS:
                raise ExportError(f"{name}: its status {ascii(state)[:60]} is not documented by 8x8")
            if pause_s >= deadline.remaining_s:
                raise ExportError(
                    f"{name}: not ready within lookups.export_deadline_s ({deadline.seconds:g} s), last status"
                    f" {ascii(state)[:60]}; raise it or run the day again"
                )
            deadline.sleep(pause_s)
        raise AssertionError("the pauses do not end")

    def _send(self, request: Request, deadline: Deadline, *, name: str) -> tuple[int, dict[str, Any]]:
        """Return status and JSON object of the response. Without one, the object is empty, or with a 2xx an error is raised."""
        checked = replace(request, unusable=_not_an_object)
        try:
            response = self._transport.send(checked, deadline=deadline.at_most(self._lookups.deadline_s))
        except NoResponseError as err:
            raise NoResponseError(f"{name}: {err}", http_status=err.http_status) from err
        except AnswerError as err:
            raise ExportError(f"{name}: {err}") from err
        try:
            tree = parse_json(decode(response.body))
        except UnreadableError as err:
            if response.status < 300:
                raise ExportError(f"{name}: the response {err}") from err
            tree = {}
        return response.status, tree if isinstance(tree, dict) else {}

    def _download(self, url: str, folder: Path, stem: str, name: str, deadline: Deadline) -> list[Path]:
        """Download the complete CSV files behind one link.

        A file that may have been cut is downloaded again. Two equal downloads prove nothing: they may be cut at the same place.
        Raises ExportExpiredError if the link has expired, ExportError if no download was complete, NoResponseError.
        """
        raw = folder / f"{stem}.raw"
        name = f"{name}, file {stem}"
        flaw = ""
        for fetch in range(_MAX_FETCHES):
            if fetch:
                logger.info("%s: %s; downloading it again", name, flaw)
                deadline.sleep(_FETCH_PAUSES.pause_s(fetch))
            request = Request(method="GET", url=url, save_to=raw, limit_bytes=FILE_LIMIT_BYTES, denied=(401,))
            try:
                response = self._transport.send(request, deadline=deadline)
            except NoResponseError as err:
                # Not chained: the library's error contains the link, which gives access to the file.
                raise NoResponseError(f"{name}: {err}", http_status=err.http_status) from None
            except AnswerError as err:
                raise ExportError(f"{name}: {err}") from None
            if response.status in (403, 404, 410):
                raise ExportExpiredError(f"{name}: HTTP {response.status}, it can no longer be downloaded")
            if response.status != 200:
                raise ExportError(f"{name}: HTTP {response.status}")
            if not response.end_announced:
                flaw = "it has neither a Content-Length nor chunks, so it may have been cut"
                continue
            if "Content-Range" in response.headers:
                flaw = "8x8 returned only a part of it, which was not requested"
                continue
            try:
                paths = unpack(raw, encoding=response.headers.get("Content-Encoding", ""), name=name)
            except DamagedExportError as err:
                flaw = str(err)
                continue
            flaws = [why for path in paths if (why := why_not_whole(path)) is not None]
            if paths and not flaws:
                return paths
            flaw = flaws[0] if flaws else "it is a zip without files"
        raise ExportError(f"{name}: {flaw}, also after {_MAX_FETCHES} downloads; run the day again")

    def _cancel(self, job_id: str) -> None:
        """Cancel the job. Errors are only logged, as the caller must see the original one."""
        request = Request(method="DELETE", url=self._job_url(job_id), attempts=1)
        try:
            response = self._transport.send(request, deadline=self._transport.deadline(_CANCEL_S))
        except ArchiveError as err:
            logger.info("%s: could not be cancelled: %s", self._name(job_id), err)
        else:
            logger.info("%s: cancelled, HTTP %d", self._name(job_id), response.status)

    def _job_url(self, job_id: str) -> str:
        return f"{self._url}/{quote(job_id, safe='')}"

    def _name(self, job_id: str) -> str:
        return f"account {self._account.subaccount_id}: log export {job_id[:12]}{'...' if len(job_id) > 12 else ''}"


def _links_in(tree: dict[str, Any], name: str) -> list[str]:
    data = field_of(tree, "data")
    links = [data] if isinstance(data, str) else data if isinstance(data, list) else []
    if not links:
        raise ExportError(f"{name}: succeeded, but has no link")
    if not all(isinstance(link, str) and link for link in links):
        raise ExportError(f"{name}: succeeded, but its links are invalid")
    return list(dict.fromkeys(links))


def _not_an_object(body: bytes) -> str | None:
    try:
        return None if isinstance(parse_json(decode(body)), dict) else "the response is not a JSON object"
    except UnreadableError as err:
        return f"the response {err}"


def _utc_seconds(at: datetime, *, up: bool = False) -> str:
    """Format as `yyyy-MM-ddTHH:mm:ssZ`, the form in 8x8's OpenAPI file, rounded so that the range never shrinks."""
    if up and at.microsecond:
        at += timedelta(seconds=1)
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"

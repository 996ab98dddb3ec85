"""The client of 8x8's Voice (Number Masking) API: recordings of a session, call logs, a check of the API key."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from callarchive.domain.errors import AnswerError, InvalidIdError, UnavailableError
from callarchive.domain.evidence import Unknown
from callarchive.domain.identifiers import parse_id
from callarchive.domain.models import Lookup, LookupStatus
from callarchive.domain.payloads import not_json
from callarchive.settings import AccountSettings, LookupSettings
from callarchive.voice_api.absence import read_404
from callarchive.voice_api.account_setup import AccountSetup
from callarchive.voice_api.log_export import LogExport
from callarchive.voice_api.lookups import LIMIT_BYTES, over_limit, read_lookup
from callarchive.voice_api.transport import NoResponseError, Request, Transport

logger = logging.getLogger(__name__)


class VoiceClient:
    """The API client of one account. Thread-safe. Its repr shows only the account."""

    def __init__(
        self,
        account: AccountSettings,
        lookups: LookupSettings,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._account = account
        self._lookups = lookups
        self._clock = clock
        self._transport = Transport(account, lookups, clock=clock, sleep=sleep)
        # All characters that 8x8 allows in the id are safe in a path, except `&`, which becomes %26.
        self._url = f"{account.api_url}/api/v1/subaccounts/{quote(account.subaccount_id, safe='')}"

    def __repr__(self) -> str:
        return f"VoiceClient(account={self._account.subaccount_id!r})"

    def look_up(self, session_id: str) -> Lookup:
        """Look up a session's recordings. A failure of one is a Lookup with status `error`. Raises AccessDeniedError."""
        http_status: int | None = None
        unreachable = False
        try:
            parsed_id = parse_id(session_id, kind="session id")
            request = Request(
                method="GET",
                url=f"{self._url}/recordings/{parsed_id}",
                limit_bytes=LIMIT_BYTES,
                unusable=lambda body: None if over_limit(body) else not_json(body),
            )
            response = self._transport.send(request, deadline=self._transport.deadline(self._lookups.deadline_s))
        except NoResponseError as err:
            http_status, unreachable, error = err.http_status, err.http_status is None, str(err)
        except (AnswerError, InvalidIdError) as err:
            error = str(err)
        else:
            return read_lookup(
                session_id=parsed_id, http_status=response.status, body=response.body, looked_up_at=self._clock()
            )
        logger.info("account %s, session %s: %s", self._account.subaccount_id, ascii(session_id)[:60], error)
        return Lookup(
            session_id=session_id,
            status=LookupStatus.ERROR,
            looked_up_at=self._clock(),
            error=error,
            http_status=http_status,
            unreachable=unreachable,
        )

    @contextmanager
    def call_log(self, start: datetime, end: datetime) -> Iterator[list[Path]]:
        """Yield the CSV files of the calls from `start` to before `end`, in a private temporary folder, deleted afterwards.

        8x8 prepares them in an export job, which may take minutes. There are no files if there were no calls.

        Raises:
            ExportFailedError, ExportCancelledError, ExportServerError: 8x8 reports this status of the job.
            ExportExpiredError: the files expired before their download, twice.
            ExportError: the job did not end within lookups.export_deadline_s, or its response cannot be used.
            AccessDeniedError, UnavailableError, StoreError: as everywhere.
        """
        with self._export().files(start, end) as files:
            yield files

    def begin_day(self) -> None:
        """Wait less for an API that did not respond on the day before; see `Transport.begin_day`."""
        self._transport.begin_day()

    def check(self) -> str | None:
        """Return `None` if the API key is accepted, else why that is uncertain. Raises AccessDeniedError, UnavailableError."""
        place = f"account {self._account.subaccount_id}: {self._account.api_url}"
        request = Request(method="GET", url=f"{self._url}/recording-push-config", attempts=2)
        try:
            response = self._transport.send(request, deadline=self._transport.deadline(self._lookups.deadline_s))
        except (NoResponseError, AnswerError) as err:
            where = f"account {self._account.subaccount_id}" if "://" in str(err) else place
            raise UnavailableError(f"{where}: {err}") from err
        if response.status == 404:  # no push configuration is set, which 8x8 reports only to an accepted key
            proof = read_404(response.body)
            return f"{self._account.api_url}: {proof.reason}" if isinstance(proof, Unknown) else None
        if response.status != 200:
            raise UnavailableError(f"{place} returned HTTP {response.status}; check accounts.api_url")
        if not_json(response.body) is not None:
            what = "HTTP 200 with a body that is not JSON, unlike 8x8"
            raise UnavailableError(f"{place} returned {what}; check accounts.api_url")
        return None

    def check_log_export(self) -> str | None:
        """Return why it is uncertain whether logs can be exported, else `None`. Raises like `LogExport.check`."""
        return self._export().check()

    def _export(self) -> LogExport:
        return LogExport(self._transport, self._account, self._lookups, url=self._url, clock=self._clock)

    @property
    def setup(self) -> AccountSetup:
        """Return the client of the account's configuration at 8x8."""
        return AccountSetup(self._transport, self._account, self._lookups, url=self._url)

    def close(self) -> None:
        """Close all connections. May be called twice."""
        self._transport.close()

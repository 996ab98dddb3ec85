"""The client of 8x8's Voice (Number Masking) API: recordings of a session, the call log of a span, a check of the key.

How requests travel is in `transport`, what answers mean in `answers`, the export job in `log_export`.
"""

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
from callarchive.voice_api.lookups import LIMIT_BYTES, read_lookup, too_much
from callarchive.voice_api.transport import NoAnswerError, Request, Transport

logger = logging.getLogger(__name__)


class VoiceClient:
    """8x8's API in the name of one account. Thread-safe. Its repr shows the account and nothing else.

    Args:
        clock: the present, aware.
        sleep: lets time pass; a test may inject one that does not.
    """

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
        # Every character that 8x8 allows in the id is safe in a path but `&`, which becomes %26.
        self._url = f"{account.api_url}/api/v1/subaccounts/{quote(account.subaccount_id, safe='')}"

    def __repr__(self) -> str:
        return f"VoiceClient(account={self._account.subaccount_id!r})"

    def look_up(self, session_id: str) -> Lookup:
        """What 8x8 knows of a session's recordings. One session's trouble is a Lookup with status `error`.

        Raises:
            AccessDeniedError: the API key is refused; every further call raises it at once, without a request.
            ConfigurationError: the API key is not set.
        """
        http_status: int | None = None
        unreachable = False
        try:
            asked = parse_id(session_id, kind="session id")
            request = Request(
                method="GET",
                url=f"{self._url}/recordings/{asked}",
                limit_bytes=LIMIT_BYTES,
                unusable=lambda body: None if too_much(body) else not_json(body),
            )
            answer = self._transport.send(request, deadline=self._transport.deadline(self._lookups.deadline_s))
        except NoAnswerError as err:
            http_status, unreachable, error = err.http_status, err.http_status is None, str(err)
        except (AnswerError, InvalidIdError) as err:
            error = str(err)
        else:
            return read_lookup(
                session_id=asked,
                http_status=answer.status,
                body=answer.body,
                looked_up_at=self._clock(),
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
        """The CSV files of the calls from `start` to before `end`, in a private temporary folder, gone afterwards.

        8x8 prepares them in an export job, which may take minutes. No calls: no files.

        Raises:
            ExportFailedError, ExportCancelledError, ExportServerError: 8x8 says so of the job.
            ExportExpiredError: the files could not be downloaded any more, twice.
            ExportError: the job did not end within lookups.export_deadline_s, or its answer cannot be used.
            AccessDeniedError, UnavailableError, StoreError: as everywhere.
        """
        export = LogExport(self._transport, self._account, self._lookups, url=self._url, clock=self._clock)
        with export.files(start, end) as files:
            yield files

    def check(self) -> str | None:
        """Null when the API key is accepted for this subaccount, else why that is doubtful. Costs one small request.

        Raises:
            AccessDeniedError: it is not.
            UnavailableError: the API does not answer as it should.
        """
        deadline = self._transport.deadline(self._lookups.deadline_s)
        try:
            answer = self._transport.send(
                Request(method="GET", url=f"{self._url}/recording-push-config", attempts=2), deadline=deadline
            )
        except (NoAnswerError, AnswerError) as err:
            raise UnavailableError(f"account {self._account.subaccount_id}: {self._account.api_url}: {err}") from err
        # 404: no push configuration is set, which 8x8 says to an accepted key only.
        if answer.status not in (200, 404):
            raise UnavailableError(
                f"account {self._account.subaccount_id}: {self._account.api_url} answers HTTP {answer.status};"
                " check accounts.api_url"
            )
        if answer.status == 404:
            proof = read_404(answer.body)
            return f"{self._account.api_url}: {proof.reason}" if isinstance(proof, Unknown) else None
        if not_json(answer.body) is not None:
            what = f"{self._account.api_url} answers HTTP 200 with something that is not JSON, as 8x8 would not"
            raise UnavailableError(f"account {self._account.subaccount_id}: {what}; check accounts.api_url")
        return None

    def check_log_export(self) -> str | None:
        """Return why it is doubtful that logs can be exported, else `None`. Starts no job; costs one small request.

        Raises as `LogExport.check`.
        """
        return LogExport(self._transport, self._account, self._lookups, url=self._url, clock=self._clock).check()

    @property
    def setup(self) -> AccountSetup:
        """What 8x8 has been told about the account."""
        return AccountSetup(self._transport, self._account, self._lookups, url=self._url)

    def close(self) -> None:
        """Connections are closed. May be called twice."""
        self._transport.close()

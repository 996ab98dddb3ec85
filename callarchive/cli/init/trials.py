"""What `callarchive init` contacts to check an answer: 8x8 with the API key, and the landing with its credentials."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from callarchive.domain.days import utc_now
from callarchive.domain.errors import AccessDeniedError, ArchiveError
from callarchive.domain.evidence import Absent
from callarchive.settings import AccountSettings, LookupSettings, TransferSettings
from callarchive.storage.landing.deadlines import ended_by

_TIMEOUT_S = 10.0
_DEADLINE_S = 20.0
_SHOWN = 5


@dataclass(frozen=True)
class Problem:
    """Why a check did not succeed. `is_refused`: the server responded, and rejects the credentials."""

    text: str
    is_refused: bool = False


def try_key(account: AccountSettings) -> Problem | None:
    """Send 8x8 one request that changes nothing. Return None if it accepts the account's API key."""
    from callarchive.voice_api.client import VoiceClient

    limits = LookupSettings(concurrency=1, timeout_s=_TIMEOUT_S, deadline_s=_DEADLINE_S)
    client = VoiceClient(account, limits, clock=utc_now)
    try:
        doubt = client.check()
    except ArchiveError as err:
        return Problem(str(err), isinstance(err, AccessDeniedError))
    finally:
        client.close()
    return None if doubt is None else Problem(doubt)


def try_landing(account: AccountSettings, pin: str | None) -> Problem | None:
    """List the landing. Return None if it can be listed and has an object. `pin` is the host key to pin, if any."""
    try:
        return ended_by(time.monotonic() + _DEADLINE_S, lambda: _listed(account, pin), name="init")
    except TimeoutError:
        return Problem(f"{account.landing} could not be listed within {_DEADLINE_S:g} s")
    except ArchiveError as err:
        return Problem(str(err), isinstance(err, AccessDeniedError))


def _listed(account: AccountSettings, pin: str | None) -> Problem | None:
    from callarchive.archiving.landings import open_landing

    limits = TransferSettings(concurrency=1, stall_timeout_s=_TIMEOUT_S, deadline_s=_DEADLINE_S)
    with tempfile.TemporaryDirectory() as folder:
        if account.sftp is not None and pin is not None:  # not in known_hosts yet, which is written at the end
            known_hosts = Path(folder, "known_hosts")
            known_hosts.write_text(pin, encoding="utf-8")
            sftp = account.sftp.model_copy(update={"known_hosts": known_hosts})
            account = account.model_copy(update={"sftp": sftp})
        landing = open_landing(account, limits)
        try:
            landing.check()
            if not isinstance(landing.sample(), Absent):
                return None
        finally:
            landing.close()
    text = f"{landing.uri} can be listed and is empty"
    if (there := _folders_above(account, limits)) is not None:
        text += f"; {there}"
    return Problem(text)


def _folders_above(account: AccountSettings, limits: TransferSettings) -> str | None:
    """Return which folders are in the nearest place above an empty prefix of a bucket that has any; None if none has."""
    if account.sftp is not None:
        return None
    from callarchive.storage.landing.s3.landing import S3Landing

    above = account.landing.rstrip("/")
    while above.count("/") > 2:  # of s3://bucket
        above = above.rpartition("/")[0]
        landing = S3Landing(account.model_copy(update={"landing": above}), limits, concurrency=1)
        try:
            folders = landing.folders()
        finally:
            landing.close()
        if folders:
            more = f", and {len(folders) - _SHOWN} more" if len(folders) > _SHOWN else ""
            return f"{above}/ has {', '.join(f'{name}/' for name in folders[:_SHOWN])}{more}"
    return None

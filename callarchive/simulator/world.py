"""The data of the simulated telephone network: accounts, sessions with their call legs, recordings.

Worlds are generated in `generation`. The API's view of them is in `responses` and `exports`, their files are in `landings`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal
from zoneinfo import ZoneInfo

from callarchive.domain.days import day_of


class FileState(StrEnum):
    """The file of a recording in the landing. All but the first two are faults of `audio.break_recording`."""

    WHOLE = "whole"
    ABSENT = "absent"
    CUT_HALF = "cut_half"
    CUT_MID_FRAME = "cut_mid_frame"
    ZERO_TAIL = "zero_tail"
    HOLE = "hole"
    HTML = "html"
    EMPTY = "empty"


class Answer(StrEnum):
    """The API's response for a session. 8x8 does not document the one for a session without recordings."""

    RECORDINGS = "recordings"
    EMPTY_LIST = "empty_list"
    NULL_LIST = "null_list"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class AccountPlan:
    """An 8x8 subaccount and its landing.

    Attributes:
        root: S3: bucket and prefix, `bucket/prefix`. SFTP: a folder below the server's root.
        layout: `flat` is `{session}/{file}`, `dated` is `{YYYY-MM-DD}/{session}/{file}`, `mixed` is both.
        export_offsets: whether time stamps in the CSV end in `Z` or have no offset.
        listed_share: the share of sessions that are also in the account's own session files, from 0 to 1.
    """

    subaccount_id: str
    landing: Literal["s3", "sftp"]
    root: str
    layout: Literal["flat", "dated", "mixed"] = "mixed"
    export_offsets: bool = True
    listed_share: float = 0.0

    @property
    def bucket(self) -> str:
        """The S3 bucket."""
        return self.root.partition("/")[0]

    @property
    def prefix(self) -> str:
        """The prefix of S3 keys, without slashes at its ends."""
        return self.root.partition("/")[2].strip("/")

    @property
    def external_base(self) -> str:
        """The start of `externalFileUrl`, without a trailing slash: a host that does not exist, or a bucket and prefix."""
        if self.landing == "s3":
            return f"https://{self.bucket}.s3.ap-southeast-1.amazonaws.com/{self.prefix}".rstrip("/")
        return "https://recordings.example"


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A number from a range that is reserved for fiction and not in use."""

    digits: str
    country_code: str


@dataclass(frozen=True, slots=True)
class Leg:
    """One call of a session: leg A to the masking number, or leg B from there."""

    call_id: str
    direction: Literal["inbound", "outbound"]
    source: PhoneNumber = field(repr=False)
    destination: PhoneNumber = field(repr=False)
    initiated_at: datetime
    connected_at: datetime | None
    disconnected_at: datetime
    duration_s: int
    status: str
    mos: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording, with its API fields and its file in the landing.

    Attributes:
        status: in the API from `ready_at` on; before, it is PROCESSING.
        file: at `path` from `ready_at` on; before, there is no file.
        path: below the account's landing root, raw colons, with or without a date folder.
        external_file_url: percent-encoded colons, never a date folder; `None` if 8x8 has none.
        reported_started_at: `startRecordingTime`; `None` is the unset value, -1 ms.
        reported_duration_s: `duration`; `None` omits the field.
        session_key: the spelling of `sessionId` in the response.
        ready_at: `None` is always.
    """

    subaccount_id: str
    session_id: str
    recording_id: str
    started_at: datetime
    duration_s: float
    status: str
    file: FileState
    path: str
    external_file_url: str | None
    shape: str
    audio_seed: int
    reported_started_at: datetime | None = None
    reported_duration_s: int | None = None
    session_key: Literal["sessionId", "sessionid"] = "sessionId"
    ready_at: datetime | None = None

    def ready(self, at: datetime) -> bool:
        """Return whether 8x8 has processed it."""
        return self.ready_at is None or self.ready_at <= at

    def has_file(self, at: datetime) -> bool:
        """Return whether it has a file in the landing."""
        return self.file is not FileState.ABSENT and self.ready(at)


@dataclass(frozen=True, slots=True)
class Session:
    """A Number Masking session.

    Attributes:
        answer: the API's response for its recordings.
        exported: whether it is in the log export.
        listed: whether it is in the account's own session files.
    """

    subaccount_id: str
    session_id: str
    started_at: datetime
    ended_at: datetime
    status: str
    legs: tuple[Leg, ...]
    recordings: tuple[Recording, ...] = ()
    answer: Answer = Answer.RECORDINGS
    exported: bool = True
    listed: bool = False


@dataclass(frozen=True)
class World:
    """All accounts and sessions, ordered by account and time."""

    accounts: tuple[AccountPlan, ...]
    sessions: tuple[Session, ...]
    timezone: str = "UTC"

    def altered(self, recording: Recording, **changes: Any) -> "World":
        """Return the world with one recording changed: `world.altered(recording, file=FileState.ABSENT)`."""
        sessions = (
            replace(s, recordings=tuple(replace(r, **changes) if r is recording else r for r in s.recordings))
            for s in self.sessions
        )
        return replace(self, sessions=tuple(sessions))

    def account(self, subaccount_id: str) -> AccountPlan:
        """Return the account with this id. Raise KeyError if there is none."""
        return {account.subaccount_id: account for account in self.accounts}[subaccount_id]

    def sessions_of(self, subaccount_id: str) -> tuple[Session, ...]:
        """Return the account's sessions, oldest first."""
        return tuple(session for session in self.sessions if session.subaccount_id == subaccount_id)

    def sessions_on(self, day: date, *, subaccount_id: str | None = None) -> tuple[Session, ...]:
        """Return the sessions whose first leg was initiated on that day, of one account or of all."""
        zone = ZoneInfo(self.timezone)
        return tuple(
            session
            for session in self.sessions
            if subaccount_id in (None, session.subaccount_id) and day_of(session.started_at, zone) == day
        )

    def session(self, session_id: str) -> Session:
        """Return the session with this id, in any case. Raise KeyError if there is none."""
        return self._by_id[session_id.lower()]

    @property
    def recordings(self) -> Iterator[Recording]:
        """All recordings, including those of sessions for which the API returns 404."""
        return (recording for session in self.sessions for recording in session.recordings)

    @cached_property
    def _by_id(self) -> dict[str, Session]:
        return {session.session_id: session for session in self.sessions}

"""What happened in the simulated telephone network: accounts, sessions with their call legs, recordings. Pure data.

How a world is made up is in `generation`, how 8x8 would tell of it in `answers` and `exports`, where its files lie in
`landings`. A test may build a world by hand: everything here is a frozen dataclass.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal
from zoneinfo import ZoneInfo

from callarchive.domain.days import day_of


class FileState(StrEnum):
    """What lies in the landing for a recording. All but the first two name a way of `audio.break_recording`."""

    WHOLE = "whole"
    ABSENT = "absent"
    CUT_HALF = "cut_half"
    CUT_MID_FRAME = "cut_mid_frame"
    ZERO_TAIL = "zero_tail"
    HOLE = "hole"
    WRONG_XING_COUNT = "wrong_xing_count"
    FREE_FORMAT = "free_format"
    HTML = "html"
    JSON = "json"
    RANDOM = "random"
    EMPTY = "empty"


class Answer(StrEnum):
    """How the API answers for a session: 8x8 does not document what one without recordings gets."""

    RECORDINGS = "recordings"
    EMPTY_LIST = "empty_list"
    NULL_LIST = "null_list"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class AccountPlan:
    """An 8x8 subaccount and where 8x8 pushes its recordings.

    Attributes:
        root: S3: bucket and prefix, `bucket/prefix`. SFTP: a folder below the server's root.
        url_base: what `externalFileUrl` begins with; empty means a host that belongs to nobody, and for S3 the prefix.
        layout: `flat` is `{session}/{file}`, `dated` is `{YYYY-MM-DD}/{session}/{file}`, `mixed` is some of each.
        export_offsets: whether time stamps in the CSV end in `Z`, or carry no offset at all.
        listed_share: how many of the sessions also stand in the account's own session files, from 0 to 1.
        session_files: where those lie below the simulator's directory; `{day}` is YYYY-MM-DD.
    """

    subaccount_id: str
    landing: Literal["s3", "sftp"]
    root: str
    url_base: str = ""
    layout: Literal["flat", "dated", "mixed"] = "mixed"
    export_offsets: bool = True
    listed_share: float = 0.0
    session_files: str = "inbox/sessions-{day}.csv"

    @property
    def bucket(self) -> str:
        """The S3 bucket."""
        return self.root.partition("/")[0]

    @property
    def prefix(self) -> str:
        """The part of `root` that keys begin with on S3, without slashes at its ends."""
        return self.root.partition("/")[2].strip("/")

    @property
    def external_base(self) -> str:
        """What `externalFileUrl` begins with, without a slash at the end."""
        if self.url_base:
            return self.url_base.rstrip("/")
        if self.landing == "s3":
            return f"https://{self.bucket}.s3.ap-southeast-1.amazonaws.com/{self.prefix}".rstrip("/")
        return "https://recordings.example"


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A number from a range that its country keeps for films and books: it rings nowhere."""

    digits: str
    country_code: str
    country: str
    operator: str
    mcc: str
    mnc: str


@dataclass(frozen=True, slots=True)
class Leg:
    """One call of a session: A reaches the masking number, B goes on from there."""

    call_id: str
    direction: Literal["inbound", "outbound"]
    source: PhoneNumber = field(repr=False)
    destination: PhoneNumber = field(repr=False)
    initiated_at: datetime
    connected_at: datetime | None
    disconnected_at: datetime
    duration_s: int
    status: str
    sip_status: int
    unit_price: Decimal
    total_price: Decimal
    mos: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording, what the API says of it, and what lies in the landing.

    Attributes:
        status: what the API says from `ready_at` on; before that it says PROCESSING.
        file: what lies at `path` from `ready_at` on; before that nothing does.
        path: below the account's landing root, raw colons, with or without a date folder.
        external_file_url: percent-encoded colons, never a date folder; null while 8x8 has none.
        reported_started_at: `startRecordingTime`; null stands for the unset value, -1 ms.
        reported_duration_s: `duration`; null leaves the field out.
        session_key: how the answer spells `sessionId`.
        ready_at: null means always.
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
        """Whether 8x8 is done with it."""
        return self.ready_at is None or self.ready_at <= at

    def has_file(self, at: datetime) -> bool:
        """Whether anything lies in the landing for it."""
        return self.file is not FileState.ABSENT and self.ready(at)


@dataclass(frozen=True, slots=True)
class Session:
    """A Number Masking session.

    Attributes:
        answer: what the API says when asked for its recordings.
        exported: whether the log export tells of it.
        listed: whether the account's own session files tell of it.
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
    """Everything that happened, ordered by account and then by time."""

    accounts: tuple[AccountPlan, ...]
    sessions: tuple[Session, ...]
    timezone: str = "UTC"

    def altered(self, recording: Recording, **changes: Any) -> "World":
        """The world in which that one recording is otherwise: `world.altered(one, file=FileState.ABSENT)`."""
        sessions = (
            replace(s, recordings=tuple(replace(r, **changes) if r is recording else r for r in s.recordings))
            for s in self.sessions
        )
        return replace(self, sessions=tuple(sessions))

    @classmethod
    def generate(
        cls,
        *,
        seed: int,
        accounts: Sequence[AccountPlan],
        first_day: date,
        last_day: date,
        sessions_per_day: int,
        timezone: str = "UTC",
    ) -> "World":
        """A world that is the same for the same arguments, and whose days stay as they are when later ones are added.

        Args:
            seed: any whole number.
            accounts: each gets its own sessions.
            first_day, last_day: both included, cut in `timezone`.
            sessions_per_day: of each account.
            timezone: an IANA name; the call centre's hours follow it too.
        """
        from callarchive.simulator.generation import generate_sessions

        sessions = (
            session
            for account in accounts
            for session in generate_sessions(
                account,
                seed=seed,
                first_day=first_day,
                last_day=last_day,
                sessions_per_day=sessions_per_day,
                timezone=ZoneInfo(timezone),
            )
        )
        return cls(accounts=tuple(accounts), sessions=tuple(sessions), timezone=timezone)

    def account(self, subaccount_id: str) -> AccountPlan:
        """The account of that id. Raises KeyError when there is none."""
        return {account.subaccount_id: account for account in self.accounts}[subaccount_id]

    def sessions_of(self, subaccount_id: str) -> tuple[Session, ...]:
        """The account's sessions, oldest first."""
        return tuple(session for session in self.sessions if session.subaccount_id == subaccount_id)

    def sessions_on(self, day: date, *, subaccount_id: str | None = None) -> tuple[Session, ...]:
        """Sessions whose first leg was initiated on that day, of one account or of all."""
        zone = ZoneInfo(self.timezone)
        return tuple(
            session
            for session in self.sessions
            if subaccount_id in (None, session.subaccount_id) and day_of(session.started_at, zone) == day
        )

    def session(self, session_id: str) -> Session:
        """The session of that id, of either case. Raises KeyError when there is none."""
        return self._by_id[session_id.lower()]

    @property
    def recordings(self) -> Iterator[Recording]:
        """Every recording that exists, also those of sessions for which the API answers 404."""
        return (recording for session in self.sessions for recording in session.recordings)

    @cached_property
    def _by_id(self) -> dict[str, Session]:
        return {session.session_id: session for session in self.sessions}

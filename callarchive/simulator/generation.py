"""Generation of a world from a seed: when people call, how calls end, and the outcome of each recording.

Shares are dealt from decks of a hundred cards, so that a week of a few hundred sessions has every outcome, whatever the seed.
"""

import math
import random
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import timezone as fixed_offset
from decimal import Decimal
from typing import Generic, Literal, TypeVar
from urllib.parse import quote
from zoneinfo import ZoneInfo

from callarchive.domain.days import day_bounds, days_between
from callarchive.simulator.audio import SHAPES
from callarchive.simulator.clock import iso_ms
from callarchive.simulator.world import AccountPlan, Answer, FileState, Leg, PhoneNumber, Recording, Session, World

_Card = TypeVar("_Card")
_GREGORIAN = datetime(1582, 10, 15, tzinfo=UTC)
_SINGAPORE = fixed_offset(timedelta(hours=8))

MAX_DURATION_S = 480.0
"""Longer recordings would only make the demo's files larger."""

_HOURLY = (1, 1, 1, 1, 1, 2, 4, 8, 16, 24, 26, 24, 20, 22, 24, 22, 20, 22, 26, 24, 16, 10, 5, 2)
"""Relative number of calls by hour of the local day: peaks before noon and in the evening."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a recording: its status in the API, its file, and how long after the call both are ready."""

    status: str
    file: FileState
    ready_after: timedelta | None = None


OUTCOMES: Mapping[Outcome, int] = {
    Outcome("CALLBACK_COMPLETED", FileState.WHOLE): 58,
    Outcome("UPLOAD_COMPLETED", FileState.WHOLE): 24,
    Outcome("CALLBACK_FAILED", FileState.WHOLE): 2,
    Outcome("completed", FileState.WHOLE): 1,  # spelled like an example in 8x8's OpenAPI file
    Outcome("UPLOAD_COMPLETED", FileState.ABSENT): 2,
    Outcome("PROCESSING", FileState.ABSENT): 1,
    Outcome("UPLOAD_COMPLETED", FileState.WHOLE, timedelta(hours=30)): 1,
    Outcome("PROCESSING_FAILED", FileState.ABSENT): 2,
    Outcome("UPLOAD_FAILED", FileState.ABSENT): 2,
    Outcome("UNKNOWN", FileState.ABSENT): 1,
    Outcome("CALLBACK_COMPLETED", FileState.CUT_HALF): 1,
    Outcome("UPLOAD_COMPLETED", FileState.CUT_MID_FRAME): 1,
    Outcome("CALLBACK_COMPLETED", FileState.ZERO_TAIL): 1,
    Outcome("CALLBACK_COMPLETED", FileState.HOLE): 1,
    Outcome("UPLOAD_COMPLETED", FileState.HTML): 1,
    Outcome("CALLBACK_COMPLETED", FileState.EMPTY): 1,
}

_STATUSES = {"COMPLETED": 78, "NO_ANSWER": 11, "BUSY": 5, "CANCELED": 3, "FAILED": 2, "ERROR": 1}
_RECORDING_COUNTS = {1: 88, 2: 5, 0: 7}  # none: callRecording was off for that call
_ANSWERS_WITHOUT_RECORDINGS = {Answer.EMPTY_LIST: 70, Answer.NULL_LIST: 20, Answer.NOT_FOUND: 10}

_RANGES = (
    # Reserved for fiction by regulators: NANPA 555-01xx, Ofcom 07700 900xxx, ARCEP 06 39 98 xx xx, ComReg 020 91x xxxx.
    ("120255501", 2, "1"),
    ("447700900", 3, "44"),
    ("3363998", 4, "33"),
    ("3532091", 5, "353"),
)


class _Deck(Generic[_Card]):
    """A deck of shuffled cards, reshuffled when empty."""

    def __init__(self, shares: Mapping[_Card, int], rng: random.Random) -> None:
        self._all = [card for card, share in shares.items() for _ in range(share)]
        self._rng = rng
        self._left: list[_Card] = []

    def deal(self) -> _Card:
        if not self._left:
            self._left = self._rng.sample(self._all, len(self._all))
        return self._left.pop()


def generate_world(
    *,
    seed: int,
    accounts: Sequence[AccountPlan],
    first_day: date,
    last_day: date,
    sessions_per_day: int,
    timezone: str = "UTC",
) -> World:
    """Return the world of these arguments. Adding accounts or days does not change the others.

    Each account has its own sessions. The days, both inclusive, and the call centre's hours are those of the time zone.
    """
    sessions = []
    for account in accounts:
        maker = _Maker(account, random.Random(f"{seed}/{account.subaccount_id}"))
        for day in days_between(first_day, last_day):
            starts = _starts(*day_bounds(day, ZoneInfo(timezone)), sessions_per_day, maker.rng)
            sessions += [maker.session(started_at) for started_at in starts]
    return World(accounts=tuple(accounts), sessions=tuple(sessions), timezone=timezone)


def uuid_at(at: datetime, rng: random.Random) -> str:
    """Return a version-1 UUID of that time, with a random node."""
    ticks = int((at - _GREGORIAN) / timedelta(microseconds=1)) * 10 + rng.randrange(10)
    node = rng.getrandbits(48) | 0x010000000000  # the multicast bit marks it as not the address of a network card
    clock = rng.getrandbits(14)
    parts = (ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF | 0x1000, clock >> 8 | 0x80, clock & 0xFF)
    return str(uuid.UUID(fields=(*parts, node)))


def file_name(recording_id: str, started_at: datetime) -> str:
    """Return 8x8's file name, `{recording id}_{start}.mp3`, with milliseconds and raw colons."""
    return f"{recording_id}_{iso_ms(started_at)}.mp3"


def _starts(begin: datetime, end: datetime, count: int, rng: random.Random) -> list[datetime]:
    """Return the starts of a day's sessions. On a busy day, leg B of the last one starts on the next day."""
    length = end - begin
    starts = []
    for _ in range(count):
        hour = rng.choices(range(24), weights=_HOURLY)[0]
        starts.append(begin + length * ((hour + rng.random()) / 24.001))
    starts.sort()
    if count >= 10:
        starts[-1] = end - timedelta(seconds=rng.uniform(0.5, 1.5))
    return [_cut_to_ms(at) for at in starts]


def _cut_to_ms(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


class _Maker:
    """Generator of one account's sessions."""

    def __init__(self, account: AccountPlan, rng: random.Random) -> None:
        self.rng = rng
        self._account = account
        self._statuses = _Deck(_STATUSES, rng)
        self._counts = _Deck(_RECORDING_COUNTS, rng)
        self._answers = _Deck(_ANSWERS_WITHOUT_RECORDINGS, rng)
        self._outcomes = _Deck(OUTCOMES, rng)
        listed = round(account.listed_share * 100)
        self._listed = _Deck({True: listed, False: 100 - listed}, rng)
        # One in twenty of the listed sessions is not in the export, so only the union of both is complete.
        self._exported = _Deck({True: 95, False: 5}, rng)
        self._masks = [self._number() for _ in range(3)]

    def session(self, started_at: datetime) -> Session:
        """Return a session that starts at this time."""
        rng = self.rng
        status = self._statuses.deal()
        session_id = uuid_at(started_at + timedelta(milliseconds=rng.randrange(-400, 400)), rng)
        legs = self._legs(started_at, status)
        ended_at = max(leg.disconnected_at for leg in legs)
        recordings: tuple[Recording, ...] = ()
        if status == "COMPLETED":
            recordings = tuple(self._recordings(session_id, legs[-1], self._counts.deal()))
        listed = self._listed.deal()
        return Session(
            subaccount_id=self._account.subaccount_id,
            session_id=session_id,
            started_at=started_at,
            ended_at=ended_at,
            status=status,
            legs=legs,
            recordings=recordings,
            answer=Answer.RECORDINGS if recordings else self._answer_without_recordings(status),
            exported=self._exported.deal() if listed else True,
            listed=listed,
        )

    def _answer_without_recordings(self, status: str) -> Answer:
        """Return the response for a session without recordings. Only sessions that were not connected may be unknown."""
        answer = self._answers.deal()
        return Answer.NULL_LIST if answer is Answer.NOT_FOUND and status == "COMPLETED" else answer

    def _legs(self, started_at: datetime, status: str) -> tuple[Leg, ...]:
        rng = self.rng
        talk_s = min(MAX_DURATION_S, max(3.0, rng.lognormvariate(math.log(60), 0.8))) if status == "COMPLETED" else 0.0
        caller, mask, callee = self._number(), rng.choice(self._masks), self._number()
        b_initiated_at = _cut_to_ms(started_at + timedelta(seconds=rng.uniform(1.6, 3.0)))
        b_answered_at = _cut_to_ms(b_initiated_at + timedelta(seconds=rng.uniform(2, 25)))
        ended_at = _cut_to_ms(b_answered_at + timedelta(seconds=talk_s))
        leg_status = "FAILED" if status == "ERROR" else status
        a_connected_at = started_at + timedelta(milliseconds=700) if status == "COMPLETED" else None
        leg_a = self._leg("inbound", (caller, mask), (started_at, a_connected_at, ended_at), leg_status)
        if status in ("CANCELED", "ERROR"):
            return (leg_a,)
        b_connected_at = b_answered_at if status == "COMPLETED" else None
        return leg_a, self._leg("outbound", (mask, callee), (b_initiated_at, b_connected_at, ended_at), leg_status)

    def _leg(
        self,
        direction: Literal["inbound", "outbound"],
        numbers: tuple[PhoneNumber, PhoneNumber],
        times: tuple[datetime, datetime | None, datetime],
        status: str,
    ) -> Leg:
        initiated_at, connected_at, disconnected_at = times
        duration_s = math.ceil((disconnected_at - connected_at).total_seconds()) if connected_at else 0
        return Leg(
            uuid_at(initiated_at, self.rng),
            direction,
            *numbers,
            initiated_at,
            connected_at,
            disconnected_at,
            duration_s=duration_s,
            status=status,
            mos=Decimal(self.rng.randrange(350, 450)) / 100 if connected_at else None,
        )

    def _recordings(self, session_id: str, leg: Leg, count: int) -> Iterator[Recording]:
        """Yield the recordings of a call: the whole of it, or two parts with a pause between them."""
        if leg.connected_at is None or count == 0:
            return
        talk_s = (leg.disconnected_at - leg.connected_at).total_seconds()
        piece_s = talk_s / count
        for number in range(count):
            begin_s = number * piece_s + self.rng.uniform(0.1, 0.6)
            length_s = max(1.5, piece_s - self.rng.uniform(0.6, 1.2))
            yield self._recording(session_id, leg.connected_at + timedelta(seconds=begin_s), round(length_s, 2))

    def _recording(self, session_id: str, started_at: datetime, duration_s: float) -> Recording:
        rng = self.rng
        started_at = _cut_to_ms(started_at)
        outcome = self._outcomes.deal()
        recording_id = uuid_at(started_at + timedelta(milliseconds=rng.randrange(-300, 300)), rng)
        name = file_name(recording_id, started_at)
        dated = self._account.layout == "dated" or (self._account.layout == "mixed" and rng.random() < 0.4)
        # The sample in 8x8's documentation is in the folder of the day in Singapore, not of the UTC day in its name.
        folder = f"{started_at.astimezone(_SINGAPORE).date()}/" if dated else ""
        pushed = outcome.status not in ("PROCESSING", "PROCESSING_FAILED")
        url = f"{self._account.external_base}/{session_id}/{quote(name, safe='')}"
        reported = rng.random()
        wrong_s = 20 if reported < 0.02 else 0
        return Recording(
            subaccount_id=self._account.subaccount_id,
            session_id=session_id,
            recording_id=recording_id,
            started_at=started_at,
            duration_s=duration_s,
            status=outcome.status,
            file=outcome.file,
            path=f"{folder}{session_id}/{name}",
            external_file_url=url if pushed else None,
            shape=rng.choice(sorted(SHAPES)),
            audio_seed=rng.getrandbits(31),
            reported_started_at=started_at if rng.random() < 0.25 else None,
            reported_duration_s=round(duration_s) + wrong_s if reported < 0.5 else None,
            session_key="sessionid" if rng.random() < 0.3 else "sessionId",
            ready_at=None if outcome.ready_after is None else started_at + outcome.ready_after,
        )

    def _number(self) -> PhoneNumber:
        start, free_digits, country_code = self.rng.choice(_RANGES)
        return PhoneNumber(f"{start}{self.rng.randrange(10**free_digits):0{free_digits}d}", country_code)

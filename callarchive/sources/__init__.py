"""Session sources: who tells us which sessions a day had. 8x8's API has no list call, so each account names some.

Here are the protocol and the union of what several sources say. `opening` makes an account's sources from its settings.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Protocol, TypeVar

from callarchive.domain.errors import SourceError
from callarchive.domain.models import Findings, RowProblem, Session

PRECEDENCE = ("log_export", "inbox", "sql", "files")
"""Whose word on a call counts first. 8x8's billing knows more than an event, an event more than somebody's list."""

_Fact = TypeVar("_Fact")


class SessionSource(Protocol):
    """Something that names the sessions of a day. Asked again for the same day it may know more, never less."""

    kind: str

    def find(self, day: date) -> Findings:
        """The sessions of the day, ordered by id, and the rows that could not be used.

        Raises:
            SourceError: the day cannot be known: an unknown day is not an empty one.
            ExportError, AccessDeniedError, UnavailableError: 8x8 or a store would not tell.
        """


def unite(findings: Iterable[Findings]) -> Findings:
    """One `Session` per (subaccount_id, session_id) with all its sources, and all problems, ordered.

    A fact comes from the first source in `PRECEDENCE` that knows it, price and currency together; the start is the
    earliest and the end the latest that any source gives. The order of `findings` does not matter.
    """
    groups: defaultdict[tuple[str, str], list[Session]] = defaultdict(list)
    blocks: list[tuple[RowProblem, ...]] = []
    for found in findings:
        for session in found.sessions:
            groups[session.subaccount_id, session.session_id].append(session)
        if found.problems:
            blocks.append(found.problems)
    blocks.sort(key=lambda block: (_rank((block[0].source,)), [str(problem) for problem in block]))
    return Findings(
        sessions=tuple(_merge(groups[key]) for key in sorted(groups)),
        problems=tuple(problem for block in blocks for problem in block),
    )


def refuse_undated(found: Findings, subaccount_id: str, day: date) -> None:
    """Refuse events as the account's only source where not one of the day's sessions has a day.

    Beside another source, which may know them, they are merely set aside.

    Raises:
        SourceError: there are sessions, and nothing dates any.
    """
    if found.problems and not found.sessions:
        reasons = "; ".join(problem.reason for problem in found.problems[:3])
        raise SourceError(
            f"account {subaccount_id}: the inbox names no session of {day}, and events of {len(found.problems)} sessions came"
            f" on it that nothing dates ({reasons}): name their sessions in another source"
        )


def _merge(told: Sequence[Session]) -> Session:
    if len(told) == 1:
        return told[0]
    # The text breaks ties between two sources of a kind, so that their order in the configuration does not matter.
    told = sorted(told, key=lambda session: (_rank(session.sources), repr(session)))
    priced = next((session for session in told if session.price is not None), told[0])
    return Session(
        subaccount_id=told[0].subaccount_id,
        session_id=told[0].session_id,
        started_at=min((s.started_at for s in told if s.started_at is not None), default=None),
        ended_at=max((s.ended_at for s in told if s.ended_at is not None), default=None),
        session_status=_first(s.session_status for s in told),
        call_count=_first(s.call_count for s in told),
        call_duration_s=_first(s.call_duration_s for s in told),
        price=priced.price,
        price_currency=priced.price_currency,
        source_number=_first(s.source_number for s in told),
        destination_number=_first(s.destination_number for s in told),
        sources=tuple(sorted({kind for s in told for kind in s.sources})),
    )


def _rank(kinds: Sequence[str]) -> tuple[int, str]:
    """Lower is believed first. A kind that is not in `PRECEDENCE` comes after those that are, by name."""
    return min(
        ((PRECEDENCE.index(kind), "") if kind in PRECEDENCE else (len(PRECEDENCE), kind) for kind in kinds),
        default=(len(PRECEDENCE) + 1, ""),
    )


def _first(facts: Iterable[_Fact | None]) -> _Fact | None:
    return next((fact for fact in facts if fact is not None), None)

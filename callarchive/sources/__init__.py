"""Session sources name the sessions of a day, which 8x8's API cannot list. Here: their protocol and their union."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Protocol

from callarchive.domain.errors import SourceError
from callarchive.domain.models import Findings, RowProblem, Session

PRECEDENCE = ("log_export", "inbox", "sql", "files")
"""Which source's facts about a call win: 8x8's billing over an event, an event over a user's own list."""

_FROM_THE_FIRST = ("session_status", "call_count", "call_duration_s", "source_number", "destination_number")


class SessionSource(Protocol):
    """A source of the sessions of a day. A later search for the same day may find more, never less."""

    @property
    def kind(self) -> str:
        """The kind, as in the configuration."""

    def find(self, day: date) -> Findings:
        """Return the sessions of the day, ordered by id, and the rows that could not be used.

        Raises:
            SourceError: the day's sessions cannot be determined: an unknown day is not an empty one.
            ExportError, AccessDeniedError, UnavailableError: 8x8 or a store did not respond.
        """


def unite(findings: Iterable[Findings]) -> Findings:
    """Return one `Session` per (subaccount_id, session_id) with all its sources, and all problems, ordered.

    A fact comes from the first source in `PRECEDENCE` that has it, price and currency together; the start is the
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
    """Raise SourceError if events are the account's only source, and none of the day's sessions can be dated."""
    if found.problems and not found.sessions:
        reasons = "; ".join(problem.reason for problem in found.problems[:3])
        raise SourceError(
            f"account {subaccount_id}: the inbox has no session dated {day}, but received events of {len(found.problems)}"
            f" sessions without a date ({reasons}): list these sessions in another source"
        )


def _merge(sessions: Sequence[Session]) -> Session:
    if len(sessions) == 1:
        return sessions[0]
    # The text breaks ties between two sources of a kind, so that their order in the configuration does not matter.
    ranked = sorted(sessions, key=lambda session: (_rank(session.sources), repr(session)))
    priced = next((session for session in ranked if session.price is not None), ranked[0])

    def known(name: str) -> list[Any]:
        return [value for session in ranked if (value := getattr(session, name)) is not None]

    firsts: dict[str, Any] = {name: next(iter(known(name)), None) for name in _FROM_THE_FIRST}
    return replace(
        ranked[0],
        started_at=min(known("started_at"), default=None),
        ended_at=max(known("ended_at"), default=None),
        mos=min(known("mos"), default=None),
        price=priced.price,
        price_currency=priced.price_currency,
        sources=tuple(sorted({kind for session in ranked for kind in session.sources})),
        **firsts,
    )


def _rank(kinds: Sequence[str]) -> tuple[int, str]:
    """Return the precedence, lowest first. Kinds that are not in `PRECEDENCE` come last, by name."""
    return min(
        ((PRECEDENCE.index(kind), "") if kind in PRECEDENCE else (len(PRECEDENCE), kind) for kind in kinds),
        default=(len(PRECEDENCE) + 1, ""),
    )

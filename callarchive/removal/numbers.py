"""The sessions of a phone number, where the catalog keeps numbers or their hashes. The number is never written anywhere."""

import csv
import re
from collections.abc import Callable, Iterator
from typing import Any

from callarchive.archiving.connections import Connections
from callarchive.archiving.responses.call_log_rows import names_a_number, plain_name
from callarchive.archiving.responses.journal import LOOKUPS
from callarchive.archiving.responses.store import CALL_LOGS
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import pc
from callarchive.domain.days import day_of, spans_of
from callarchive.domain.errors import ConfigurationError, RefusedError
from callarchive.domain.identifiers import plain_id
from callarchive.domain.payloads import UnreadableError, parse_json
from callarchive.domain.phone_numbers import HASH_PREFIX, numbers_in, phone_number_mask
from callarchive.events.inbox.inbox import Inbox
from callarchive.removal.search import Place, days_in, rows_by_day
from callarchive.settings import AccountSettings

_NUMBERS = ("source_number", "destination_number")
_FEWEST_DIGITS = 5
_INTERNATIONAL = "00"


class DroppedNumbersError(RefusedError):
    """Accounts that drop phone numbers cannot be searched for one."""


def places_of_number(connections: Connections, number: str, *, account: str | None = None) -> set[Place]:
    """Return the sessions with this number in tables of all days, stored responses and events.

    Args:
        account: search only this account.

    Raises ConfigurationError if the text is no number or the account is not in the configuration; DroppedNumbersError.
    """
    digits = re.sub(r"\D", "", number)
    if len(digits) < _FEWEST_DIGITS or re.search(r"[^\d\s+\-().\u2010-\u2015]", number):
        raise ConfigurationError("--number is not a phone number: write its digits, such as +6561234567")
    accounts = [one for one in connections.settings.accounts if account in (None, one.subaccount_id)]
    if not accounts:
        raise ConfigurationError(f"--account: the configuration has no account {account}")
    if dropped := [one.subaccount_id for one in accounts if one.phone_numbers == "drop"]:
        others = [one.subaccount_id for one in accounts if one.phone_numbers != "drop"]
        search = f"add --account {others[0]} to search {'it' if len(others) == 1 else 'another'}, or " if others else ""
        raise DroppedNumbersError(
            f"{', '.join(dropped)}: phone numbers are dropped, so no call can be found by one: {search}"
            "find the session ids in your own booking system, and erase them with --session"
        )
    found: set[Place] = set()
    for one in accounts:
        is_it = _matcher(one, digits)
        found |= set(_in_sessions(connections, one.subaccount_id, is_it))
        found |= set(_in_call_logs(connections, one.subaccount_id, is_it))
        found |= set(_in_lookups(connections, one.subaccount_id, is_it))
        if (inbox := connections.inbox()) is not None:
            found |= set(_in_events(connections, inbox, one.subaccount_id, is_it))
    return found


def days_without_numbers(connections: Connections, *, account: str | None = None) -> list[str]:
    """Return, a text for each account, the days with calls and without numbers: no call of them is found by one."""
    texts = []
    for one in connections.settings.accounts:
        if account not in (None, one.subaccount_id):
            continue
        rows = rows_by_day(
            connections.catalog,
            schemas.SESSIONS,
            list(_NUMBERS),
            None,
            filter_=pc.field("subaccount_id") == one.subaccount_id,
        )
        days = [day for day, numbers in rows if all(numbers[name].null_count == len(numbers) for name in _NUMBERS)]
        spans = [str(first) if first == last else f"{first} to {last}" for first, last in spans_of(sorted(days))]
        if spans:
            texts.append(
                f"{one.subaccount_id}: no phone numbers are kept of {', '.join(spans)}, so these days were not searched:"
                " archive them again, or find the session ids in your own booking system"
            )
    return texts


def _matcher(account: AccountSettings, digits: str) -> Callable[[Any], bool]:
    """Return whether a stored value is the number, or its hash with the account's key."""
    plain = {digits, digits.removeprefix(_INTERNATIONAL)}
    mask = phone_number_mask(account)
    written = plain | {f"{_INTERNATIONAL}{one}" for one in plain}
    hashes = {mask(one) for one in written} if account.phone_numbers == "hash" else set()

    def is_it(value: Any) -> bool:
        text = str(value)
        if text.startswith(HASH_PREFIX):
            return text in hashes
        return re.sub(r"\D", "", text).removeprefix(_INTERNATIONAL) in plain

    return is_it


def _in_sessions(connections: Connections, account: str, is_it: Callable[[Any], bool]) -> Iterator[Place]:
    for table in (schemas.SESSIONS, schemas.SESSION_IDS):
        for day in connections.catalog.days(table):
            rows = connections.catalog.partition(
                table, day, columns=("subaccount_id", "session_id", *_NUMBERS)
            ).to_pylist()
            for row in rows:
                if row["subaccount_id"] == account and any(is_it(row[name]) for name in _NUMBERS if row[name]):
                    yield Place(account, day, row["session_id"])


def _in_call_logs(connections: Connections, account: str, is_it: Callable[[Any], bool]) -> Iterator[Place]:
    """Yield the sessions of rows with a cell that is the number: a session's row has only two of its legs' numbers."""
    for day in days_in(connections.catalog.store, CALL_LOGS):
        with connections.responses.load_call_log(day, account) as files:
            for file in files or ():
                with file.open(encoding="utf-8", newline="") as lines:
                    yield from (Place(account, day, one) for one in _sessions_in(csv.reader(lines), is_it))


def _sessions_in(rows: Iterator[list[str]], is_it: Callable[[Any], bool]) -> Iterator[str]:
    names = [plain_name(name) for name in next(rows, [])]
    numbers = [index for index, name in enumerate(names) if names_a_number(name)]
    if "sessionid" not in names:
        return
    of_session = names.index("sessionid")
    for row in rows:
        if len(row) == len(names) and any(row[index] and is_it(row[index]) for index in numbers):
            yield plain_id(row[of_session]).lower()


def _in_lookups(connections: Connections, account: str, is_it: Callable[[Any], bool]) -> Iterator[Place]:
    for day in days_in(connections.catalog.store, LOOKUPS):
        for (owner, session_id), lookup in connections.responses.lookups(day):
            if owner == account and lookup.body is not None and any(map(is_it, _numbers_in(lookup.body))):
                yield Place(account, day, session_id)


def _in_events(connections: Connections, inbox: Inbox, account: str, is_it: Callable[[Any], bool]) -> Iterator[Place]:
    for event in inbox.session_events(account):
        if event.session_id is not None and any(map(is_it, _numbers_in(event.payload))):
            at = inbox.call_at(account, event.session_id) or event.first_received_at
            yield Place(account, day_of(at, connections.settings.zone), event.session_id)


def _numbers_in(text: str) -> Iterator[str]:
    try:
        yield from numbers_in(parse_json(text))
    except UnreadableError:
        return

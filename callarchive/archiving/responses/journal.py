"""Answers of a day's look-ups on their way into the answer store: small durable pieces first, one object at the end.

A run that is killed, or that ends with an error, leaves its pieces; the next run reads them instead of asking again.
How a look-up stands in a line is in `answer_lines`.
"""

import heapq
import logging
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from functools import reduce
from itertools import groupby
from operator import itemgetter
from types import TracebackType
from typing import Self

import pyarrow as pa

from callarchive.archiving.responses.lines import key_of, line_of, line_that_counts, lookup_of, packed, unpacked
from callarchive.catalog.rows import Key
from callarchive.domain.errors import ObjectNotFoundError, StoreError
from callarchive.domain.models import Lookup
from callarchive.domain.phone_numbers import HASH_PREFIX, PhoneNumberMask
from callarchive.storage.stores import Store

log = logging.getLogger(__name__)


class AnswerJournal:
    """The answers of one run on a day. A context manager: left without an error, the day's object holds them and no piece
    is left; left with one, they lie in pieces. Not thread-safe; hold the day's lock.

    Args:
        masks: by account; the phone numbers of an account without one are dropped.
        piece: how many answers a piece holds at the most.
        piece_s: after how many seconds a smaller piece is written.
    """

    def __init__(
        self,
        store: Store,
        day: date,
        *,
        masks: Mapping[str, PhoneNumberMask],
        piece: int = 1000,
        piece_s: float = 2.0,
    ) -> None:
        self._store = store
        self._day = day
        self._masks = {subaccount_id: mask_once(mask) for subaccount_id, mask in masks.items()}
        self._merges = True
        self._piece = piece
        self._piece_s = piece_s
        self._waiting: list[tuple[Key, bytes]] = []
        self._begun_at = time.monotonic()
        self._pieces = {item.path: store.read(item.path) for item in store.list(pieces_folder(day))}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is None:
            if self._merges:
                self._merge()
            else:
                self.flush()
            return
        try:
            self.flush()
        except StoreError as err:  # the error that ends the run is the one to tell
            log.warning("%d answers of 8x8 could not be kept: %s", len(self._waiting), err)

    def keep_pieces(self) -> None:
        """Leave the answers in pieces at the end, as a run does that ends with an error."""
        self._merges = False

    def left(self) -> Iterator[tuple[Key, Lookup]]:
        """What pieces of earlier runs hold, which were broken off. Raises StoreError where one is damaged."""
        for path, data in list(self._pieces.items()):
            with _damage_named(self._store, path):
                for line in unpacked(data):
                    yield lookup_of(line)

    def add(self, subaccount_id: str, lookup: Lookup) -> None:
        """The answer is on its way into a piece. Raises StoreError."""
        mask = self._masks.get(subaccount_id, _drop)
        key = (subaccount_id, lookup.session_id)
        if not self._waiting:
            self._begun_at = time.monotonic()
        self._waiting.append((key, line_of(subaccount_id, lookup, mask)))
        if len(self._waiting) >= self._piece or time.monotonic() - self._begun_at > self._piece_s:
            self.flush()

    def flush(self) -> None:
        """Every answer that was added is durable. Raises StoreError."""
        if self._waiting:
            data = self._packed()
            path = f"{pieces_folder(self._day)}/{time.time_ns():020}-{secrets.token_hex(4)}.jsonl.zst"
            self._store.replace(path, data)
            self._pieces[path] = data
            self._waiting.clear()

    def _packed(self) -> bytes:
        """What waits, in the order of keys, so that pieces can be merged without unpacking all of them at once."""
        return packed(line for _, line in sorted(self._waiting, key=lambda entry: entry[0]))

    def _merge(self) -> None:
        pieces = dict(self._pieces)
        if self._waiting:
            pieces["waiting"] = self._packed()
        if pieces:
            data = packed(merged_lines(self._store, self._day, pieces))
            self._store.replace(lookups_path(self._day), data)
        self._waiting.clear()
        for path in self._pieces:
            self._store.delete(path)
        self._pieces.clear()


def lookups_path(day: date) -> str:
    """Where the day's object lies below the store's root."""
    return f"_answers/lookups/call_date={day}/answers.jsonl.zst"


def pieces_folder(day: date) -> str:
    """Where pieces lie below the store's root."""
    return f"_answers/lookups/call_date={day}/pieces"


def mask_once(mask: PhoneNumberMask) -> PhoneNumberMask:
    """A kept answer that is saved again is not hashed again."""
    return lambda number: number if number is not None and number.startswith(HASH_PREFIX) else mask(number)


def kept_lookups(store: Store, day: date) -> Iterator[tuple[Key, Lookup]]:
    """The day's look-ups by key, one for each session, those still in pieces included; read anew.

    Raises:
        StoreError: an object is damaged.
    """
    pieces = {item.path: store.read(item.path) for item in store.list(pieces_folder(day))}
    with _damage_named(store, lookups_path(day)):
        for line in merged_lines(store, day, pieces):
            yield lookup_of(line)


def merged_lines(store: Store, day: date, pieces: Mapping[str, bytes]) -> Iterator[bytes]:
    """The lines of the day's object and of the pieces by key; of several about one session the one that counts."""
    objects = []
    with suppress(ObjectNotFoundError):
        objects.append((lookups_path(day), store.read(lookups_path(day))))
    objects += sorted(pieces.items())
    with _damage_named(store, lookups_path(day)):
        for _, entries in groupby(_in_order(store, objects), key=itemgetter(0)):
            yield reduce(line_that_counts, (line for _, line in entries))


def _in_order(store: Store, objects: Sequence[tuple[str, bytes]]) -> Iterator[tuple[Key, bytes]]:
    """Keys and lines of objects that are each ordered by key; of equal keys the earlier object's comes first.

    An object is unpacked from when its first key's turn has come: sessions are asked for in order, so that is few at a
    time, however many pieces there are.
    """
    heap: list[tuple[Key, int, bytes | None]] = []
    for number, (path, data) in enumerate(objects):
        with suppress(StopIteration):
            heap.append((next(_entries(store, path, data))[0], number, None))
    heapq.heapify(heap)
    open_ones: dict[int, Iterator[tuple[Key, bytes]]] = {}
    while heap:
        key, number, line = heap[0]
        if line is None:
            open_ones[number] = _entries(store, *objects[number])
        else:
            yield key, line
        following = next(open_ones[number], None)
        if following is None:
            heapq.heappop(heap)
            del open_ones[number]
        else:
            heapq.heapreplace(heap, (following[0], number, following[1]))


def _entries(store: Store, path: str, data: bytes) -> Iterator[tuple[Key, bytes]]:
    """Keys and lines of one object. Raises StoreError, which names it, where it is damaged."""
    with _damage_named(store, path):
        for line in unpacked(data):
            yield key_of(line), line


@contextmanager
def _damage_named(store: Store, path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as err:
        raise StoreError(f"{store.uri(path)}: is damaged ({type(err).__name__}); remove it and run the day") from err


def _drop(_: str | None) -> None:
    return None

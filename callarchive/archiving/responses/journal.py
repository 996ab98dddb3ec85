"""The journal of a day's lookups: small durable pieces during a run, merged into one object at its end.

A run that is killed or fails leaves its pieces for the next run.
"""

import heapq
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from functools import reduce
from itertools import groupby
from operator import itemgetter
from typing import Self

import pyarrow as pa

from callarchive.archiving.pieces import piece_name
from callarchive.archiving.responses.lines import (
    key_of,
    line_of,
    line_that_counts,
    line_without_erased,
    lookup_of,
    packed,
    unpacked,
)
from callarchive.catalog.rows import Key
from callarchive.domain.erased_ids import ErasedIds
from callarchive.domain.errors import ObjectNotFoundError, StoreError
from callarchive.domain.models import Lookup
from callarchive.domain.phone_numbers import HASH_PREFIX, PhoneNumberMask
from callarchive.storage.stores import Store

LOOKUPS = "_answers/lookups"

log = logging.getLogger(__name__)


class ResponseJournal:
    """The responses of a run for a day, masked by account (numbers of other accounts are dropped).

    A context manager: on success it merges the pieces; on an error it leaves them. Not thread-safe; hold the day's lock.
    """

    def __init__(
        self, store: Store, day: date, *, masks: Mapping[str, PhoneNumberMask], piece: int = 1000, piece_s: float = 2.0
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

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            (self._merge if self._merges else self.flush)()
            return
        try:
            self.flush()
        except StoreError as err:  # must not replace the error that ended the run
            log.warning("could not store %d responses of 8x8: %s", len(self._waiting), err)

    def keep_pieces(self) -> None:
        """Leave the pieces at the end, as after an error."""
        self._merges = False

    def left(self) -> Iterator[tuple[Key, Lookup]]:
        """Yield the lookups in pieces of interrupted runs. Raises StoreError if a piece is damaged."""
        for path, data in list(self._pieces.items()):
            with _naming_damaged(self._store, path):
                for line in unpacked(data):
                    yield lookup_of(line)

    def add(self, subaccount_id: str, lookup: Lookup) -> None:
        """Queue the response for the next piece, and write the piece if it is due. Raises StoreError."""
        mask = self._masks.get(subaccount_id, lambda _: None)
        if not self._waiting:
            self._begun_at = time.monotonic()
        self._waiting.append(((subaccount_id, lookup.session_id), line_of(subaccount_id, lookup, mask)))
        if len(self._waiting) >= self._piece or time.monotonic() - self._begun_at > self._piece_s:
            self.flush()

    def flush(self) -> None:
        """Write the queued responses durably. Raises StoreError."""
        if self._waiting:
            data = self._packed()
            path = f"{pieces_folder(self._day)}/{piece_name()}.jsonl.zst"
            self._store.replace(path, data)
            self._pieces[path] = data
            self._waiting.clear()

    def _packed(self) -> bytes:
        """Pack the queue ordered by key, so that pieces can be merged without unpacking all of them at once."""
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
    """Return the path of the day's object, relative to the store's root."""
    return f"{LOOKUPS}/call_date={day}/answers.jsonl.zst"


def pieces_folder(day: date) -> str:
    """Return the folder of the day's pieces, relative to the store's root."""
    return f"{LOOKUPS}/call_date={day}/pieces"


def mask_once(mask: PhoneNumberMask) -> PhoneNumberMask:
    """Return a mask that leaves hashed numbers, so that storing a response again does not hash them again."""
    return lambda number: number if number is not None and number.startswith(HASH_PREFIX) else mask(number)


def kept_lookups(store: Store, day: date) -> Iterator[tuple[Key, Lookup]]:
    """Yield the day's lookups, one per session, including those in pieces. Raises StoreError if an object is damaged."""
    pieces = {item.path: store.read(item.path) for item in store.list(pieces_folder(day))}
    with _naming_damaged(store, lookups_path(day)):
        for line in merged_lines(store, day, pieces):
            yield lookup_of(line)


def erase_lookups(store: Store, day: date, ids: ErasedIds) -> None:
    """Merge the day's pieces into its object, without the ids, and erase older versions. Raises StoreError."""
    path, folder = lookups_path(day), pieces_folder(day)
    pieces = {item.path: store.read(item.path) for item in store.list(folder)}
    lines = list(merged_lines(store, day, pieces))
    with _naming_damaged(store, path):
        kept = [line for line in (line_without_erased(one, ids) for one in lines) if line is not None]
    if pieces or kept != lines:
        store.replace(path, packed(kept))
    store.erase_folder(folder)
    store.erase_old_versions(path)


def merged_lines(store: Store, day: date, pieces: Mapping[str, bytes]) -> Iterator[bytes]:
    """Yield the lines of the day's object and of the pieces in order of key, one per session: see `line_that_counts`."""
    objects = []
    with suppress(ObjectNotFoundError):
        objects.append((lookups_path(day), store.read(lookups_path(day))))
    objects += sorted(pieces.items())
    with _naming_damaged(store, lookups_path(day)):
        for _, entries in groupby(_in_order(store, objects), key=itemgetter(0)):
            yield reduce(line_that_counts, (line for _, line in entries))


def _in_order(store: Store, objects: Sequence[tuple[str, bytes]]) -> Iterator[tuple[Key, bytes]]:
    """Yield the keys and lines of ordered objects in order of key, then of objects.

    Unlike heapq.merge, open an object only when its first key is due: sessions are looked up in order, so that few of
    many pieces are unpacked at a time.
    """
    heap: list[tuple[Key, int, bytes | None]] = []
    for number, (path, data) in enumerate(objects):
        with suppress(StopIteration):
            heap.append((next(_entries(store, path, data))[0], number, None))
    heapq.heapify(heap)
    open_objects: dict[int, Iterator[tuple[Key, bytes]]] = {}
    while heap:
        key, number, line = heap[0]
        if line is None:
            open_objects[number] = _entries(store, *objects[number])
        else:
            yield key, line
        following = next(open_objects[number], None)
        if following is None:
            heapq.heappop(heap)
            del open_objects[number]
        else:
            heapq.heapreplace(heap, (following[0], number, following[1]))


def _entries(store: Store, path: str, data: bytes) -> Iterator[tuple[Key, bytes]]:
    """Yield the keys and lines of one object."""
    with _naming_damaged(store, path):
        for line in unpacked(data):
            yield key_of(line), line


@contextmanager
def _naming_damaged(store: Store, path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as err:
        why = f"is damaged ({type(err).__name__}): remove it and archive the day again"
        raise StoreError(f"{store.uri(path)} {why}") from err

"""The entries with certain events, without reading the others."""

import json
from collections.abc import Iterator

from callarchive.domain.errors import LedgerError
from callarchive.ledger.batches import Batch, BatchError, facts_of
from callarchive.ledger.checking import Entry
from callarchive.ledger.ledger import Ledger


def entries_with(ledger: Ledger, *events: str) -> Iterator[Entry]:
    """Yield the entries with one of these events, in order, unchecked. Raises LedgerError, StoreError."""
    marks = [f'"event":{json.dumps(event)}'.encode() for event in events]
    for path in ledger.paths():
        data = ledger.store.read(path)
        if not any(mark in data for mark in marks):
            continue
        try:
            batch = Batch.decode(data)
        except BatchError as err:
            raise LedgerError(f"{ledger.store.uri(path)}: {err}: run `callarchive ledger verify`") from err
        for number, line in enumerate(batch.lines, batch.first):
            if any(mark in line for mark in marks) and (facts := facts_of(line)).get("event") in events:
                yield Entry(number, facts)

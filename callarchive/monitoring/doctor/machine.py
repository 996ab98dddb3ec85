"""The checks of this machine: archive and catalog, disk space, the inbox and its lag, the clock."""

import secrets
import shutil
from collections.abc import Iterator, Sequence
from datetime import timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from callarchive.archiving.connections import Connections
from callarchive.catalog import schemas
from callarchive.domain.days import day_of
from callarchive.domain.errors import ArchiveError
from callarchive.monitoring.doctor.findings import Finding, Result, Verdict, broken, to_the_end, tried
from callarchive.storage.stores import Store
from callarchive.storage.stores.opening import local_folder
from callarchive.voice_api.failures import describe_failure

if TYPE_CHECKING:
    from callarchive.events.inbox.queries import Change

_FULL_BELOW = 0.01
_NEARLY_FULL_BELOW = 0.10
_LAGGING_AFTER = timedelta(minutes=30)
_CLOCK_OFF = timedelta(seconds=60)
_CLOCK_BROKEN = timedelta(minutes=14)
"""AWS refuses signatures that are 15 minutes off."""
_TIMEOUT_S = 10.0
_LATEST_CHANGES = 1000


def findings(connections: Connections) -> Iterator[Finding]:
    """Yield the machine's findings."""
    yield from _inbox(connections)
    stores = [("archive", connections.archive.store), ("catalog", connections.catalog.store)]
    if connections.anchor is not None:
        stores.append(("ledger.anchor", connections.anchor.store))
    for name, store in stores:
        advice = f"check {name}.url and its permissions, then callarchive doctor"
        written = tried(f"{name}: write", partial(_writable, store, locks=name == "catalog"), advice)
        yield written
        if written.verdict is Verdict.OK and name != "ledger.anchor":  # checkpoints need not be erasable
            yield from to_the_end(f"{name}: default retention", _default_retention(name, store))
        if (folder := local_folder(store)) is not None:
            yield Finding.of(f"{name}: disk space", _room(name, folder))
    yield from _object_options(connections)
    yield Finding.of("clock", _clock(connections))


def _object_options(connections: Connections) -> Iterator[Finding]:
    """Try the options of `archive.objects`, if there are any."""
    link, objects = "archive: objects", connections.settings.archive.objects
    if objects == type(objects)():
        return
    advice = "correct [archive.objects] or the bucket, then callarchive doctor"
    if objects.lock_mode is not None:
        from callarchive.storage.s3.clients import split_s3_url

        bucket = split_s3_url(connections.settings.archive.url)[0]
        advice = (
            f"aws s3api get-object-lock-configuration --bucket {bucket}; if there is none: aws s3api "
            f"put-object-lock-configuration --bucket {bucket} --object-lock-configuration ObjectLockEnabled=Enabled"
        )

    def try_options() -> str:
        return (
            f"{connections.archive.store.url} keeps recordings with {connections.archive.store.prove_object_options()}"
        )

    yield tried(link, try_options, advice)


def _default_retention(name: str, store: Store) -> Iterator[Finding]:
    """Warn of a retention that also keeps what must stay erasable."""
    if (retention := store.default_retention()) is not None:
        yield Finding(
            f"{name}: default retention",
            Verdict.WARNING,
            f"the bucket of {store.url} retains every object ({retention}), so no entry of the ledger, table or recording "
            "can be erased earlier",
            "remove the bucket's default retention, and set archive.objects.lock_mode and lock_days for recordings instead",
        )


def _writable(store: Store, *, locks: bool) -> str:
    store.prove(locks=locks)
    path = f"_doctor/{secrets.token_hex(8)}"
    written = path.encode()
    store.create(path, written)
    try:
        if store.read(path) != written:
            raise ArchiveError(f"{store.uri(path)} returned other bytes than were written")
    finally:
        store.delete(path)
    guarantees = "write-once names and locks" if locks else "write-once names"
    return f"{store.url} stores, returns and removes an object, and supports {guarantees}"


def _room(name: str, folder: Path) -> Result:
    while not folder.exists():
        folder = folder.parent
    try:
        usage = shutil.disk_usage(folder)
    except OSError as err:
        why = f"{folder}: {err.strerror or type(err).__name__}"
        return Verdict.NOT_CHECKED, why, f"check {name}.url, then callarchive doctor"
    share = usage.free / usage.total if usage.total else 0.0
    space = f"{usage.free / 1e9:,.1f} GB free of {usage.total / 1e9:,.1f} GB"
    if share < _FULL_BELOW:
        return Verdict.BROKEN, space, "free some space, or move it to a larger disk"
    return (Verdict.WARNING, space, "plan for a larger disk") if share < _NEARLY_FULL_BELOW else space


def _inbox(connections: Connections) -> Iterator[Finding]:
    """Check that the inbox can be read, and that its latest events are in the catalog."""
    try:
        inbox = connections.inbox()
        if inbox is None:
            return
        changes = inbox.changes(max(0, inbox.latest_number() - _LATEST_CHANGES))
    except ArchiveError as err:
        yield broken("inbox", err, "check inbox.url, then callarchive doctor")
        return
    yield Finding.of("inbox: lag", _lag(connections, changes))


def _lag(connections: Connections, changes: Sequence["Change"]) -> Result:
    now, zone = connections.clock(), connections.settings.zone
    listed: dict[object, set[tuple[str, str]]] = {}
    waiting = []
    for change in changes:
        day = None if change.call_at is None else day_of(change.call_at, zone)
        if day is None or day < connections.settings.start_date:
            continue
        if day not in listed:
            try:
                rows = connections.catalog.partition(schemas.SESSIONS, day, columns=schemas.SESSIONS.key)
            except ArchiveError as err:
                return Verdict.BROKEN, str(err), f"callarchive archive --day {day}"
            listed[day] = set(zip(*(rows[name].to_pylist() for name in schemas.SESSIONS.key), strict=True))
        if (change.subaccount_id, change.session_id) not in listed[day]:
            waiting.append(now - change.received_at)
    if waiting and max(waiting) > _LAGGING_AFTER:
        minutes = max(waiting) / timedelta(minutes=1)
        return (
            Verdict.WARNING,
            f"{len(waiting)} of the last {len(changes)} events are not in a table yet, the oldest for {minutes:,.0f} minutes",
            'set dagster.sensors = "on" and run the Dagster daemon, or callarchive archive their days; '
            "an account needs a source of kind inbox",
        )
    return f"{len(waiting)} of the last {len(changes)} events wait for a run"


def _clock(connections: Connections) -> Result:
    """Compare this machine's clock with the `Date` header of the first account's API."""
    import requests

    account = connections.settings.accounts[0]
    try:
        response = requests.head(account.api_url, timeout=_TIMEOUT_S, allow_redirects=False)
        api_time = parsedate_to_datetime(response.headers["Date"])
    except (requests.ConnectionError, requests.Timeout) as err:
        why = f"{account.api_url} cannot be reached ({describe_failure(err, timeout_s=_TIMEOUT_S)}), so there is no time to"
        return Verdict.NOT_CHECKED, f"{why} compare with", f"make it reachable: see {account.subaccount_id}: API key"
    except (requests.RequestException, KeyError, ValueError, TypeError):
        why = f"{account.api_url} sends no time to compare with"
        return Verdict.NOT_CHECKED, why, "timedatectl; then callarchive doctor"
    off = abs(connections.clock() - api_time)
    detail = f"{off.total_seconds():.0f} s from that of {account.api_url}"
    if off > _CLOCK_OFF:
        verdict = Verdict.BROKEN if off > _CLOCK_BROKEN else Verdict.WARNING
        return verdict, detail, "set this machine's clock: run an NTP client"
    return detail

"""Goes along the chain from the configuration to the catalog and says of each link whether it holds, and what to do if not.

Reads a little and writes one object of a few bytes into the archive and the catalog, which it removes again.
"""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from callarchive.connections import Connections
from callarchive.errors import ArchiveError
from callarchive.settings import AccountSettings, FilesSource
from callarchive.stores import Store


class Verdict(StrEnum):
    """How a link is."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """One link of the chain.

    Attributes:
        link: what was looked at, with the account where it concerns one.
        advice: what to do next; null where nothing needs doing.
    """

    link: str
    verdict: Verdict
    detail: str
    advice: str | None = None


def examine(connections: Connections) -> Iterator[Finding]:
    """Every link's finding, as they are made, from the outside in."""
    settings = connections.settings
    yield Finding("configuration", Verdict.OK, f"{settings.path}, {len(settings.accounts)} accounts, secrets are set")
    for account in settings.accounts:
        yield _api(connections, account)
        yield _landing(connections, account)
        yield from _id_files(account)
    yield _tried(
        "archive: write", lambda: _writable(connections.archive.store), "check archive.url and its permissions"
    )
    yield _tried(
        "catalog: write", lambda: _writable(connections.catalog.store), "check catalog.url and its permissions"
    )


def _tried(link: str, work: Callable[[], str], advice: str) -> Finding:
    try:
        return Finding(link, Verdict.OK, work())
    except ArchiveError as err:
        return Finding(link, Verdict.BROKEN, str(err), advice)


def _number(connections: Connections, account: AccountSettings) -> int:
    return connections.settings.accounts.index(account)


def _api(connections: Connections, account: AccountSettings) -> Finding:
    link = f"{account.subaccount_id}: API key"
    try:
        doubt = connections.voice(account).check()
    except ArchiveError as err:
        number = _number(connections, account)
        return Finding(link, Verdict.BROKEN, str(err), f"check accounts.{number}.api_key and accounts.{number}.api_url")
    if doubt is not None:
        return Finding(link, Verdict.WARNING, doubt, "check api_url: is that 8x8's address?")
    return Finding(link, Verdict.OK, f"{account.api_url} accepts it")


def _landing(connections: Connections, account: AccountSettings) -> Finding:
    link = f"{account.subaccount_id}: landing"
    try:
        landing = connections.landing(account)
        landing.check()
        found = landing.sample()
        if found is None:
            return Finding(
                link,
                Verdict.WARNING,
                f"{landing.uri} can be listed and holds nothing yet",
                "make sure that 8x8 pushes there: compare with your recording push configuration",
            )
        with landing.open(found.path) as download:
            next(islice(download, 1), b"")
        return Finding(link, Verdict.OK, f"{landing.uri} can be listed and read")
    except ArchiveError as err:
        return Finding(link, Verdict.BROKEN, str(err), f"check accounts.{_number(connections, account)}.landing")


def _id_files(account: AccountSettings) -> Iterator[Finding]:
    """Whether the folders of local id files are there; a day's file is looked for when the day is archived."""
    for source in account.session_sources:
        if isinstance(source, FilesSource) and not source.path.startswith("s3://"):
            folder = source.folder
            link = f"{account.subaccount_id}: session ids from files"
            if folder.is_dir():
                yield Finding(link, Verdict.OK, f"{folder} is there")
            else:
                yield Finding(link, Verdict.BROKEN, f"{folder} is not there", "create it, or correct the source's path")


def _writable(store: Store) -> str:
    path = f"_doctor/{secrets.token_hex(8)}"
    written = path.encode()
    store.create(path, written)
    try:
        if store.read(path) != written:
            raise ArchiveError(f"{store.uri(path)} gave back other bytes than were written")
    finally:
        store.delete(path)
    return f"{store.url} takes, gives back and removes an object"

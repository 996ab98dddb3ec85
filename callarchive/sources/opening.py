"""An account's session sources, made from its settings. What each does is in its own module."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from callarchive.domain.phone_numbers import kept_number_guard, phone_number_treatment
from callarchive.settings import AccountSettings, FilesSource, InboxSource, LogExportSource
from callarchive.sources import SessionSource
from callarchive.sources.files import FilesSessions
from callarchive.sources.log_export import CallLogApi, CallLogStore, LogExportSessions

if TYPE_CHECKING:
    from callarchive.events.inbox.inbox import Inbox


def open_sources(
    account: AccountSettings,
    zone: ZoneInfo,
    *,
    voice: CallLogApi,
    answers: CallLogStore,
    clock: Callable[[], datetime],
    inbox: Callable[[], "Inbox | None"],
    name: str = "account",
    folder: Path | None = None,
    reread: bool = False,
) -> list[SessionSource]:
    """A source for each of the account's `session_sources`, in their order. Nothing is contacted or read yet.

    Args:
        zone: the time zone in which days are cut.
        voice: the account's API client.
        answers: where call logs are kept.
        clock: the time now.
        inbox: opens the inbox; null where there is none yet. Called only where a source asks for it.
        name: of the account in the configuration, such as accounts.0; for messages.
        folder: the configuration's.
        reread: kept call logs are read instead of asking 8x8 again.

    Raises:
        ConfigurationError: the key for hashing phone numbers is not set.
        UnavailableError, StoreError: the inbox cannot be opened.
    """
    treat = phone_number_treatment(account)
    sources: list[SessionSource] = []
    for number, source in enumerate(account.session_sources):
        if isinstance(source, LogExportSource):
            sources.append(
                LogExportSessions(
                    subaccount_id=account.subaccount_id,
                    timezone=zone,
                    voice=voice,
                    answers=answers,
                    treat=treat,
                    clock=clock,
                    reread=reread,
                )
            )
        elif isinstance(source, FilesSource):
            sources.append(
                FilesSessions(
                    source.path,
                    subaccount_id=account.subaccount_id,
                    timezone=zone,
                    s3=account.s3,
                    treat=treat,
                    clock=clock,
                )
            )
        elif isinstance(source, InboxSource):
            from callarchive.sources.inbox import InboxSessions

            sources.append(
                InboxSessions(
                    inbox(),
                    subaccount_id=account.subaccount_id,
                    timezone=zone,
                    guard=kept_number_guard(account),
                    clock=clock,
                )
            )
        else:
            from callarchive.sources.sql import SqlSessions

            sources.append(
                SqlSessions(
                    source,
                    name=f"{name}.session_sources.{number}",
                    subaccount_id=account.subaccount_id,
                    timezone=zone,
                    treat=treat,
                    clock=clock,
                    folder=folder,
                )
            )
    return sources

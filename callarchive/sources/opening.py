"""Creates an account's session sources from its settings."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from callarchive.domain.phone_numbers import kept_number_guard, phone_number_mask
from callarchive.settings import AccountSettings, FilesSource, InboxSource, LogExportSource
from callarchive.sources import SessionSource
from callarchive.sources.files import FilesSessions
from callarchive.sources.gathering import SourceContext
from callarchive.sources.log_export import CallLogApi, CallLogStore, LogExportSessions

if TYPE_CHECKING:
    from callarchive.events.inbox.inbox import Inbox


def open_sources(
    account: AccountSettings,
    zone: ZoneInfo,
    *,
    voice: CallLogApi,
    responses: CallLogStore,
    clock: Callable[[], datetime],
    inbox: Callable[[], "Inbox | None"],
    key: str = "account.session_sources",
    folder: Path | None = None,
    reread: bool = False,
) -> list[SessionSource]:
    """Return a source for each of the account's `session_sources`, in their order. Nothing is contacted or read yet.

    Args:
        inbox: opens the inbox; returns `None` if there is none yet. Called only if a source needs it.
        key: of the sources in the configuration, such as accounts.0.session_sources; for messages.
        folder: the configuration file's.
        reread: use kept call logs instead of asking 8x8 for new ones.

    Raises:
        ConfigurationError: the key for hashing phone numbers is not set.
        UnavailableError, StoreError: the inbox cannot be opened.
    """
    context = SourceContext(
        subaccount_id=account.subaccount_id, timezone=zone, mask=phone_number_mask(account), clock=clock
    )
    sources: list[SessionSource] = []
    for number, source in enumerate(account.session_sources):
        if isinstance(source, LogExportSource):
            sources.append(LogExportSessions(context, voice, responses, reread=reread))
        elif isinstance(source, FilesSource):
            sources.append(FilesSessions(context, source.path, account.s3))
        elif isinstance(source, InboxSource):
            from callarchive.sources.inbox import InboxSessions

            sources.append(InboxSessions(replace(context, mask=kept_number_guard(account)), inbox()))
        else:
            from callarchive.sources.sql import SqlSessions

            sources.append(SqlSessions(context, source, name=f"{key}.{number}", folder=folder))
    return sources

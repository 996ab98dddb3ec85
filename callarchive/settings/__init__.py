"""The configuration: `callarchive.toml`, overridden by environment variables. Settings are read here and nowhere else.

No secret is ever a field value: a `Secret` holds the name of an environment variable or of a file, and its text is
fetched with `reveal()` at the moment of use. So a repr, a traceback or a dump of settings cannot leak one.
"""

from callarchive.settings.loading import CONFIG_NAME, CONFIG_VARIABLE, load_settings
from callarchive.settings.sections import (
    AccountSettings,
    ArchiveSettings,
    CatalogSettings,
    CheckSettings,
    DagsterSettings,
    FilesSource,
    InboxSettings,
    LogExportSource,
    LookupSettings,
    PushSettings,
    S3Settings,
    SessionSource,
    Settings,
    SftpSettings,
    TransferSettings,
    WebhookSettings,
)
from callarchive.settings.values import Secret

__all__ = [
    "CONFIG_NAME",
    "CONFIG_VARIABLE",
    "AccountSettings",
    "ArchiveSettings",
    "CatalogSettings",
    "CheckSettings",
    "DagsterSettings",
    "FilesSource",
    "InboxSettings",
    "LogExportSource",
    "LookupSettings",
    "PushSettings",
    "S3Settings",
    "Secret",
    "SessionSource",
    "Settings",
    "SftpSettings",
    "TransferSettings",
    "WebhookSettings",
    "load_settings",
]

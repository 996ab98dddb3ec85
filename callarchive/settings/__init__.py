"""The configuration: `callarchive.toml`, overridden by environment variables. Settings are read here and nowhere else.

No secret is ever a field value: a `Secret` holds the name of an environment variable or of a file, and its text is
fetched with `reveal()` at the moment of use. So a repr, a traceback or a dump of settings cannot leak one.
"""

from callarchive.settings.accounts import (
    AccountSettings,
    FilesSource,
    InboxSource,
    LogExportSource,
    PushSettings,
    SessionSource,
    SftpSettings,
    SqlSource,
    WebhookSettings,
)
from callarchive.settings.configuration import Settings
from callarchive.settings.loading import CONFIG_NAME, CONFIG_VARIABLE, load_settings
from callarchive.settings.sections import (
    AlertSettings,
    AlertWebhookSettings,
    ArchiveSettings,
    CatalogSettings,
    CheckSettings,
    DagsterSettings,
    ForecastSettings,
    InboxSettings,
    LookupSettings,
    ReceiverSettings,
    ReconciliationLimits,
    ReopenSettings,
    S3Settings,
    SmtpSettings,
    TransferSettings,
)
from callarchive.settings.values import EIGHT_BY_EIGHT, Secret, unset_secrets

__all__ = [
    "CONFIG_NAME",
    "CONFIG_VARIABLE",
    "EIGHT_BY_EIGHT",
    "AccountSettings",
    "AlertSettings",
    "AlertWebhookSettings",
    "ArchiveSettings",
    "CatalogSettings",
    "CheckSettings",
    "DagsterSettings",
    "FilesSource",
    "ForecastSettings",
    "InboxSettings",
    "InboxSource",
    "LogExportSource",
    "LookupSettings",
    "PushSettings",
    "ReceiverSettings",
    "ReconciliationLimits",
    "ReopenSettings",
    "S3Settings",
    "Secret",
    "SessionSource",
    "Settings",
    "SftpSettings",
    "SmtpSettings",
    "SqlSource",
    "TransferSettings",
    "WebhookSettings",
    "load_settings",
    "unset_secrets",
]

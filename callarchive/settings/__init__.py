"""The configuration: `callarchive.toml` and the environment, which overrides it. Settings are read only here.

No field holds a secret: a `Secret` names an environment variable or a file, and `reveal()` reads it when it is used.
A repr, a traceback or a dump of the settings therefore cannot leak one.
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
    CheckSettings,
    DagsterSettings,
    ForecastSettings,
    LookupSettings,
    ReceiverSettings,
    ReconciliationLimits,
    ReopenSettings,
    SmtpSettings,
    TransferSettings,
)
from callarchive.settings.stores import ObjectSettings, S3Settings
from callarchive.settings.values import EIGHT_BY_EIGHT, Secret, unset_secrets

__all__ = [
    "CONFIG_NAME",
    "CONFIG_VARIABLE",
    "EIGHT_BY_EIGHT",
    "AccountSettings",
    "AlertSettings",
    "AlertWebhookSettings",
    "CheckSettings",
    "DagsterSettings",
    "FilesSource",
    "ForecastSettings",
    "InboxSource",
    "LogExportSource",
    "LookupSettings",
    "ObjectSettings",
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

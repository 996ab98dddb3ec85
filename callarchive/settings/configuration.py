"""`Settings`, the whole configuration. How it is read: see `loading`."""

from datetime import date
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

from pydantic import Field, PrivateAttr, field_validator, model_validator

from callarchive.domain.errors import ConfigurationError
from callarchive.runtime.time_zones import require_zone
from callarchive.settings.accounts import AccountSettings, SqlSource
from callarchive.settings.sections import (
    AlertSettings,
    ArchiveSettings,
    CatalogSettings,
    CheckSettings,
    DagsterSettings,
    ForecastSettings,
    InboxSettings,
    LookupSettings,
    ReceiverSettings,
    ReconciliationSettings,
    ReopenSettings,
    TransferSettings,
)
from callarchive.settings.values import Secret, Section, unset_secrets


class Settings(Section):
    """The whole configuration. Immutable; paths in it are absolute; secrets are references.

    Attributes:
        timezone: the time zone of the days, an IANA name such as Asia/Singapore.
        start_date: the first day that Dagster offers.
    """

    timezone: str = "UTC"
    start_date: date
    archive: ArchiveSettings
    catalog: CatalogSettings
    inbox: InboxSettings = Field(default={}, validate_default=True)  # validated, to make its path absolute
    transfer: TransferSettings = TransferSettings()
    lookups: LookupSettings = LookupSettings()
    receiver: ReceiverSettings = ReceiverSettings()
    reopen: ReopenSettings = ReopenSettings()
    reconciliation: ReconciliationSettings = ReconciliationSettings()
    checks: CheckSettings = CheckSettings()
    alerts: AlertSettings = AlertSettings()
    forecast: ForecastSettings = ForecastSettings()
    dagster: DagsterSettings = DagsterSettings()
    accounts: tuple[AccountSettings, ...] = Field(min_length=1)

    _path: Path | None = PrivateAttr(default=None)

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, name: str) -> str:
        require_zone(name)
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        seen: set[str] = set()
        for account in self.accounts:
            if account.subaccount_id in seen:
                raise ValueError(f"accounts: subaccount_id {account.subaccount_id} appears twice")
            seen.add(account.subaccount_id)
        if self.archive.url == self.catalog.url:
            raise ValueError("catalog.url: must differ from archive.url")
        return self

    @property
    def landings(self) -> dict[str, str]:
        """The landing of each account, by subaccount_id."""
        return {account.subaccount_id: account.landing for account in self.accounts}

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the days."""
        return ZoneInfo(self.timezone)

    @property
    def path(self) -> Path | None:
        """The configuration file."""
        return self._path

    def key_of(self, account: AccountSettings, name: str) -> str:
        """Return the full key of one of the account's settings, for messages: accounts.1.push.password."""
        return f"accounts.{self.accounts.index(account)}.{name}"

    def require_secrets(self) -> None:
        """Check that every secret and file that the main job needs can be read.

        Raises:
            ConfigurationError: names every key whose secret or file cannot.
        """
        problems = unset_secrets(_main_job_secrets(self))
        for key, file in _main_job_files(self):
            try:
                with file.open("rb"):
                    pass
            except OSError as err:
                problems.append(f"{key}: {file} cannot be read: {err.strerror}")
        if problems:
            raise ConfigurationError("\n".join(problems))

    def doubtful_secrets(self) -> list[str]:
        """Return "key: doubt" for each secret of the main job that looks wrong, as with quotation marks around it."""
        found = [(key, secret.doubt()) for key, secret in _main_job_secrets(self) if secret is not None]
        return [f"{key}: {doubt}" for key, doubt in found if doubt is not None]


def _main_job_secrets(settings: Settings) -> list[tuple[str, Secret | None]]:
    found: list[tuple[str, Secret | None]] = []
    for number, account in enumerate(settings.accounts):
        at = f"accounts.{number}"
        found += [(f"{at}.api_key", account.api_key), (f"{at}.phone_hash_key", account.phone_hash_key)]
        found += [
            (f"{at}.session_sources.{place}.url", source.url)
            for place, source in enumerate(account.session_sources)
            if isinstance(source, SqlSource) and isinstance(source.url, Secret)
        ]
        if account.sftp is not None:
            found += [
                (f"{at}.sftp.password", account.sftp.password),
                (f"{at}.sftp.passphrase", account.sftp.passphrase),
            ]
    return found


def _main_job_files(settings: Settings) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path | None]] = []
    for number, account in enumerate(settings.accounts):
        if account.sftp is not None:
            at = f"accounts.{number}.sftp"
            found += [(f"{at}.known_hosts", account.sftp.known_hosts), (f"{at}.private_key", account.sftp.private_key)]
    return [(key, file) for key, file in found if file is not None]

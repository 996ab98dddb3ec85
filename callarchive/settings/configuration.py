"""`Settings`, the whole configuration. How it is read: see `loading`."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

from pydantic import Field, PrivateAttr, field_validator, model_validator

from callarchive.domain.errors import ConfigurationError
from callarchive.runtime.time_zones import require_zone
from callarchive.settings import sections, stores
from callarchive.settings.accounts import AccountSettings
from callarchive.settings.values import Secret, Section, unset_secrets


class Settings(Section):
    """The whole configuration. Immutable; paths in it are absolute; secrets are references."""

    timezone: str = "UTC"
    """the time zone of the days, an IANA name such as Asia/Singapore."""
    start_date: date
    """the first day that Dagster offers."""
    archive: stores.ArchiveSettings
    catalog: stores.CatalogSettings
    inbox: sections.InboxSettings = Field(default={}, validate_default=True)  # validated, to make its path absolute
    transfer: sections.TransferSettings = sections.TransferSettings()
    lookups: sections.LookupSettings = sections.LookupSettings()
    receiver: sections.ReceiverSettings = sections.ReceiverSettings()
    reopen: sections.ReopenSettings = sections.ReopenSettings()
    reconciliation: sections.ReconciliationSettings = sections.ReconciliationSettings()
    checks: sections.CheckSettings = sections.CheckSettings()
    alerts: sections.AlertSettings = sections.AlertSettings()
    forecast: sections.ForecastSettings = sections.ForecastSettings()
    ledger: sections.LedgerSettings = sections.LedgerSettings()
    holds: sections.HoldSettings = sections.HoldSettings()
    retention: sections.RetentionSettings = sections.RetentionSettings()
    dagster: sections.DagsterSettings = sections.DagsterSettings()
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
        if not self.archive.url.startswith("s3://"):
            for name, value in self.archive.objects:
                if value is not None:
                    raise ValueError(
                        f"archive.objects.{name}: applies to an archive in a bucket (s3://) only: remove it"
                    )
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

    def keep_days(self, account: AccountSettings) -> int | None:
        """Return how many days after the call the account's recordings are kept; None: without limit."""
        own = account.keep_days
        return self.retention.keep_days if own is None else None if own == "forever" else own

    def key_of(self, account: AccountSettings, name: str) -> str:
        """Return the full key of one of the account's settings, for messages: accounts.1.push.password."""
        return f"accounts.{self.accounts.index(account)}.{name}"

    def require_secrets(self) -> None:
        """Raise ConfigurationError, with all keys, unless every secret and file that the main job needs can be read."""
        needed = list(self._main_job_needs())
        problems = unset_secrets((key, value) for key, value in needed if isinstance(value, Secret))
        for key, file in needed:
            if isinstance(file, Path):
                try:
                    file.open("rb").close()
                except OSError as err:
                    problems.append(f"{key}: {file} cannot be read: {err.strerror}")
        if problems:
            raise ConfigurationError("\n".join(problems))

    def doubtful_secrets(self) -> list[str]:
        """Return "key: doubt" for each secret of the main job that looks wrong, as with quotation marks around it."""
        found = [(key, value.doubt()) for key, value in self._main_job_needs() if isinstance(value, Secret)]
        return [f"{key}: {doubt}" for key, doubt in found if doubt is not None]

    def secret_files(self) -> list[Path]:
        """Return the files that secrets of the main job are read from."""
        secrets = [value for _, value in self._main_job_needs() if isinstance(value, Secret)]
        return [secret.file for secret in secrets if secret.file is not None]

    def _main_job_needs(self) -> Iterator[tuple[str, Secret | Path]]:
        for number, account in enumerate(self.accounts):
            for key, value in _secrets_and_files(account):
                if not key.startswith(("push.", "webhooks.")):
                    yield f"accounts.{number}.{key}", value
        if self.ledger.signing_key is not None:
            yield "ledger.signing_key", self.ledger.signing_key


def _secrets_and_files(section: Section) -> Iterator[tuple[str, Secret | Path]]:
    """Yield every secret and file that the section and its subsections name, with its key."""
    for name, value in section:
        children = enumerate(value) if isinstance(value, tuple) else ((None, value),)
        for number, child in children:
            key = name if number is None else f"{name}.{number}"
            if isinstance(child, Secret | Path):
                yield key, child
            elif isinstance(child, Section):
                yield from ((f"{key}.{inner}", found) for inner, found in _secrets_and_files(child))

"""The sections of the configuration, one class each, and `Settings`, the whole of it. How it is read is in `loading`."""

from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, PrivateAttr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from callarchive.errors import ConfigurationError
from callarchive.identifiers import SUBACCOUNT_PATTERN
from callarchive.settings.values import (
    ConfigPath,
    HttpUrl,
    Secret,
    Section,
    StoreUrl,
    absolute_path,
    check_bucket,
    database_url,
    landing_url,
)


class S3Settings(Section):
    """Overrides of what the AWS chain finds for an S3 endpoint."""

    endpoint_url: HttpUrl | None = None
    region: str | None = None
    profile: str | None = None


class ArchiveSettings(Section):
    """Where verified recordings are kept."""

    url: StoreUrl
    s3: S3Settings = S3Settings()


class CatalogSettings(Section):
    """Where the Parquet tables are written."""

    url: StoreUrl
    s3: S3Settings = S3Settings()


class InboxSettings(Section):
    """Where webhook events are kept."""

    url: Annotated[str, AfterValidator(database_url)] = Field(default="sqlite:///inbox.sqlite3", validate_default=True)


class SftpSettings(Section):
    """How to log in to an SFTP landing, and which host keys to believe."""

    known_hosts: ConfigPath
    password: Secret | None = None
    private_key: ConfigPath | None = None
    passphrase: Secret | None = None
    timeout_s: float = Field(default=30.0, gt=0, le=600)

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.password is None) == (self.private_key is None):
            raise ValueError("name one way to log in: password or private_key")
        if self.passphrase is not None and self.private_key is None:
            raise ValueError("passphrase belongs to private_key")
        return self


class TransferSettings(Section):
    """How recordings are fetched, and when one that cannot be found is called missing."""

    concurrency: int = Field(default=64, ge=1, le=256)
    duration_tolerance_s: float = Field(default=2.0, ge=0, le=3600)
    missing_after_hours: float = Field(default=24.0, ge=0, le=24 * 365)
    attempts: int = Field(default=4, ge=1, le=10)
    stall_timeout_s: float = Field(default=30.0, gt=0, le=3600)
    deadline_s: float = Field(default=900.0, gt=0, le=24 * 3600)


class LookupSettings(Section):
    """How 8x8's API is asked, how long it is given to answer, and whether final sessions are asked for again.

    64 at once make 1,000 look-ups a second of an API that answers within 55 ms; the accounts' rate caps hold all the same.
    """

    concurrency: int = Field(default=64, ge=1, le=512)
    timeout_s: float = Field(default=30.0, gt=0, le=600)
    deadline_s: float = Field(default=120.0, gt=0, le=3600)
    retry_after_max_s: float = Field(default=60.0, ge=0, le=3600)
    export_deadline_s: float = Field(default=1800.0, gt=0, le=24 * 3600)
    recheck: Literal["unsettled", "all"] = "unsettled"


class CheckSettings(Section):
    """Above which share a day's check fails. 0 means that one is too many."""

    max_failed_lookup_share: float = Field(default=0.01, ge=0, le=1)
    max_failed_recording_share: float = Field(default=0.01, ge=0, le=1)
    max_duration_mismatch_share: float = Field(default=0.05, ge=0, le=1)


class DagsterSettings(Section):
    """How Dagster runs days."""

    days_per_run: int = Field(default=10, ge=1, le=1000)
    schedule_hour: int = Field(default=4, ge=0, le=23)


class LogExportSource(Section):
    """8x8's export job: every call leg of the day."""

    kind: Literal["log_export"]


class FilesSource(Section):
    """Ids in files. `{day}` in the path stands for YYYY-MM-DD; without it rows are dated by themselves."""

    kind: Literal["files"]
    path: str = Field(min_length=1)

    @field_validator("path")
    @classmethod
    def _readable_kind(cls, path: str, info: ValidationInfo) -> str:
        if not path.lower().endswith((".csv", ".txt", ".jsonl", ".parquet")):
            raise ValueError("must end in .csv, .txt, .jsonl or .parquet")
        if path.startswith("s3://"):
            check_bucket(urlsplit(path).netloc)
            return path
        return str(absolute_path(Path(path.removeprefix("file://")), info))

    @property
    def folder(self) -> Path:
        """The folder of a local path, up to the first part that holds `{day}`."""
        return Path(self.path.partition("{day}")[0] + "x").parent


SessionSource = Annotated[LogExportSource | FilesSource, Field(discriminator="kind")]


class PushSettings(Section):
    """What 8x8 should be told about where to push recordings."""

    protocol: Literal["S3", "SFTP"]
    host: str
    port: int = Field(default=22, ge=1, le=65535)
    username: str
    password: Secret
    path: str


class WebhookSettings(Section):
    """What 8x8 should be told about where to send events."""

    url: HttpUrl
    auth_header: Secret | None = None


class AccountSettings(Section):
    """One 8x8 subaccount: its API, where it pushes, and who names its sessions."""

    subaccount_id: str = Field(pattern=SUBACCOUNT_PATTERN)
    api_url: HttpUrl = "https://voice.8x8.com"
    api_key: Secret
    requests_per_second: float = Field(default=100.0, gt=0, le=100_000)
    landing: Annotated[str, AfterValidator(landing_url)]
    phone_numbers: Literal["drop", "hash", "keep"] = "drop"
    phone_hash_key: Secret | None = None
    s3: S3Settings = S3Settings()
    sftp: SftpSettings | None = None
    session_sources: tuple[SessionSource, ...] = Field(min_length=1)
    push: PushSettings | None = None
    webhooks: WebhookSettings | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.landing.startswith("sftp:") and self.sftp is None:
            raise ValueError("landing is sftp://, so [accounts.sftp] must say known_hosts and how to log in")
        if self.phone_numbers == "hash" and self.phone_hash_key is None:
            raise ValueError('phone_numbers = "hash" needs phone_hash_key = { env = "NAME" }')
        return self


class Settings(BaseSettings):
    """The whole configuration. Immutable; paths in it are absolute; secrets are references.

    Made by `load_settings`, which merges file and environment itself and makes paths relative to the file's folder:
    pydantic-settings' own environment source knows no place in a list (`CALLARCHIVE_ACCOUNTS__0__API_URL`) and passes
    over a misspelt variable in silence.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    timezone: str = "UTC"
    start_date: date
    archive: ArchiveSettings
    catalog: CatalogSettings
    inbox: InboxSettings = Field(default_factory=InboxSettings)
    transfer: TransferSettings = TransferSettings()
    lookups: LookupSettings = LookupSettings()
    checks: CheckSettings = CheckSettings()
    dagster: DagsterSettings = DagsterSettings()
    accounts: tuple[AccountSettings, ...] = Field(min_length=1)

    _path: Path | None = PrivateAttr(default=None)

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("is not an IANA time zone name such as Asia/Singapore") from None
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        seen: set[str] = set()
        for account in self.accounts:
            if account.subaccount_id in seen:
                raise ValueError(f"accounts: subaccount_id {account.subaccount_id} stands there twice")
            seen.add(account.subaccount_id)
        if self.archive.url == self.catalog.url:
            raise ValueError("catalog.url: must not be the same place as archive.url")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is handed over."""
        return (init_settings,)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone in which days are cut."""
        return ZoneInfo(self.timezone)

    @property
    def path(self) -> Path | None:
        """The file that the settings came from."""
        return self._path

    def require_secrets(self) -> None:
        """Returns when every secret and every file that the main job needs is there and can be read.

        Raises:
            ConfigurationError: names every key whose secret or file is not.
        """
        lacking = []
        for key, secret in _main_job_secrets(self):
            try:
                secret.reveal()
            except ConfigurationError as err:
                lacking.append(f"{key}: {err}")
        for key, file in _main_job_files(self):
            try:
                with file.open("rb"):
                    pass
            except OSError as err:
                lacking.append(f"{key}: {file} cannot be read: {err.strerror}")
        if lacking:
            raise ConfigurationError("\n".join(lacking))


def _main_job_secrets(settings: Settings) -> list[tuple[str, Secret]]:
    found: list[tuple[str, Secret | None]] = []
    for number, account in enumerate(settings.accounts):
        at = f"accounts.{number}"
        found += [(f"{at}.api_key", account.api_key), (f"{at}.phone_hash_key", account.phone_hash_key)]
        if account.sftp is not None:
            found += [
                (f"{at}.sftp.password", account.sftp.password),
                (f"{at}.sftp.passphrase", account.sftp.passphrase),
            ]
    return [(key, secret) for key, secret in found if secret is not None]


def _main_job_files(settings: Settings) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path | None]] = []
    for number, account in enumerate(settings.accounts):
        if account.sftp is not None:
            at = f"accounts.{number}.sftp"
            found += [(f"{at}.known_hosts", account.sftp.known_hosts), (f"{at}.private_key", account.sftp.private_key)]
    return [(key, file) for key, file in found if file is not None]

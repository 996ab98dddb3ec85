"""The settings of one 8x8 subaccount: its API, its landing, and the sources of its session ids."""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from callarchive.domain.identifiers import SUBACCOUNT_PATTERN
from callarchive.settings.sql_text import PARAMETERS, parameters_in, why_refused
from callarchive.settings.stores import S3Settings
from callarchive.settings.values import (
    ConfigPath,
    HttpUrl,
    Secret,
    Section,
    SqlUrl,
    absolute_path,
    check_bucket,
    landing_url,
)


class SftpSettings(Section):
    """Credentials and trusted host keys of an SFTP landing."""

    known_hosts: ConfigPath
    """the server's host keys in OpenSSH's format; an unknown or changed key is refused."""
    password: Secret | None = None
    """the password, if there is no private key."""
    private_key: ConfigPath | None = None
    """an OpenSSH key file, if there is no password."""
    passphrase: Secret | None = None
    """the passphrase of the private key."""
    timeout_s: float = Field(default=30.0, gt=0, le=600)
    """the limit for connecting and logging in, in seconds."""

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        if (self.password is None) == (self.private_key is None):
            raise ValueError("set either password or private_key")
        if self.passphrase is not None and self.private_key is None:
            raise ValueError("passphrase requires private_key")
        return self


ReachDays = Annotated[float | None, Field(gt=0, le=36_500)]


class LogExportSource(Section):
    """8x8's log export: every call leg of the day."""

    kind: Literal["log_export"]
    """the kind of source."""
    reach_days: ReachDays = None
    """the age in days up to which the source is complete; of older days, sources_complete accepts fewer sessions."""


class FilesSource(Section):
    """Session ids in files. `{day}` in the path is replaced by YYYY-MM-DD; without it, each row gives its own date."""

    kind: Literal["files"]
    """the kind of source."""
    path: str = Field(min_length=1)
    """a path or s3://bucket/key that ends in .csv, .txt, .jsonl or .parquet."""
    reach_days: ReachDays = None
    """the age in days up to which the source is complete; of older days, sources_complete accepts fewer sessions."""

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
        """The folder of a local path, without the parts from the first `{day}` on."""
        return Path(self.path.partition("{day}")[0] + "x").parent


class InboxSource(Section):
    """Sessions from webhook events."""

    kind: Literal["inbox"]
    """the kind of source."""


class SqlSource(Section):
    """Sessions from your own database. `:start` and `:end` are the bounds of the day in UTC."""

    kind: Literal["sql"]
    """the kind of source."""
    url: SqlUrl
    """a SQLAlchemy URL. One with a password must be a secret: { env = "BOOKINGS_URL" }."""
    query: str = Field(min_length=1)
    """a single SELECT that limits its rows to the day with :start and :end."""
    timeout_s: float = Field(default=300.0, gt=0, le=24 * 3600)
    """the limit from connecting to the last row, in seconds."""
    reach_days: ReachDays = None
    """the age in days up to which the source is complete; of older days, sources_complete accepts fewer sessions."""

    @field_validator("query")
    @classmethod
    def _bound_to_the_day(cls, query: str) -> str:
        if (reason := why_refused(query)) is not None:
            raise ValueError(reason)
        known = parameters_in(query)
        missing = [f":{name}" for name in PARAMETERS if name not in known]
        if missing:
            raise ValueError(f"must limit its rows to the day: {' and '.join(missing)} is missing")
        return query


SessionSource = Annotated[LogExportSource | FilesSource | InboxSource | SqlSource, Field(discriminator="kind")]


class PushSettings(Section):
    """Where 8x8 should push recordings. `callarchive push-config` compares and applies it."""

    protocol: Literal["S3", "SFTP"]
    """the protocol of the push."""
    host: str = Field(min_length=1)
    """the SFTP server, or the region for S3."""
    port: int = Field(default=22, ge=1, le=65535)
    """the port of the SFTP server; not used for S3."""
    username: str = Field(min_length=1)
    """the SFTP user, or the access key ID for S3."""
    password: Secret
    """the SFTP password, or the secret access key for S3."""
    path: str = Field(min_length=1)
    """the folder, or the prefix in the bucket."""


class WebhookSettings(Section):
    """Where 8x8 should send webhook events."""

    url: HttpUrl
    """the public URL of the receiver for this account."""
    auth_header: Secret | None = None
    """the full value of the `Authorization` header that 8x8 sends and the receiver requires."""


class AccountSettings(Section):
    """One 8x8 subaccount: its API, its landing, and the sources of its session ids."""

    subaccount_id: str = Field(pattern=SUBACCOUNT_PATTERN)
    """the subaccount's ID at 8x8."""
    api_url: HttpUrl = "https://voice.8x8.com"
    """the base URL of the 8x8 API."""
    api_key: Secret
    """the subaccount's API key."""
    requests_per_second: float = Field(default=100.0, gt=0, le=100_000)
    """the rate limit for API requests, retries included."""
    landing: Annotated[str, AfterValidator(landing_url)]
    """where 8x8 pushes recordings."""
    phone_numbers: Literal["drop", "hash", "keep"] = "drop"
    """whether phone numbers are dropped, hashed with a key, or kept, wherever callarchive writes them."""
    phone_hash_key: Secret | None = None
    """the key for `phone_numbers = "hash"`."""
    s3: S3Settings = S3Settings()
    sftp: SftpSettings | None = None
    session_sources: tuple[SessionSource, ...] = Field(min_length=1)
    push: PushSettings | None = None
    webhooks: WebhookSettings | None = None
    push_retention_hours: float = Field(default=24.0, gt=0, le=24 * 365)
    """how long 8x8 keeps a recording that it could not push. The default is an assumption: 8x8 documents none for
    voice."""
    keep_days: Annotated[int, Field(ge=1, le=36_500)] | Literal["forever"] | None = None
    """how many days after the call the account's recordings are kept, or "forever"; by default
    `retention.keep_days`."""

    @property
    def expects_events(self) -> bool:
        """Whether webhook events of the account should arrive: it has webhooks, or a source reads the inbox."""
        return self.webhooks is not None or any(source.kind == "inbox" for source in self.session_sources)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.landing.startswith("sftp:") and self.sftp is None:
            raise ValueError("landing is sftp://: [accounts.sftp] with known_hosts and a login is missing")
        if self.phone_numbers == "hash" and self.phone_hash_key is None:
            raise ValueError('phone_numbers = "hash" needs phone_hash_key = { env = "NAME" }')
        return self

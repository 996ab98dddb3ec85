"""What the configuration says of one 8x8 subaccount: its API, where 8x8 pushes, and who names its sessions."""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from callarchive.domain.identifiers import SUBACCOUNT_PATTERN
from callarchive.settings.sections import S3Settings
from callarchive.settings.sql_text import PARAMETERS, parameters_in, why_refused
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
    """How to log in to an SFTP landing, and which host keys to believe.

    Attributes:
        known_hosts: the server's host keys, as OpenSSH writes them; an unknown or changed key is refused.
        password: one way to log in.
        private_key: the other way: an OpenSSH key file.
        passphrase: of the private key.
        timeout_s: to connect and to log in, seconds.
    """

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


ReachDays = Annotated[float | None, Field(gt=0, le=36_500)]


class LogExportSource(Section):
    """8x8's export job: every call leg of the day.

    Attributes:
        kind: says which source it is.
        reach_days: so many days back it names every session; later it may name fewer without failing sources_complete.
    """

    kind: Literal["log_export"]
    reach_days: ReachDays = None


class FilesSource(Section):
    """Ids in files. `{day}` in the path stands for YYYY-MM-DD; without it rows are dated by themselves.

    Attributes:
        kind: says which source it is.
        path: a file, or s3://bucket/key, that ends in .csv, .txt, .jsonl or .parquet.
        reach_days: so many days back it names every session; later it may name fewer without failing sources_complete.
    """

    kind: Literal["files"]
    path: str = Field(min_length=1)
    reach_days: ReachDays = None

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


class InboxSource(Section):
    """Sessions of which webhook events told.

    Attributes:
        kind: says which source it is.
    """

    kind: Literal["inbox"]


class SqlSource(Section):
    """Sessions that a database of the user's own knows. `:start` and `:end` are the day's bounds in UTC.

    The URL may hold a password, so it may be a secret: { env = "BOOKINGS_URL" }.

    Attributes:
        kind: says which source it is.
        url: of the database, as SQLAlchemy writes it; one with a password must be a secret.
        query: one select that is bound to the day by :start and :end.
        timeout_s: from connecting to the last row, seconds.
        reach_days: so many days back it names every session; later it may name fewer without failing sources_complete.
    """

    kind: Literal["sql"]
    url: SqlUrl
    query: str = Field(min_length=1)
    timeout_s: float = Field(default=300.0, gt=0, le=24 * 3600)
    reach_days: ReachDays = None

    @field_validator("query")
    @classmethod
    def _bound_to_the_day(cls, query: str) -> str:
        refused = why_refused(query)
        if refused is not None:
            raise ValueError(refused)
        known = parameters_in(query)
        lacking = [f":{name}" for name in PARAMETERS if name not in known]
        if lacking:
            raise ValueError(f"must be bound to the day: it lacks {' and '.join(lacking)}")
        return query


SessionSource = Annotated[LogExportSource | FilesSource | InboxSource | SqlSource, Field(discriminator="kind")]


class PushSettings(Section):
    """What 8x8 should be told about where to push recordings.

    Attributes:
        protocol: where 8x8 pushes to.
        host: for S3 the region, for SFTP the server.
        port: means nothing for S3.
        username: for S3 the id of the access key.
        password: for S3 the secret access key.
        path: the folder, or the prefix in the bucket.
    """

    protocol: Literal["S3", "SFTP"]
    host: str = Field(min_length=1)
    port: int = Field(default=22, ge=1, le=65535)
    username: str = Field(min_length=1)
    password: Secret
    path: str = Field(min_length=1)


class WebhookSettings(Section):
    """What 8x8 should be told about where to send events.

    Attributes:
        url: of the receiver for this account, as 8x8 reaches it.
        auth_header: the whole value of `Authorization` that 8x8 sends, and that the receiver asks for.
    """

    url: HttpUrl
    auth_header: Secret | None = None


class AccountSettings(Section):
    """One 8x8 subaccount: its API, where it pushes, and who names its sessions.

    Attributes:
        subaccount_id: as 8x8 gave it.
        api_url: 8x8's API.
        api_key: of the subaccount.
        requests_per_second: never more, retries included.
        landing: where 8x8 pushes.
        phone_numbers: dropped, hashed with a key, or kept: in the catalog and everywhere else that is written.
        phone_hash_key: the key of the hashes.
        push_retention_hours: how long 8x8 keeps a recording that it could not push. 8x8 states none for voice: assumed.
    """

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
    push_retention_hours: float = Field(default=24.0, gt=0, le=24 * 365)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.landing.startswith("sftp:") and self.sftp is None:
            raise ValueError("landing is sftp://, so [accounts.sftp] must say known_hosts and how to log in")
        if self.phone_numbers == "hash" and self.phone_hash_key is None:
            raise ValueError('phone_numbers = "hash" needs phone_hash_key = { env = "NAME" }')
        return self

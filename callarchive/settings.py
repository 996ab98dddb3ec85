"""The configuration: `callarchive.toml`, overridden by environment variables. Settings are read here and nowhere else.

No secret is ever a field value: a `Secret` holds the name of an environment variable or of a file, and its text is
fetched with `reveal()` at the moment of use. So a repr, a traceback or a dump of settings cannot leak one.
"""

import os
import re
import tomllib
from contextvars import ContextVar
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from callarchive.errors import ConfigurationError
from callarchive.identifiers import SUBACCOUNT_PATTERN

CONFIG_VARIABLE = "CALLARCHIVE_CONFIG"
CONFIG_NAME = "callarchive.toml"
_PREFIX = "CALLARCHIVE_"

_base_folder: ContextVar[Path | None] = ContextVar("_base_folder", default=None)
"""What relative paths are relative to while a configuration is validated: the folder of its file."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Secret(_Section):
    """A reference to a secret: the name of an environment variable, or a file that holds nothing else."""

    env: str | None = Field(default=None, min_length=1)
    file: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _never_a_literal(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError('a secret is not written here: use { env = "NAME" } or { file = "path" }')  # noqa: TRY004
        return value

    @model_validator(mode="after")
    def _one_place(self, info: ValidationInfo) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError('name one place: { env = "NAME" } or { file = "path" }')
        if self.file is not None:
            object.__setattr__(self, "file", _absolute(self.file, info))
        return self

    def reveal(self) -> str:
        """The secret's text, without a line end. Raises ConfigurationError when it is not set or empty."""
        if self.env is not None:
            text = os.environ.get(self.env, "")
            place = f"the environment variable {self.env}"
        else:
            place = f"the file {self.file}"
            try:
                text = Path(str(self.file)).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, ValueError) as err:  # a ValueError is text that is no UTF-8, or a NUL in the name
                raise ConfigurationError(f"{place} cannot be read: {type(err).__name__}") from err
        if not text:
            raise ConfigurationError(f"{place} is not set")
        return text


def _absolute(path: Path, info: ValidationInfo) -> Path:
    try:
        return (_base(info) / path.expanduser()).absolute()
    except RuntimeError as err:
        raise ValueError("begins with the home of a user that is not there") from err


def _base(info: ValidationInfo) -> Path:  # noqa: ARG001
    # Not pydantic's validation context: a BaseSettings is validated through its own __init__, which drops it.
    return _base_folder.get() or Path.cwd()


def _split(url: str) -> SplitResult:
    """The URL's parts. urlsplit's own messages are not shown: they repeat the host with the password before it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL: its host or its port is wrong") from None
    return parts


def _store_url(url: str, info: ValidationInfo) -> str:
    """file:///absolute/path or s3://bucket/prefix, without a slash at the end; a bare path is a file."""
    parts = _split(url)
    if parts.scheme == "s3":
        _check_bucket(parts.netloc)
        return url.rstrip("/")
    if parts.scheme not in ("", "file") or parts.netloc:
        raise ValueError("must be file:///absolute/path, a path, or s3://bucket/prefix")
    path = url.removeprefix("file://").removeprefix("file:")
    if not path:
        raise ValueError("names no folder")
    return "file://" + os.path.normpath(_absolute(Path(path), info))


def _check_bucket(name: str) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]", name):
        raise ValueError("names no valid bucket: s3://bucket/prefix")


def _landing_url(url: str) -> str:
    parts = _split(url)
    if parts.scheme == "s3":
        _check_bucket(parts.netloc)
    elif parts.scheme == "sftp":
        if parts.password is not None:
            raise ValueError("holds a password: move it to accounts.sftp.password")
        if not parts.hostname or not parts.username:
            raise ValueError("must name user and host: sftp://user@host:port/path")
    else:
        raise ValueError("must be s3://bucket/prefix or sftp://user@host:port/path")
    if any(part in (".", "..") for part in parts.path.split("/")):
        raise ValueError("its path must not contain . or ..")
    return url.rstrip("/")


def _http_url(url: str) -> str:
    parts = _split(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError("must be http(s)://host[:port], without credentials in it")
    if parts.query or parts.fragment:
        raise ValueError("must end with its path: nothing after ? or #")
    return url.rstrip("/")


def _database_url(url: str, info: ValidationInfo) -> str:
    prefix = "sqlite:///"
    if url.startswith(prefix) and not url.startswith(prefix + ":memory:"):
        return prefix + str(_absolute(Path(url.removeprefix(prefix)), info))
    if "://" not in url:
        raise ValueError("must be a database URL: sqlite:///path or postgresql+psycopg://...")
    if _split(url).password is not None:
        raise ValueError("holds a password: name it in PGPASSWORD or a .pgpass file")
    return url


ConfigPath = Annotated[Path, AfterValidator(_absolute)]
StoreUrl = Annotated[str, AfterValidator(_store_url)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]


class S3Settings(_Section):
    """Overrides of what the AWS chain finds for an S3 endpoint."""

    endpoint_url: HttpUrl | None = None
    region: str | None = None
    profile: str | None = None


class ArchiveSettings(_Section):
    """Where verified recordings are kept."""

    url: StoreUrl
    s3: S3Settings = S3Settings()


class CatalogSettings(_Section):
    """Where the Parquet tables are written."""

    url: StoreUrl
    s3: S3Settings = S3Settings()


class InboxSettings(_Section):
    """Where webhook events are kept."""

    url: Annotated[str, AfterValidator(_database_url)] = Field(default="sqlite:///inbox.sqlite3", validate_default=True)


class SftpSettings(_Section):
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


class TransferSettings(_Section):
    """How recordings are fetched, and when one that cannot be found is called missing."""

    concurrency: int = Field(default=16, ge=1, le=256)
    duration_tolerance_s: float = Field(default=2.0, ge=0, le=3600)
    missing_after_hours: float = Field(default=24.0, ge=0, le=24 * 365)
    attempts: int = Field(default=4, ge=1, le=10)
    stall_timeout_s: float = Field(default=30.0, gt=0, le=3600)
    deadline_s: float = Field(default=900.0, gt=0, le=24 * 3600)


class LookupSettings(_Section):
    """How long 8x8's API is given to answer."""

    concurrency: int = Field(default=32, ge=1, le=512)
    timeout_s: float = Field(default=30.0, gt=0, le=600)
    deadline_s: float = Field(default=120.0, gt=0, le=3600)
    retry_after_max_s: float = Field(default=60.0, ge=0, le=3600)
    export_deadline_s: float = Field(default=1800.0, gt=0, le=24 * 3600)
    recheck: Literal["unsettled", "all"] = "unsettled"


class CheckSettings(_Section):
    """Above which share a day's check fails. 0 means that one is too many."""

    max_failed_lookup_share: float = Field(default=0.01, ge=0, le=1)
    max_failed_recording_share: float = Field(default=0.01, ge=0, le=1)
    max_duration_mismatch_share: float = Field(default=0.05, ge=0, le=1)


class DagsterSettings(_Section):
    """How Dagster runs days."""

    days_per_run: int = Field(default=10, ge=1, le=1000)
    schedule_hour: int = Field(default=4, ge=0, le=23)


class LogExportSource(_Section):
    """8x8's export job: every call leg of the day."""

    kind: Literal["log_export"]


class FilesSource(_Section):
    """Ids in files. `{day}` in the path stands for YYYY-MM-DD; without it rows are dated by themselves."""

    kind: Literal["files"]
    path: str = Field(min_length=1)

    @field_validator("path")
    @classmethod
    def _readable_kind(cls, path: str, info: ValidationInfo) -> str:
        if not path.lower().endswith((".csv", ".txt", ".jsonl", ".parquet")):
            raise ValueError("must end in .csv, .txt, .jsonl or .parquet")
        if path.startswith("s3://"):
            _check_bucket(urlsplit(path).netloc)
            return path
        return str(_absolute(Path(path.removeprefix("file://")), info))

    @property
    def folder(self) -> Path:
        """The folder of a local path, up to the first part that holds `{day}`."""
        return Path(self.path.partition("{day}")[0] + "x").parent


SessionSource = Annotated[LogExportSource | FilesSource, Field(discriminator="kind")]


class PushSettings(_Section):
    """What 8x8 should be told about where to push recordings."""

    protocol: Literal["S3", "SFTP"]
    host: str
    port: int = Field(default=22, ge=1, le=65535)
    username: str
    password: Secret
    path: str


class WebhookSettings(_Section):
    """What 8x8 should be told about where to send events."""

    url: HttpUrl
    auth_header: Secret | None = None


class AccountSettings(_Section):
    """One 8x8 subaccount: its API, where it pushes, and who names its sessions."""

    subaccount_id: str = Field(pattern=SUBACCOUNT_PATTERN)
    api_url: HttpUrl = "https://voice.8x8.com"
    api_key: Secret
    requests_per_second: float = Field(default=100.0, gt=0, le=100_000)
    landing: Annotated[str, AfterValidator(_landing_url)]
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

    def account(self, subaccount_id: str) -> AccountSettings:
        """The account of that id. Raises ConfigurationError when none has it."""
        for account in self.accounts:
            if account.subaccount_id == subaccount_id:
                return account
        raise ConfigurationError(f"no [[accounts]] has subaccount_id {subaccount_id}")

    def require_secrets(self) -> None:
        """Returns when every secret that the main job needs is there.

        Raises:
            ConfigurationError: names every key whose secret is not.
        """
        lacking = []
        for key, secret in _main_job_secrets(self):
            try:
                secret.reveal()
            except ConfigurationError as err:
                lacking.append(f"{key}: {err}")
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


def load_settings(path: Path | str | None = None) -> Settings:
    """The configuration, checked. Secrets are not looked at yet: see `Settings.require_secrets`.

    A `.env` beside the file (or in the working directory) fills in variables that the environment lacks, for the
    whole process, so that AWS credentials in it reach the AWS chain too.

    Args:
        path: the TOML file; null means `CALLARCHIVE_CONFIG`, or `callarchive.toml` in the working directory.

    Raises:
        ConfigurationError: one message that names every key that is unknown, absent or bad.
    """
    named = path or os.environ.get(CONFIG_VARIABLE) or CONFIG_NAME
    try:
        file = Path(named).expanduser().absolute()
        tree = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as err:
        raise ConfigurationError(
            f"there is no configuration at {file}: copy callarchive.example.toml there, or set {CONFIG_VARIABLE}"
        ) from err
    except tomllib.TOMLDecodeError as err:
        raise ConfigurationError(f"{file} is not TOML: {err}") from err
    except (OSError, UnicodeDecodeError, RuntimeError) as err:  # a RuntimeError is the home of a user that is not there
        raise ConfigurationError(f"{named} cannot be read: {err}") from err
    _fill_environment(file.parent)
    overridden = _overlay(tree, _referenced_variables(tree))
    try:
        token = _base_folder.set(file.parent)
        try:
            settings = Settings.model_validate(tree)
        finally:
            _base_folder.reset(token)
    except ValidationError as err:
        raise ConfigurationError(f"{file}:\n" + "\n".join(f"  {line}" for line in _explain(err, overridden))) from None
    settings._path = file
    return settings


def _fill_environment(folder: Path) -> None:
    for env_file in dict.fromkeys((folder / ".env", Path.cwd() / ".env")):
        if not env_file.is_file():
            continue
        try:
            for name, value in dotenv_values(env_file).items():
                if value is not None:
                    os.environ.setdefault(name, value)
        except (OSError, ValueError) as err:  # a ValueError is text that is no UTF-8, or a NUL
            raise ConfigurationError(f"{env_file} cannot be read: {type(err).__name__}") from None


def _referenced_variables(node: Any) -> set[str]:
    """Names in `{ env = "NAME" }` anywhere: such a variable is a secret, whatever its name begins with."""
    if isinstance(node, dict):
        own = {node["env"]} if set(node) == {"env"} and isinstance(node["env"], str) else set()
        return own.union(*(_referenced_variables(child) for child in node.values()))
    if isinstance(node, list):
        return set().union(*(_referenced_variables(child) for child in node))
    return set()


def _overlay(tree: dict[str, Any], secrets: set[str]) -> dict[str, str]:
    """Puts every CALLARCHIVE_SECTION__KEY into the tree; a number stands for a place in a list, counted from 0.

    Returns the key that each variable overrides, and the variable.
    """
    overridden: dict[str, str] = {}
    # CALLARCHIVE_ACCOUNTS__0__API_KEY__ENV names another variable, which is a secret as well.
    secrets = secrets | {
        value for name, value in os.environ.items() if name.startswith(_PREFIX) and name.endswith("__ENV")
    }
    for name in sorted(os.environ):
        if not name.startswith(_PREFIX) or name == CONFIG_VARIABLE or name in secrets:
            continue
        keys = name.removeprefix(_PREFIX).lower().split("__")
        overridden[".".join(keys)] = name
        node: Any = tree
        for depth, key in enumerate(keys):
            last = depth == len(keys) - 1
            if isinstance(node, list):
                if not key.isdecimal() or int(key) >= len(node):
                    raise ConfigurationError(f"{name}: there is no {'.'.join(keys[: depth + 1])} in the configuration")
                position: Any = int(key)
            elif isinstance(node, dict):
                position = key
            else:
                raise ConfigurationError(f"{name}: {'.'.join(keys[:depth])} is a value, not a section")
            if last:
                node[position] = os.environ[name]
            else:
                if isinstance(node, dict):
                    node.setdefault(position, {})
                node = node[position]
    return overridden


def _explain(error: ValidationError, overridden: dict[str, str]) -> list[str]:
    """One line a mistake: the key as it is written in the file, what is wrong with it, the variable if that set it."""
    lines = []
    items = error.errors(include_input=False, include_url=False, include_context=False)
    for item in items:
        # A list whose only item is bad is also reported as too short: the item's own line is enough.
        inside = any(other["loc"][: len(item["loc"])] == item["loc"] and other is not item for other in items)
        if item["type"] == "too_short" and inside:
            continue
        # A discriminated union adds its tag to the location ("session_sources", 0, "files", "path"): not a key.
        location = list(item["loc"])
        if "session_sources" in location:
            tag = location.index("session_sources") + 2
            if tag < len(location) and location[tag] in ("log_export", "files"):
                del location[tag]
        key = ".".join(str(part) for part in location)
        message = {
            "extra_forbidden": "unknown key",
            "missing": "is missing",
        }.get(item["type"], item["msg"].removeprefix("Value error, "))
        if item["type"] == "string_pattern_mismatch" and key.endswith("subaccount_id"):
            message = "must be 3 to 50 characters of A-Z a-z 0-9 - . _ &"
        if item["type"] == "union_tag_invalid":
            message = "must be log_export or files (inbox and sql are not available in this version)"
        if key in overridden:
            message += f" (set by {overridden[key]})"
        lines.append(f"{key}: {message}" if key else message)
    return lines

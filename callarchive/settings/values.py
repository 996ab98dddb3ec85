"""Types of single values: secrets by reference, URLs, paths relative to the configuration file."""

import ipaddress
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import SplitResult, parse_qs, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationInfo, model_validator

from callarchive.domain.errors import ConfigurationError

BASE_FOLDER = "base_folder"  # the key of the folder of the configuration file in the validation context


class Section(BaseModel):
    """A section of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


FROM_DOTENV: dict[str, tuple[Path, str]] = {}
"""The variables that a `.env` set in this process's environment: its path, and the value."""


class Secret(Section):
    """A reference to a secret: the name of an environment variable, or a file that contains only the secret."""

    env: str | None = Field(default=None, min_length=1)
    file: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _never_a_literal(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError('secrets are not allowed in the configuration: use { env = "NAME" } or { file = "path" }')  # noqa: TRY004
        return value

    @model_validator(mode="after")
    def _one_place(self, info: ValidationInfo) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError('set one of { env = "NAME" } or { file = "path" }')
        if self.file is not None:
            object.__setattr__(self, "file", absolute_path(self.file, info))
        return self

    @property
    def place(self) -> str:
        """Where the secret is, for messages: "NAME", "NAME in /etc/callarchive/.env", or the path of its file."""
        file, value = FROM_DOTENV.get(self.env or "", (None, None))
        if file is not None and os.environ.get(str(self.env)) == value:
            return f"{self.env} in {file}"
        return str(self.env or self.file)

    def reveal(self) -> str:
        """Return the secret, without a trailing newline. Raises ConfigurationError if it is unset or empty."""
        if self.env is not None:
            text = os.environ.get(self.env, "")
            place = f"the environment variable {self.env}"
        else:
            place = f"the file {self.file}"
            try:
                text = Path(str(self.file)).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, ValueError) as err:  # ValueError: not UTF-8, or a NUL in the name
                raise ConfigurationError(f"{place} cannot be read: {type(err).__name__}") from err
        if not text:
            raise ConfigurationError(f"{place} is not set")
        return text

    def doubt(self) -> str | None:
        """Return what looks wrong with the secret, although it may be right; `None` without a doubt."""
        text = self.reveal()
        name = self.place
        if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
            return f"the value of {name} begins and ends with a quotation mark, which is sent as a part of it"
        if text != text.strip():
            return f"the value of {name} begins or ends with white space, which is sent as a part of it"
        return None


def unset_secrets(secrets: Iterable[tuple[str, Secret | None]]) -> list[str]:
    """Return "key: reason" for each of these secrets that is not set. None is a secret that is not configured."""
    problems = []
    for key, secret in secrets:
        if secret is not None:
            try:
                secret.reveal()
            except ConfigurationError as err:
                problems.append(f"{key}: {err}")
    return problems


def absolute_path(path: Path, info: ValidationInfo) -> Path:
    """Resolve a path relative to the configuration file, `~` included."""
    try:
        base: Path = (info.context or {}).get(BASE_FOLDER, Path())
        return (base / path.expanduser()).absolute()
    except RuntimeError as err:
        raise ValueError("begins with ~ and the name of an unknown user") from err


def split_url(url: str) -> SplitResult:
    """Split the URL. urlsplit's own messages are not shown: they contain the password."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a valid URL: invalid host or port") from None
    return parts


def store_url(url: str, info: ValidationInfo) -> str:
    """Return file:///absolute/path or s3://bucket/prefix without a trailing slash. A plain path is a file."""
    parts = split_url(url)
    if parts.scheme == "s3":
        check_bucket(parts.netloc)
        return url.rstrip("/")
    if parts.scheme not in ("", "file") or parts.netloc:
        raise ValueError("must be file:///absolute/path, a path, or s3://bucket/prefix")
    path = url.removeprefix("file://").removeprefix("file:")
    if not path:
        raise ValueError("is missing a path")
    return "file://" + os.path.normpath(absolute_path(Path(path), info))


def check_bucket(name: str) -> None:
    """Raise ValueError if no S3 bucket can have this name."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]", name):
        raise ValueError("names no valid bucket: must be s3://bucket/prefix")


def landing_url(url: str) -> str:
    """Return the URL of a landing without a trailing slash."""
    parts = split_url(url)
    if parts.scheme == "s3":
        check_bucket(parts.netloc)
    elif parts.scheme == "sftp":
        if parts.password is not None:
            raise ValueError("contains a password: move it to accounts.sftp.password")
        if not parts.hostname or not parts.username:
            raise ValueError("is missing the user or the host: write user@host:port/path after sftp://")
    else:
        raise ValueError("must be s3://bucket/prefix, or sftp:// followed by user@host:port/path")
    if any(part in (".", "..") for part in parts.path.split("/")):
        raise ValueError("the path must not contain . or ..")
    return url.rstrip("/")


def http_url(url: str) -> str:
    """Return the base URL of an HTTP server without a trailing slash."""
    parts = split_url(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError("must be http(s)://host[:port], without credentials")
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or a fragment")
    return url.rstrip("/")


def database_url(url: str, info: ValidationInfo) -> str:
    """Return a SQLAlchemy URL without a password; the path of a SQLite file is made absolute."""
    prefix = "sqlite:///"
    if url.startswith(prefix) and not url.startswith(prefix + ":memory:"):
        return prefix + str(absolute_path(Path(url.removeprefix(prefix)), info))
    if "://" not in url:
        raise ValueError("must be a database URL: sqlite:///path or postgresql://...")
    parts = split_url(url)
    if parts.password is not None or "password" in parse_qs(parts.query):
        raise ValueError("contains a password: use PGPASSWORD or a .pgpass file")
    return url


def inbox_url(url: str, info: ValidationInfo) -> str:
    """Return the URL of a SQLite or PostgreSQL database."""
    if url.partition("://")[0].partition("+")[0] not in ("sqlite", "postgresql", "postgres"):
        raise ValueError("must be sqlite:///path or postgresql://user@host/database")
    return database_url(url, info)


EIGHT_BY_EIGHT = {"8x8-singapore": ("18.140.80.2", "52.220.253.234", "54.255.116.8", "52.74.232.241")}
"""The addresses that 8x8 sends webhook events from, by their name in the configuration."""


def address_range(text: str) -> str:
    """Return an address, a network, or a name in `EIGHT_BY_EIGHT`."""
    if text in EIGHT_BY_EIGHT:
        return text
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        names = ", ".join(EIGHT_BY_EIGHT)
        raise ValueError(f"must be an address, a network such as 203.0.113.0/24, or one of {names}") from None


def mail_address(text: str) -> str:
    """Return a mail address."""
    if not re.fullmatch(r"[^@\s<>,;]+@[^@\s<>,;]+", text):
        raise ValueError("must be a mail address: name@host")
    return text


ConfigPath = Annotated[Path, AfterValidator(absolute_path)]
StoreUrl = Annotated[str, AfterValidator(store_url)]
HttpUrl = Annotated[str, AfterValidator(http_url)]
DatabaseUrl = Annotated[str, AfterValidator(database_url)]


def _literal_or_secret(value: Any) -> str:
    return WRITTEN_OUT if isinstance(value, str) else REFERENCE


WRITTEN_OUT, REFERENCE = "(written out)", "(reference)"
"""How pydantic names the two alternatives in the location of an error; they are no keys of the file."""

SqlUrl = Annotated[
    Annotated[DatabaseUrl, Tag(WRITTEN_OUT)] | Annotated[Secret, Tag(REFERENCE)], Discriminator(_literal_or_secret)
]
SecretHttpUrl = Annotated[
    Annotated[HttpUrl, Tag(WRITTEN_OUT)] | Annotated[Secret, Tag(REFERENCE)], Discriminator(_literal_or_secret)
]

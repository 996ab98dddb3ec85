"""What a single value may be: secrets by reference, places, paths relative to the configuration's folder."""

import ipaddress
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import SplitResult, parse_qs, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    model_validator,
)

from callarchive.domain.errors import ConfigurationError

BASE_FOLDER = "base_folder"
"""The key in the validation context of the folder that relative paths are relative to."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Secret(Section):
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
            object.__setattr__(self, "file", absolute_path(self.file, info))
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


def unset_secrets(secrets: Iterable[tuple[str, Secret | None]]) -> list[str]:
    """Key and reason of each of these secrets that is not set, as errors tell it. A null is a secret that nobody wants."""
    lacking = []
    for key, secret in secrets:
        if secret is not None:
            try:
                secret.reveal()
            except ConfigurationError as err:
                lacking.append(f"{key}: {err}")
    return lacking


def absolute_path(path: Path, info: ValidationInfo) -> Path:
    try:
        base: Path = (info.context or {}).get(BASE_FOLDER, Path())
        return (base / path.expanduser()).absolute()
    except RuntimeError as err:
        raise ValueError("begins with the home of a user that is not there") from err


def split_url(url: str) -> SplitResult:
    """The URL's parts. urlsplit's own messages are not shown: they repeat the host with the password before it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL: its host or its port is wrong") from None
    return parts


def store_url(url: str, info: ValidationInfo) -> str:
    """file:///absolute/path or s3://bucket/prefix, without a slash at the end; a bare path is a file."""
    parts = split_url(url)
    if parts.scheme == "s3":
        check_bucket(parts.netloc)
        return url.rstrip("/")
    if parts.scheme not in ("", "file") or parts.netloc:
        raise ValueError("must be file:///absolute/path, a path, or s3://bucket/prefix")
    path = url.removeprefix("file://").removeprefix("file:")
    if not path:
        raise ValueError("names no folder")
    return "file://" + os.path.normpath(absolute_path(Path(path), info))


def check_bucket(name: str) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]", name):
        raise ValueError("names no valid bucket: s3://bucket/prefix")


def landing_url(url: str) -> str:
    parts = split_url(url)
    if parts.scheme == "s3":
        check_bucket(parts.netloc)
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


def http_url(url: str) -> str:
    parts = split_url(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError("must be http(s)://host[:port], without credentials in it")
    if parts.query or parts.fragment:
        raise ValueError("must end with its path: nothing after ? or #")
    return url.rstrip("/")


def database_url(url: str, info: ValidationInfo) -> str:
    prefix = "sqlite:///"
    if url.startswith(prefix) and not url.startswith(prefix + ":memory:"):
        return prefix + str(absolute_path(Path(url.removeprefix(prefix)), info))
    if "://" not in url:
        raise ValueError("must be a database URL: sqlite:///path or postgresql://...")
    parts = split_url(url)
    if parts.password is not None or "password" in parse_qs(parts.query):
        raise ValueError("holds a password: name it in PGPASSWORD or a .pgpass file")
    return url


def inbox_url(url: str, info: ValidationInfo) -> str:
    if url.partition("://")[0].partition("+")[0] not in ("sqlite", "postgresql", "postgres"):
        raise ValueError("must be sqlite:///path or postgresql://user@host/database")
    return database_url(url, info)


EIGHT_BY_EIGHT = {"8x8-singapore": ("18.140.80.2", "52.220.253.234", "54.255.116.8", "52.74.232.241")}
"""The addresses that 8x8 sends webhook events from, by the name that stands for them in the configuration."""


def address_range(text: str) -> str:
    """An address, a network, or a name in `EIGHT_BY_EIGHT`."""
    if text in EIGHT_BY_EIGHT:
        return text
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        names = ", ".join(EIGHT_BY_EIGHT)
        raise ValueError(f"is no address, no network such as 203.0.113.0/24, and none of {names}") from None


def mail_address(text: str) -> str:
    if not re.fullmatch(r"[^@\s<>,;]+@[^@\s<>,;]+", text):
        raise ValueError("is no mail address: name@host")
    return text


ConfigPath = Annotated[Path, AfterValidator(absolute_path)]
StoreUrl = Annotated[str, AfterValidator(store_url)]
HttpUrl = Annotated[str, AfterValidator(http_url)]
DatabaseUrl = Annotated[str, AfterValidator(database_url)]


def _literal_or_secret(value: Any) -> str:
    return WRITTEN_OUT if isinstance(value, str) else REFERENCE


WRITTEN_OUT, REFERENCE = "(written out)", "(reference)"
"""What pydantic calls the two in the place of a mistake: no keys of the file."""

SqlUrl = Annotated[
    Annotated[DatabaseUrl, Tag(WRITTEN_OUT)] | Annotated[Secret, Tag(REFERENCE)], Discriminator(_literal_or_secret)
]
SecretHttpUrl = Annotated[
    Annotated[HttpUrl, Tag(WRITTEN_OUT)] | Annotated[Secret, Tag(REFERENCE)], Discriminator(_literal_or_secret)
]

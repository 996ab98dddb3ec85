"""A configuration in the making: each value is validated when it is set, and the result is a commented TOML file."""

import copy
import io
import json
import re
import tomllib
from collections.abc import Mapping
from datetime import date
from itertools import chain, count
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError

from callarchive.domain.errors import ConfigurationError
from callarchive.settings.accounts import AccountSettings
from callarchive.settings.configuration import Settings
from callarchive.settings.loading import explain, referenced_variables
from callarchive.settings.values import BASE_FOLDER

_PLACEHOLDERS: dict[str, Any] = {
    "start_date": "2026-01-01",
    "archive": {"url": "unset-a"},
    "catalog": {"url": "unset-c"},
}
_ACCOUNT_PLACEHOLDERS: dict[str, Any] = {
    "subaccount_id": "not-yet-set",
    "api_key": {"env": "UNSET"},
    "landing": "s3://unset",
    "session_sources": [{"kind": "log_export"}],
}
_TOP = ("timezone", "start_date", "archive", "catalog")
_COMMENTS = {
    "timezone": "days begin and end in this zone; a catalog's zone cannot be changed later",
    "start_date": "first day that Dagster offers",
    "archive": "verified recordings",
    "catalog": "Parquet tables",
    "api_key": "secrets are references: the variable is in .env, or in the environment",
    "landing": "where 8x8 pushes recordings",
    "session_sources": "where the day's session ids come from; more kinds: docs/session-sources.md",
}
_COMMENT_COLUMN = 38
_HEAD = (
    "# Written by `callarchive init`. callarchive.example.toml has all keys. After each change: callarchive doctor\n"
)
_PLAIN = re.compile(r"[\w./+=@:,-]+", re.ASCII)


class Draft:
    """The values that were set so far. With the text of an existing configuration, it is that with one more account.

    Raises ConfigurationError if the existing configuration is valid only with variables of the environment.

    Attributes:
        secrets: the variables for `.env`.
    """

    def __init__(self, folder: Path, existing: str | None = None) -> None:
        self.secrets: dict[str, str] = {}
        self._folder = folder
        self._existing = existing
        self._tree = copy.deepcopy(_PLACEHOLDERS) if existing is None else _parsed(existing)
        self._tree["accounts"] = [*self._tree.get("accounts", ()), copy.deepcopy(_ACCOUNT_PLACEHOLDERS)]
        try:
            self._validate()
        except ConfigurationError as err:
            raise ConfigurationError(
                f"the file is not valid without variables of the environment, so add the account by hand: {err}"
            ) from None

    def put(self, key: str, value: object) -> None:
        """Set a top-level key or a section's, such as archive.url; a date and a dict are values too.

        Raises ConfigurationError with the reason if the value is invalid.
        """
        self._put(key, key, self._tree, value)

    def put_account(self, key: str, value: object) -> None:
        """Set a key of the account. `None` removes it. Raises ConfigurationError with the reason if the value is invalid."""
        accounts = self._tree["accounts"]
        self._put(key, f"accounts.{len(accounts) - 1}.{key}", accounts[-1], value)

    def account(self) -> AccountSettings:
        """Return the account, with placeholders for what was not set yet."""
        return Settings.model_validate(self._tree, context={BASE_FOLDER: self._folder}).accounts[-1]

    def _put(self, key: str, full_key: str, section: dict[str, Any], value: object) -> None:
        before = copy.deepcopy(section)
        *path, name = key.split(".")
        inner = section
        for part in path:
            inner = inner.setdefault(part, {})
        inner[name] = value
        if value is None:
            del inner[name]
        try:
            self._validate(full_key)
        except ConfigurationError:
            section.clear()
            section.update(before)
            raise

    def _validate(self, key: str | None = None) -> None:
        try:
            Settings.model_validate(self._tree, context={BASE_FOLDER: self._folder})
        except ValidationError as err:
            reasons = [line.partition(": ")[2] if key and line.startswith(key) else line for line in explain(err)]
            raise ConfigurationError("; ".join(reasons)) from None

    def toml(self) -> str:
        """Return the whole text of the file. Raises ConfigurationError if the account cannot be added to an existing one."""
        account = self._tree["accounts"][-1]
        if self._existing is None:
            text = _HEAD + "".join(_lines(self._tree, _TOP)) + "\n[[accounts]]\n" + _account_text(account)
        else:
            text = self._existing.rstrip("\n") + "\n\n[[accounts]]\n" + _account_text(account)
        unwritable = "an answer cannot be written as TOML: edit a copy of callarchive.example.toml"
        try:
            written = _parsed(text)
        except tomllib.TOMLDecodeError as err:
            inline = "an account cannot be appended to it: write accounts as [[accounts]] sections"
            raise ConfigurationError(f"{unwritable if self._existing is None else inline} ({err})") from None
        if written["accounts"] != self._tree["accounts"] or not _is_utf8(text):
            raise ConfigurationError(unwritable)
        return text

    def variable(self, secret: str) -> str:
        """Return the environment variable of a secret of the account; numbered if another account has one of that name."""
        *others, account = self._tree["accounts"]
        name, taken = variable_name(account["subaccount_id"], secret), referenced_variables(others)
        numbered = (f"{name}_{number}" for number in count(2))
        return next(one for one in chain((name,), numbered) if one not in taken)

    def dotenv(self, existing: str = "") -> str:
        """Return the text of `.env`: what is there, and the secrets that are not.

        Raises ConfigurationError if a secret cannot be read back from it.
        """
        text = existing if not existing or existing.endswith("\n") else f"{existing}\n"
        held = _dotenv_values(existing)
        for name, value in self.secrets.items():
            if not held.get(name):
                text += f"{name}={_dotenv_value(value)}\n"
            elif held[name] != value:
                raise ConfigurationError(f".env has another value of {name}: remove that line, or unset the variable")
        written = _dotenv_values(text) if _is_utf8(text) else {}
        for name, value in self.secrets.items():
            if written.get(name) != value:
                reason = "cannot be read back from .env, because of its characters or of a line before it"
                raise ConfigurationError(f"the value of {name} {reason}: save it to a file, and pass the file")
        return text


def variable_name(subaccount_id: str, secret: str) -> str:
    """Return the environment variable of an account's secret: ACME_SG_API_KEY for acme_sg and API_KEY."""
    name = re.sub(r"\W", "_", subaccount_id, flags=re.ASCII).upper()
    return f"{'_' if name[:1].isdigit() else ''}{name}_{secret}"


def _parsed(text: str) -> dict[str, Any]:
    return tomllib.loads(text.removeprefix("\ufeff"))


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _dotenv_values(text: str) -> Mapping[str, str | None]:
    """Return what is read from a file with this text, whose line ends are translated."""
    return dotenv_values(stream=io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8"))


def _account_text(account: Mapping[str, Any]) -> str:
    scalars = [name for name in ("subaccount_id", "api_url", "api_key", "landing") if name in account]
    text = "".join(_line(name, account[name]) for name in scalars)
    for name in ("s3", "sftp"):
        if name in account:
            text += f"\n[accounts.{name}]\n" + "".join(_line(key, value) for key, value in account[name].items())
    for source in account["session_sources"]:
        text += "\n" + _heading("[[accounts.session_sources]]", _COMMENTS["session_sources"])
        text += "".join(_line(key, value) for key, value in source.items())
    return text


def _lines(tree: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    """Return the lines of top-level keys, then of sections with a scalar or a subsection in a line."""
    lines = []
    for name in names:
        value = tree.get(name)
        if isinstance(value, dict):
            lines.append("\n" + _heading(f"[{name}]", _COMMENTS[name]))
            lines += [_line(key, inner) for key, inner in value.items()]
        elif value is not None:
            lines.append(_line(name, value))
    return lines


def _heading(text: str, comment: str) -> str:
    return f"{text:<{_COMMENT_COLUMN}}  # {comment}\n"


def _line(name: str, value: object) -> str:
    text = f"{name} = {_value(value)}"
    return _heading(text, _COMMENTS[name]) if name in _COMMENTS else f"{text}\n"


def _value(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def _dotenv_value(value: str) -> str:
    """Return the value as it is if shells and `docker --env-file` would read it alike, else in quotation marks."""
    if _PLAIN.fullmatch(value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"

"""A configuration in the making: each value is validated when it is set, and the result is a commented TOML file."""

import copy
import io
import json
import re
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError

from callarchive.domain.errors import ConfigurationError
from callarchive.settings.configuration import Settings
from callarchive.settings.loading import explain
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

    Attributes:
        secrets: the variables for `.env`.
    """

    def __init__(self, folder: Path, existing: str | None = None) -> None:
        self.secrets: dict[str, str] = {}
        self._folder = folder
        self._existing = existing
        self._tree = copy.deepcopy(_PLACEHOLDERS) if existing is None else tomllib.loads(existing)
        self._tree["accounts"] = [*self._tree.get("accounts", ()), copy.deepcopy(_ACCOUNT_PLACEHOLDERS)]

    def put(self, key: str, value: object) -> None:
        """Set a top-level key or a section's, such as archive.url; a date and a dict are values too.

        Raises ConfigurationError with the reason if the value is invalid.
        """
        self._put(key, key, self._tree, value)

    def put_account(self, key: str, value: object) -> None:
        """Set a key of the account. `None` removes it. Raises ConfigurationError with the reason if the value is invalid."""
        accounts = self._tree["accounts"]
        self._put(key, f"accounts.{len(accounts) - 1}.{key}", accounts[-1], value)

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

    def _validate(self, key: str) -> None:
        try:
            Settings.model_validate(self._tree, context={BASE_FOLDER: self._folder})
        except ValidationError as err:
            reasons = [line.partition(": ")[2] if line.startswith(key) else line for line in explain(err)]
            raise ConfigurationError("; ".join(reasons)) from None

    def toml(self) -> str:
        """Return the whole text of the file. Raises ConfigurationError if the account cannot be added to an existing one."""
        account = self._tree["accounts"][-1]
        if self._existing is None:
            text = _HEAD + "".join(_lines(self._tree, _TOP)) + "\n[[accounts]]\n" + _account_text(account)
        else:
            text = self._existing.rstrip("\n") + "\n\n[[accounts]]\n" + _account_text(account)
        try:
            written = tomllib.loads(text)
        except tomllib.TOMLDecodeError as err:
            reason = "an account cannot be appended to it: write accounts as [[accounts]] sections"
            raise ConfigurationError(f"{reason} ({err})") from None
        if written["accounts"] != self._tree["accounts"]:
            raise ConfigurationError("an answer cannot be written as TOML: edit a copy of callarchive.example.toml")
        return text

    def dotenv(self, existing: str = "") -> str:
        """Return the text of `.env`: what is there, and the secrets that are not.

        Raises ConfigurationError if a secret cannot be read back from it.
        """
        text = existing if not existing or existing.endswith("\n") else f"{existing}\n"
        for name, value in self.secrets.items():
            if name in dotenv_values(stream=io.StringIO(existing)):
                continue
            line = f"{name}={_dotenv_value(value)}\n"
            if dotenv_values(stream=io.StringIO(line)) != {name: value}:
                reason = "has characters that .env cannot hold: save it to a file, and pass the file"
                raise ConfigurationError(f"the value of {name} {reason}")
            text += line
        return text


def variable_name(subaccount_id: str, secret: str) -> str:
    """Return the environment variable of an account's secret: ACME_SG_API_KEY for acme_sg and API_KEY."""
    name = re.sub(r"\W", "_", subaccount_id, flags=re.ASCII).upper()
    return f"{'_' if name[:1].isdigit() else ''}{name}_{secret}"


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

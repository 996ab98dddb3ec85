"""Reads the file and the environment, merges them, and reports all mistakes in one error."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from dotenv import dotenv_values
from pydantic import ValidationError

from callarchive.domain.errors import ConfigurationError
from callarchive.domain.mistakes import did_you_mean
from callarchive.runtime.time_zones import PATH_VARIABLE, follow_path_variable
from callarchive.settings.configuration import Settings
from callarchive.settings.values import BASE_FOLDER, FROM_DOTENV, REFERENCE, WRITTEN_OUT, Section

CONFIG_VARIABLE = "CALLARCHIVE_CONFIG"
CONFIG_NAME = "callarchive.toml"
_PREFIX = "CALLARCHIVE_"
_SOURCE_KINDS = ("log_export", "inbox", "files", "sql")
_MESSAGES = {
    "extra_forbidden": "unknown key",
    "missing": "is missing",
    "union_tag_invalid": f"must be one of {', '.join(_SOURCE_KINDS)}",
}


def load_settings(path: Path | str | None = None) -> Settings:
    """Read and validate the configuration. Secrets are not read: see `Settings.require_secrets`.

    A `.env` beside the file (or in the working directory) sets variables that are not in the environment, for the whole
    process, so that AWS credentials in it reach the AWS chain too. The default path is in `CALLARCHIVE_CONFIG`, else
    `callarchive.toml` in the working directory. Raises ConfigurationError: all unknown, missing and invalid keys.
    """
    file = configuration_file(path)
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as err:
        raise ConfigurationError(
            f"no configuration at {file}: write one with callarchive init, or set {CONFIG_VARIABLE}"
        ) from err
    except tomllib.TOMLDecodeError as err:
        raise ConfigurationError(f"{file} is not valid TOML: {err}") from err
    except IsADirectoryError as err:
        raise ConfigurationError(
            f"{file} cannot be read: it is a folder; name the file in it, such as {file / CONFIG_NAME}"
        ) from err
    except UnicodeDecodeError as err:
        raise ConfigurationError(f"{file} cannot be read: byte {err.start + 1} is not UTF-8; save it as UTF-8") from err
    except (OSError, ValueError) as err:  # ValueError: a NUL in the name
        raise ConfigurationError(f"{file} cannot be read: {getattr(err, 'strerror', None) or err}") from err
    _fill_environment(file.parent)
    overridden = _overlay(tree, referenced_variables(tree))
    try:
        settings = Settings.model_validate(tree, context={BASE_FOLDER: file.parent})
    except ValidationError as err:
        raise ConfigurationError(f"{file}:\n" + "\n".join(f"  {line}" for line in explain(err, overridden))) from None
    settings._path = file  # noqa: SLF001 - set here alone, after validation
    return settings


def configuration_file(path: Path | str | None = None) -> Path:
    """Return the absolute path of the configuration: the given one, else `CALLARCHIVE_CONFIG`'s, else the default."""
    named = path or os.environ.get(CONFIG_VARIABLE) or CONFIG_NAME
    try:
        return Path(named).expanduser().absolute()
    except RuntimeError as err:  # ~user, and there is no such user
        raise ConfigurationError(f"{named} cannot be read: {err}") from err


def _fill_environment(folder: Path) -> None:
    path_was_set = PATH_VARIABLE in os.environ
    for env_file in dict.fromkeys((folder / ".env", Path.cwd() / ".env")):
        if not env_file.is_file():
            continue
        try:
            for name, value in dotenv_values(env_file).items():
                if value is not None and name not in os.environ:
                    os.environ[name] = value
                    FROM_DOTENV[name] = env_file, value
        except (OSError, ValueError) as err:  # ValueError: not UTF-8, or a NUL
            raise ConfigurationError(f"{env_file} cannot be read: {type(err).__name__}") from None
    if PATH_VARIABLE in os.environ and not path_was_set:
        follow_path_variable()


def referenced_variables(node: Any) -> set[str]:
    """Return the names in every `{ env = "NAME" }`: secrets, even if they begin with our prefix."""
    if isinstance(node, dict):
        own = {node["env"]} if set(node) == {"env"} and isinstance(node["env"], str) else set()
        return own.union(*(referenced_variables(child) for child in node.values()))
    if isinstance(node, list):
        return set().union(*(referenced_variables(child) for child in node))
    return set()


def _overlay(tree: dict[str, Any], secrets: set[str]) -> dict[str, str]:
    """Write every CALLARCHIVE_SECTION__KEY into the tree, numbers being indexes. Return the variables by their keys."""
    overridden: dict[str, str] = {}
    # CALLARCHIVE_ACCOUNTS__0__API_KEY__ENV names another variable, which is a secret too.
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


def explain(error: ValidationError, overridden: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Return a line per mistake: the key as in the file, the reason, and the variable if one set it."""
    lines = []
    items = error.errors(include_input=False, include_url=False, include_context=False)
    for item in items:
        # pydantic also reports a list whose only item is invalid as too short.
        inside = any(other["loc"][: len(item["loc"])] == item["loc"] and other is not item for other in items)
        if item["type"] == "too_short" and inside:
            continue
        key = _key_of(item["loc"])
        message = _MESSAGES.get(item["type"], item["msg"].removeprefix("Value error, "))
        if item["type"] == "string_pattern_mismatch" and key.endswith("subaccount_id"):
            message = "must be 3 to 50 characters of A-Z a-z 0-9 - . _ &"
        if item["type"] == "extra_forbidden":
            message += _intended_key(key)
        variable = next((name for path, name in overridden.items() if f"{path}.".startswith(f"{key}.")), None)
        if variable is not None and (key in overridden or item["type"] == "extra_forbidden"):
            message += f" (set by {variable})"
        lines.append(f"{key}: {message}" if key else message)
    return lines


def _intended_key(key: str) -> str:
    """Return which key was probably meant: a similar one of the section, else the same one of another section."""
    *section, given = [part for part in key.split(".") if not part.isdecimal()]
    keys: dict[str, set[str]] = {}
    for path, name in _keys_of(Settings):
        keys.setdefault(path, set()).add(name)
    near = did_you_mean(given, keys.get(".".join(section), ()))
    owners = [path for path, names in keys.items() if given in names and path != ".".join(section)]
    if near or len(owners) != 1:
        return near
    return f"; it belongs in [{owners[0]}]" if owners[0] else "; it belongs at the top, before the first [section]"


def _keys_of(model: type[Section], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the section, "" for the top level, and the name of every key."""
    for name, field in model.model_fields.items():
        yield path, name
        for section in _sections_in(field.annotation):
            yield from _keys_of(section, f"{path}.{name}".removeprefix("."))


def _sections_in(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections_in(inner)


def _key_of(location: tuple[int | str, ...]) -> str:
    """Return the key as in the file, without the tags that pydantic adds for unions: session_sources.0.files.path."""
    parts = [part for part in location if part not in (WRITTEN_OUT, REFERENCE)]
    if "session_sources" in parts:
        tag = parts.index("session_sources") + 2
        if tag < len(parts) and parts[tag] in _SOURCE_KINDS:
            del parts[tag]
    return ".".join(map(str, parts))

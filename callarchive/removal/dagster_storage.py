"""Removes ids from what Dagster keeps: events, check results, ticks, logs. Its history of runs and materializations stays.

Dagster is not imported, and may be running.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callarchive.domain.errors import ConfigurationError, StoreError
from callarchive.removal.id_masking import IdMask
from callarchive.settings import Settings

if TYPE_CHECKING:
    import sqlalchemy as sa

HOME_VARIABLE = "DAGSTER_HOME"
_CONFIG_NAME = "dagster.yaml"
_NOTE_NAME = "catalog-url"  # `make ui` writes it
_HOME_NAMES = (".dagster", "dagster")  # of `make ui`: for a configured archive, and for the demo
_FILES = (
    *(f"{folder}/**/*" for folder in ("history", "schedules", "storage", "logs", ".logs_queue", ".telemetry")),
    *("*.db", "runs/*.db", "*/compute_logs/*"),  # in a folder that dagster.yaml names for one of them
)
_SECTIONS = (
    "storage",
    "run_storage",
    "event_log_storage",
    "schedule_storage",
    "compute_logs",
    "local_artifact_storage",
)
_LOCAL = ("base_dir", "local_dir")
_REMOTE = ("bucket", "container", "mysql_url", "mysql_db")
_SQLITE = b"SQLite format 3\0"
_OF_SQLITE = ("-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class DagsterTraces:
    """What was removed from Dagster's storage.

    Attributes:
        values: values in its databases in which ids were replaced.
        files: log files in which ids were replaced.
        out_of_reach: what it keeps where ids were not searched for.
    """

    values: int = 0
    files: int = 0
    out_of_reach: tuple[str, ...] = ()


def dagster_home(settings: Settings) -> Path | None:
    """Return `DAGSTER_HOME`, else the home that `make ui` made for this catalog, else None."""
    if named := os.environ.get(HOME_VARIABLE):
        return Path(named).expanduser().absolute()
    folders = [Path.cwd()] if settings.path is None else [Path.cwd(), settings.path.parent]
    for note in (folder / name / _NOTE_NAME for folder in folders for name in _HOME_NAMES):
        if note.is_file() and note.read_text(encoding="utf-8", errors="replace").strip() == settings.catalog.url:
            return note.parent
    return None


def erase_from_dagster(home: Path, ids: Collection[str]) -> DagsterTraces:
    """Replace the ids, UUIDs of sessions and recordings, in all that Dagster keeps. Repeating it changes nothing.

    Raises:
        ConfigurationError: `home` is not a folder, or its `dagster.yaml` is not valid or names a variable that is not set.
        StoreError: a file or database cannot be read or written.
    """
    if not home.is_dir():
        raise ConfigurationError(f"Dagster's home {home} is not a folder: correct {HOME_VARIABLE}")
    mask, places = IdMask(ids), _places(home)
    values = files = 0
    for path in sorted({path for folder in places.folders for name in _FILES for path in folder.glob(name)}):
        try:
            if not path.is_file():
                continue
            if _is_sqlite(path):
                from callarchive.removal.masked_databases import mask_sqlite

                values += mask_sqlite(path, mask)
            elif not path.name.endswith(_OF_SQLITE):
                files += mask.mask_file(path)
        except FileNotFoundError:  # Dagster removed it
            continue
        except OSError as err:
            raise StoreError(f"{path}: {err.strerror}: run this as the user that Dagster runs as") from err
    for url in places.databases:
        from callarchive.removal.masked_databases import mask_postgresql

        values += mask_postgresql(url, mask)
    return DagsterTraces(values, files, places.out_of_reach)


@dataclass(frozen=True, slots=True)
class _Places:
    """Folders with files of Dagster, PostgreSQL databases, and what is kept elsewhere by `dagster.yaml`."""

    folders: tuple[Path, ...]
    databases: "tuple[sa.URL, ...]"
    out_of_reach: tuple[str, ...]


def _places(home: Path) -> _Places:
    config = home / _CONFIG_NAME
    folders, databases, out_of_reach = [home], {}, []
    for section, values in _sections(config):
        folders += [home / _text(values[name], config) for name in _LOCAL if name in values]
        if "postgres_url" in values or "postgres_db" in values:
            url = _database_url(values, config)
            databases[url.render_as_string(hide_password=False)] = url
        if any(name in values for name in _REMOTE):
            out_of_reach.append(f"{section} of {config}")
    return _Places(tuple(folders), tuple(databases.values()), tuple(out_of_reach))


def _sections(config: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the mappings in the sections about storage, at any depth, with the name of the section."""
    import yaml

    try:
        tree = yaml.safe_load(config.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:  # Dagster uses its defaults
        return
    except (OSError, ValueError, yaml.YAMLError) as err:
        raise ConfigurationError(f"{config} cannot be read: {type(err).__name__}: correct it") from err
    found = [(name, tree.get(name)) for name in _SECTIONS] if isinstance(tree, dict) else []
    for section, values in found:
        if isinstance(values, dict):
            yield section, values
            found += [(section, value) for value in values.values()]


def _database_url(values: Mapping[str, Any], config: Path) -> "sa.URL":
    """Return the URL that dagster-postgres makes of the section."""
    import sqlalchemy as sa

    from callarchive.settings.database_urls import DRIVER_OF_POSTGRESQL, parse_database_url

    try:
        if "postgres_url" in values:
            return parse_database_url(_text(values["postgres_url"], config))
        parts = {name: _text(value, config) for name, value in values["postgres_db"].items() if name != "params"}
        port = int(parts.get("port", 5432))
        query = {name: str(value) for name, value in values["postgres_db"].get("params", {}).items()}
    except (AttributeError, ValueError, sa.exc.ArgumentError) as err:
        raise ConfigurationError(f"{config}: the PostgreSQL database is not valid: correct it") from err
    return sa.URL.create(
        DRIVER_OF_POSTGRESQL,
        username=parts.get("username"),
        password=parts.get("password"),
        host=parts.get("hostname"),
        port=port,
        database=parts.get("db_name"),
        query=query,
    )


def _text(value: Any, config: Path) -> str:
    """Return a value of dagster.yaml, or that of the environment variable that it names."""
    if not isinstance(value, dict):
        return str(value)
    name = str(value.get("env"))
    if (found := os.environ.get(name)) is None:
        raise ConfigurationError(f"{config} names the variable {name}: set it as for Dagster")
    return found


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE

"""The files of `callarchive init`: which exist, what is written, and whether git ignores the secrets."""

import shlex
import subprocess
from pathlib import Path

from callarchive.cli.init.landing import KNOWN_HOSTS
from callarchive.domain.errors import ConfigurationError
from callarchive.settings.configuration import Settings
from callarchive.settings.drafts import Draft
from callarchive.settings.loading import configuration_file, load_settings
from callarchive.settings.new_files import NewFile, write_together

_PRIVATE = 0o600


def existing_text(config: Path, *, add_account: bool) -> str | None:
    """Return the configuration to extend, `None` for a new one. Raises ConfigurationError if that cannot be."""
    if add_account:
        load_settings(config)  # valid before it is changed; and .env sets the variables that are in it
        return _text(config)
    if not config.parent.is_dir():
        raise ConfigurationError(
            f"the folder {config.parent} does not exist: mkdir -p {shlex.quote(str(config.parent))}"
        )
    if config.exists():
        raise ConfigurationError(
            f"{config} exists, and is not overwritten. To add an account to it: {command_for(config, 'init --add-account')}"
        )
    if (env := config.parent / ".env").exists():
        raise ConfigurationError(
            f"{env} exists, and is not overwritten: move it away, or write {config} by hand, from callarchive.example.toml"
        )
    return None


def write_files(draft: Draft, config: Path, existing: str | None, pin: str | None) -> list[str]:
    """Write all files, and return a line about each."""
    folder = config.parent
    # Of links, the files to which they lead are extended.
    config, env, known_hosts = (file.resolve() for file in (config, folder / ".env", folder / KNOWN_HOSTS))
    new = []
    if pin is not None:
        held = _text(known_hosts)
        gap = "" if not held or held.endswith("\n") else "\n"
        new.append(NewFile(known_hosts, f"{held or ''}{gap}{pin}", replaces=held))
    held = _text(env)
    secrets = draft.dotenv(held or "")
    if secrets != (held or ""):
        new.append(NewFile(env, secrets, replaces=held, mode=_private_mode(env)))
        if not _is_ignored_by_git(folder / ".env"):
            ignored = folder / ".gitignore"
            held = _text(ignored)
            gap = "" if not held or held.endswith("\n") else "\n"
            new.insert(0, NewFile(ignored, f"{held or ''}{gap}/.env\n", replaces=held))
    mode = 0o644 if existing is None else config.stat().st_mode & 0o777
    new.append(NewFile(config, draft.toml(), replaces=existing, mode=mode))
    write_together(new)
    about = {env: " (secrets; only you can read it)", folder / ".gitignore": " (so that git ignores .env)"}
    if _private_mode(env) != _PRIVATE:
        about[env] = " (secrets; its group can still read it)"
    return [f"{'wrote' if file.replaces is None else 'extended'} {file.path}{about.get(file.path, '')}" for file in new]


def _private_mode(file: Path) -> int:
    """Return the mode of a file with secrets: a group that was given access keeps it, as a service may need it."""
    mode = file.stat().st_mode & 0o777 if file.exists() else _PRIVATE
    return _PRIVATE if mode & 0o007 else mode & 0o660


def _text(file: Path) -> str | None:
    """Return the text of the file with its line ends, `None` if there is no file."""
    try:
        return file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as err:
        raise ConfigurationError(f"{file} cannot be read: {err}") from err


def _is_ignored_by_git(file: Path) -> bool:
    """Return whether git ignores the file, or has nothing to do with it."""
    try:
        done = subprocess.run(
            ["git", "check-ignore", "-q", file.name],
            cwd=file.parent,
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return True
    return done.returncode != 1  # 128: not in a work tree


def files_with_secrets(config: Path, settings: Settings) -> list[Path]:
    """Return the files that secrets are read from, `.env` first."""
    env = config.with_name(".env")
    return [*([env] if env.exists() else ()), *dict.fromkeys(settings.secret_files())]


def command_for(config: Path, words: str) -> str:
    """Return the command, with --config unless it finds the file without."""
    found = config == configuration_file()
    return f"callarchive {words}" if found else f"callarchive --config {shlex.quote(str(config))} {words}"

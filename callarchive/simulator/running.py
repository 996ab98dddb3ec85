"""All simulators of a world, filled, with a configuration that points to them: what the demo starts.

The directory then has `callarchive.toml`, `.env` (random keys), `known_hosts`, `inbox/` (the account's own session files),
`sftp/` (the files of the SFTP server) and `simulator.json` (ports and world, for the next start).
"""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self
from zoneinfo import ZoneInfo

from dotenv import dotenv_values

from callarchive.domain.days import day_of
from callarchive.domain.errors import ConfigurationError, UnavailableError
from callarchive.settings.drafts import variable_name
from callarchive.simulator.api import SimulatedApi
from callarchive.simulator.clock import iso_ms
from callarchive.simulator.generation import generate_world
from callarchive.simulator.landings import free_port, require
from callarchive.simulator.s3 import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, SimulatedS3
from callarchive.simulator.sftp import SimulatedSftp
from callarchive.simulator.world import AccountPlan, World
from callarchive.storage.stores.file_lock import file_lock

CONFIG_NAME = "callarchive.toml"
STATE_NAME = "simulator.json"
DEMO_ACCOUNTS = (
    AccountPlan("demo_s3", "s3", "demo-recordings/my-recordings-path"),
    AccountPlan("demo_sftp", "sftp", "upload", export_offsets=False, listed_share=0.6),
)
DEMO_DAYS = 7
DEMO_SESSIONS_PER_DAY = 22
DEMO_SEED = 8

_LOCK_NAME = "simulator.lock"
_SESSION_FILES = "inbox/sessions-{day}.csv"
_SFTP_PASSWORD = "SIMULATED_SFTP_PASSWORD"


@dataclass(frozen=True, slots=True)
class Recipe:
    """The arguments of the demo's world."""

    seed: int
    last_day: date
    sessions_per_day: int
    days: int = DEMO_DAYS

    def world(self) -> World:
        """Return the days of the two demo accounts that end with `last_day`."""
        return generate_world(
            seed=self.seed,
            accounts=DEMO_ACCOUNTS,
            first_day=self.last_day - timedelta(days=self.days - 1),
            last_day=self.last_day,
            sessions_per_day=self.sessions_per_day,
        )


class Simulator:
    """The API, S3 and SFTP server of a world, running within a `with` block. Create it with `start`.

    Attributes:
        config: the path of the configuration.
        environment: the variables of the configuration: API keys, SFTP password, AWS credentials. Also written to `.env`.
    """

    def __init__(
        self,
        directory: Path,
        world: World,
        clock: Callable[[], datetime],
        *,
        export_polls: int,
        host: str,
        ports: Mapping[str, int],
    ) -> None:
        self.directory = directory
        self.world = world
        self.clock = clock
        self.config = directory / CONFIG_NAME
        self._state = _read_state(directory)
        self._ports = ports
        known = dotenv_values(directory / ".env")
        names = [_SFTP_PASSWORD, *(api_key_name(account) for account in world.accounts)]
        self.environment: Mapping[str, str] = {
            **{name: known.get(name) or secrets.token_hex(20) for name in names},
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        }
        keys = {account.subaccount_id: self.environment[api_key_name(account)] for account in world.accounts}
        self.api = SimulatedApi(
            world, keys=keys, clock=clock, host=host, port=self._port("api"), export_polls=export_polls
        )
        self.s3 = SimulatedS3(host=host, port=self._port("s3"))
        self.sftp = SimulatedSftp(
            directory / "sftp",
            password=self.environment[_SFTP_PASSWORD],
            host=host,
            port=self._port("sftp"),
            host_key=directory / "sftp_host_key",
        )
        self._stack = ExitStack()
        self._delivered: set[str] = set()

    def _port(self, server: str) -> int:
        """Return the given port, else the server's last one if it is free, another free one if not, and 0 if it had none.

        Raises ConfigurationError if a given port is not free.
        """
        if server in self._ports:
            wanted = self._ports[server]
            if free_port(wanted) != wanted:
                raise ConfigurationError(f"port {wanted} of the simulated {server} is not free: choose another")
            return wanted
        known = self._state.get("ports", {}).get(server, 0)
        return free_port(known) if known else 0

    @classmethod
    def start(
        cls,
        directory: Path | str,
        *,
        world: World | None = None,
        seed: int | None = None,
        last_day: date | None = None,
        days: int | None = None,
        sessions_per_day: int | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        export_polls: int = 1,
        host: str = "127.0.0.1",
        ports: Mapping[str, int] = MappingProxyType({}),
    ) -> "Simulator":
        """Start and fill all simulators, and write `directory/callarchive.toml`.

        With only the directory given, the last start there is repeated: the same world, keys and, if they are free, ports, so
        that the configuration remains valid. Without a world, it is the demo's week, which ends yesterday (UTC) by default.
        After moving a `MovableClock`, call `deliver`. An export job is unfinished for `export_polls` requests.
        The servers listen on `host`, which the configuration names, at the `ports` of `api`, `s3` and `sftp` that are given.

        Raises:
            ConfigurationError: the extra `simulator` is not installed, a port is not free, or another simulator uses the
                directory.
        """
        require("moto", "flask", "flask_cors", "asyncssh")
        folder = Path(directory).expanduser().absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            reason = err.strerror or type(err).__name__
            raise ConfigurationError(f"{folder} cannot be created ({reason}): choose another directory") from err
        if not any((folder / name).exists() for name in (STATE_NAME, _LOCK_NAME)):
            for name in (CONFIG_NAME, ".env", "known_hosts"):  # they would be overwritten
                if (folder / name).exists():
                    raise ConfigurationError(f"{folder} has a {name} of yours: choose another directory")
        with ExitStack() as stack:
            stack.enter_context(_only_here(folder))
            recipe = None
            if world is None:
                recipe = _recipe(_read_state(folder).get("world"), seed, last_day, days, sessions_per_day)
                world = recipe.world()
            simulator = cls(folder, world, clock, export_polls=export_polls, host=host, ports=ports)
            stack.enter_context(simulator.api)
            stack.enter_context(simulator.s3)
            stack.enter_context(simulator.sftp)
            simulator.deliver()
            simulator._write(recipe)
            simulator._stack = stack.pop_all()
        return simulator

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop all simulators and keep the directory. May be called twice."""
        self._stack.close()

    def deliver(self) -> int:
        """Write the recordings that became ready to their landings, and return their number."""
        now = self.clock()
        fresh = [
            *self.s3.fill(self.world, now=now, exclude=self._delivered),
            *self.sftp.fill(self.world, now=now, exclude=self._delivered),
        ]
        self._delivered.update(fresh)
        return len(fresh)

    def _write(self, recipe: Recipe | None) -> None:
        """Write the files for the user. A configuration that was edited is kept while it is still valid."""
        text = _configuration(self)
        digest = hashlib.sha256(text.encode()).hexdigest()
        if digest != self._state.get("configuration_sha256") or not self.config.exists():
            self.config.write_text(text, encoding="utf-8")
        _write_private(self.directory / ".env", "".join(f"{k}={v}\n" for k, v in self.environment.items()))
        (self.directory / "known_hosts").write_text(self.sftp.host_key_line + "\n", encoding="utf-8")
        _write_session_files(self.directory, self.world)
        state = {
            "ports": {"api": self.api.port, "s3": self.s3.port, "sftp": self.sftp.port},
            "world": None if recipe is None else {**asdict(recipe), "last_day": recipe.last_day.isoformat()},
            "configuration_sha256": digest,
        }
        (self.directory / STATE_NAME).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")


def api_key_name(account: AccountPlan) -> str:
    """Return the environment variable of the account's API key."""
    return variable_name(account.subaccount_id, "API_KEY")


def _recipe(
    known: Mapping[str, Any] | None,
    seed: int | None,
    last_day: date | None,
    days: int | None,
    sessions_per_day: int | None,
) -> Recipe:
    """Return the given values, else those of the last start in this directory, else the demo's defaults."""
    before = known or {}
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    known_day = date.fromisoformat(before["last_day"]) if "last_day" in before else yesterday
    return Recipe(
        seed=before.get("seed", DEMO_SEED) if seed is None else seed,
        last_day=last_day or known_day,
        days=days or before.get("days", DEMO_DAYS),
        sessions_per_day=sessions_per_day or before.get("sessions_per_day", DEMO_SESSIONS_PER_DAY),
    )


@contextmanager
def _only_here(folder: Path) -> Iterator[None]:
    """Hold the directory: a second simulator would find the ports taken and write others into the configuration."""
    try:
        with file_lock(folder / _LOCK_NAME, name=f"the demo in {folder}", wait_s=0):
            yield
    except UnavailableError as err:
        raise ConfigurationError(f"{err}: stop it (Ctrl-C), or use another directory") from err


def _read_state(directory: Path) -> dict[str, Any]:
    file = directory / STATE_NAME
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as err:
        raise ConfigurationError(f"{file} cannot be read ({type(err).__name__}): delete it to start over") from err


def _write_private(file: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        os.fchmod(descriptor, 0o600)
        opened.write(text)


def _write_session_files(directory: Path, world: World) -> None:
    """Write the session files, `session_id,started_at`: one per day and account that has them, possibly without rows."""
    zone = ZoneInfo(world.timezone)
    rows: dict[str, list[str]] = {}
    for session in world.sessions:
        account = world.account(session.subaccount_id)
        if account.listed_share == 0:
            continue
        day = day_of(session.started_at, zone).isoformat()
        lines = rows.setdefault(_SESSION_FILES.replace("{day}", day), [])
        if session.listed:
            lines.append(f"{session.session_id},{iso_ms(session.started_at)}\n")
    for file, lines in rows.items():
        (directory / file).parent.mkdir(parents=True, exist_ok=True)
        (directory / file).write_text("session_id,started_at\n" + "".join(lines), encoding="utf-8")


def _configuration(simulator: Simulator) -> str:
    world = simulator.world
    zone = ZoneInfo(world.timezone)
    days = [day_of(session.started_at, zone) for session in world.sessions]
    first_day = min(days, default=simulator.clock().date())
    folder = simulator.directory.as_uri()
    head = f"""\
# Written by the simulator. The keys in .env are valid only for the simulators on this machine.
timezone   = {json.dumps(world.timezone)}
start_date = {first_day}

[archive]
url = "{folder}/archive"

[catalog]
url = "{folder}/catalog"

[inbox]
url = "sqlite:///inbox.sqlite3"
"""
    return head + "".join(_account_section(simulator, account) for account in world.accounts)


def _account_section(simulator: Simulator, account: AccountPlan) -> str:
    if account.landing == "s3":
        landing = f"s3://{account.root}"
        store = f"""\
[accounts.s3]
endpoint_url = "{simulator.s3.endpoint_url}"
region = "{REGION}"
"""
    else:
        sftp = simulator.sftp
        landing = f"sftp://{sftp.user}@{sftp.host}:{sftp.port}/{account.root}"
        store = f"""\
[accounts.sftp]
password = {{ env = "{_SFTP_PASSWORD}" }}
known_hosts = "known_hosts"
"""
    sources = '[[accounts.session_sources]]\nkind = "log_export"\n'
    if account.listed_share > 0:
        sources += f'\n[[accounts.session_sources]]\nkind = "files"\npath = "{_SESSION_FILES}"\n'
    return f"""
[[accounts]]
subaccount_id = "{account.subaccount_id}"
api_url = "{simulator.api.url}"
api_key = {{ env = "{api_key_name(account)}" }}
landing = "{landing}"

{store}
{sources}"""

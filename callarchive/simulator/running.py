"""All stand-ins at once, filled, and a configuration that points to them: what the demo starts.

In the directory lie afterwards `callarchive.toml`, `.env` (throw-away keys), `known_hosts`, `inbox/` (the account's own
session files), `sftp/` (what the SFTP server serves) and `simulator.json` (ports and world, for the next start).
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

from callarchive.domain.days import day_of
from callarchive.domain.errors import ConfigurationError
from callarchive.simulator.api import SimulatedApi
from callarchive.simulator.clock import iso_ms
from callarchive.simulator.landings import free_port, require
from callarchive.simulator.s3 import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, SimulatedS3
from callarchive.simulator.sftp import SimulatedSftp
from callarchive.simulator.world import AccountPlan, World

CONFIG_NAME = "callarchive.toml"
STATE_NAME = "simulator.json"
DEMO_ACCOUNTS = (
    AccountPlan("demo_s3", "s3", "demo-recordings/my-recordings-path"),
    AccountPlan("demo_sftp", "sftp", "upload", export_offsets=False, listed_share=0.6),
)
DEMO_DAYS = 7
DEMO_SESSIONS_PER_DAY = 22
DEMO_SEED = 8

_SFTP_PASSWORD = "SIMULATED_SFTP_PASSWORD"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the demo's world is made from."""

    seed: int
    last_day: date
    sessions_per_day: int

    def world(self) -> World:
        """The two demo accounts' week that ends with `last_day`."""
        return World.generate(
            seed=self.seed,
            accounts=DEMO_ACCOUNTS,
            first_day=self.last_day - timedelta(days=DEMO_DAYS - 1),
            last_day=self.last_day,
            sessions_per_day=self.sessions_per_day,
        )


class Simulator:
    """The API, S3 and SFTP of a world, running until the `with` ends. Made by `start`.

    Attributes:
        config: the path of the configuration.
        environment: what it refers to: API keys, the SFTP password, AWS credentials. Also written to `.env`.
    """

    def __init__(self, directory: Path, world: World, clock: Callable[[], datetime], *, export_polls: int) -> None:
        self.directory = directory
        self.world = world
        self.clock = clock
        self.config = directory / CONFIG_NAME
        self._state = _read_state(directory)
        known = _read_env(directory / ".env")
        names = [_SFTP_PASSWORD, *(api_key_name(account) for account in world.accounts)]
        self.environment: Mapping[str, str] = {
            **{name: known.get(name) or secrets.token_hex(20) for name in names},
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        }
        keys = {account.subaccount_id: self.environment[api_key_name(account)] for account in world.accounts}
        self.api = SimulatedApi(world, keys=keys, clock=clock, port=self._port("api"), export_polls=export_polls)
        self.s3 = SimulatedS3(port=self._port("s3"))
        self.sftp = SimulatedSftp(
            directory / "sftp",
            password=self.environment[_SFTP_PASSWORD],
            port=self._port("sftp"),
            host_key=directory / "sftp_host_key",
        )
        self._stack = ExitStack()
        self._delivered: set[str] = set()

    def _port(self, server: str) -> int:
        """The port that this server had last time, if it is free; 0 lets it choose."""
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
        sessions_per_day: int | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        export_polls: int = 1,
    ) -> "Simulator":
        """Everything runs, is filled, and is described by `directory/callarchive.toml`.

        Without any argument but the directory, what was started there before is started again: the same world, the
        same keys and, where they are free, the same ports, so that the configuration there still holds.

        Args:
            directory: made if it is not there.
            world: what happened; null makes the demo's week from the arguments that follow.
            seed, last_day, sessions_per_day: the demo's; `last_day` is yesterday (UTC) by default.
            clock: what time it is at 8x8. Hand over a `MovableClock` to move it, and call `deliver` when it has moved.
            export_polls: how many times an export job is told as unfinished; each costs a client its pause.

        Raises:
            ConfigurationError: the extra `simulator` is not installed.
        """
        require("moto", "flask", "flask_cors", "asyncssh")
        folder = Path(directory).expanduser().absolute()
        folder.mkdir(parents=True, exist_ok=True)
        recipe = None
        if world is None:
            recipe = _recipe(_read_state(folder).get("world"), seed, last_day, sessions_per_day)
            world = recipe.world()
        simulator = cls(folder, world, clock, export_polls=export_polls)
        with ExitStack() as stack:
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
        """Nothing runs any more; the directory stays. May be called twice."""
        self._stack.close()

    def deliver(self) -> int:
        """Recordings that are ready by now lie in their landings. Returns how many were put there by this call."""
        now = self.clock()
        fresh = [
            *self.s3.fill(self.world, now=now, but=self._delivered),
            *self.sftp.fill(self.world, now=now, but=self._delivered),
        ]
        self._delivered.update(fresh)
        return len(fresh)

    def _write(self, recipe: Recipe | None) -> None:
        """Files that a user of the directory needs. A configuration edited since is left alone while it still holds."""
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
    """The environment variable that holds the account's API key."""
    return re.sub(r"\W", "_", account.subaccount_id, flags=re.ASCII).upper() + "_API_KEY"


def _recipe(
    known: Mapping[str, Any] | None, seed: int | None, last_day: date | None, sessions_per_day: int | None
) -> Recipe:
    """What was asked for, and for the rest what the last start in this directory took, and else the demo's own."""
    before = known or {}
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    known_day = date.fromisoformat(before["last_day"]) if "last_day" in before else yesterday
    return Recipe(
        seed=before.get("seed", DEMO_SEED) if seed is None else seed,
        last_day=last_day or known_day,
        sessions_per_day=sessions_per_day or before.get("sessions_per_day", DEMO_SESSIONS_PER_DAY),
    )


def _read_state(directory: Path) -> dict[str, Any]:
    file = directory / STATE_NAME
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as err:
        raise ConfigurationError(f"{file} cannot be read ({type(err).__name__}): delete it to begin anew") from err
    if not isinstance(state, dict):
        raise ConfigurationError(f"{file} is not the simulator's: delete it to begin anew")
    return state


def _read_env(file: Path) -> dict[str, str]:
    """Names and values of a `.env` that was written here."""
    if not file.is_file():
        return {}
    pairs = (line.partition("=") for line in file.read_text(encoding="utf-8").splitlines())
    return {name: value for name, _, value in pairs if value}


def _write_private(file: Path, text: str) -> None:
    """The file holds the text and only its owner can read it."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        os.fchmod(descriptor, 0o600)
        opened.write(text)


def _write_session_files(directory: Path, world: World) -> None:
    """There is a file for each day of each account that has such files, if only its header: `session_id,started_at`."""
    zone = ZoneInfo(world.timezone)
    rows: dict[str, list[str]] = {}
    for session in world.sessions:
        account = world.account(session.subaccount_id)
        if account.listed_share == 0:
            continue
        day = day_of(session.started_at, zone).isoformat()
        lines = rows.setdefault(account.session_files.replace("{day}", day), [])
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
# Written by the simulator for its stand-ins on this machine; the keys in .env beside it open nothing else.
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
        sources += f'\n[[accounts.session_sources]]\nkind = "files"\npath = "{account.session_files}"\n'
    return f"""
[[accounts]]
subaccount_id = "{account.subaccount_id}"
api_url = "{simulator.api.url}"
api_key = {{ env = "{api_key_name(account)}" }}
landing = "{landing}"

{store}
{sources}"""

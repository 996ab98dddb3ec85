"""Start the containers of `deploy/`, archive five days with them while a worker is killed, and remove everything again.

The image, the compose files and Dagster's instance are those of `deploy/`; 8x8's API, the S3 and the SFTP server are
simulators in one more container. No registry is used: the base images are made from Debian's packages, under the names that
the Containerfile and the compose files use. Requires root on Debian with podman; nothing is installed on the machine, and
everything that podman stores is in one directory. Takes 10 to 20 minutes, most of them for the images.
"""

import argparse
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from callarchive.domain.errors import ArchiveError
from callarchive.simulator.events import recording_uploaded
from callarchive.simulator.landings import free_port
from callarchive.simulator.running import Recipe
from callarchive.simulator.world import Answer, FileState, World

ROOT = Path(__file__).resolve().parents[1]
PODMAN_COMPOSE = "podman-compose==1.6.0"
DEBIAN = "trixie"
PACKAGES = ("podman", "runc", "conmon", "netavark", "aardvark-dns", "iptables", "debootstrap")
PROGRAMS = ("podman", "runc", "conmon", "iptables", "debootstrap")
DAYS = 5
SESSIONS_PER_DAY = 40
USER = 10001
REJECTED = (FileState.ABSENT, FileState.HTML, FileState.EMPTY)
"""Files that are not archived. A damaged file with audio is."""

CONTAINERS = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "{0}/networks"
"""
STORAGE = '[storage]\ndriver = "overlay"\ngraphroot = "{0}/storage"\nrunroot = "{0}/run"\n'

# What the services need of the official images: their users, directories, environment and the ways they start.
PYTHON = "FROM localhost/debian\nRUN python3 -m venv /usr/local\n"
POSTGRESQL = r"""FROM localhost/debian
RUN apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends postgresql \
    && install -d -o postgres -m 0700 /var/lib/postgresql/data
COPY start-postgresql /usr/local/bin/
ENV PGDATA=/var/lib/postgresql/data LANG=C.UTF-8
USER postgres
STOPSIGNAL SIGINT
ENTRYPOINT ["start-postgresql"]
"""
START_POSTGRESQL = r"""#!/bin/sh
set -eu
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
    initdb --pgdata "$PGDATA" --username "$POSTGRES_USER" --pwfile /tmp/password --auth scram-sha-256 --auth-local trust
    rm /tmp/password
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    pg_ctl --pgdata "$PGDATA" --wait --options '-c listen_addresses=' start
    createdb --username "$POSTGRES_USER" "$POSTGRES_DB"
    pg_ctl --pgdata "$PGDATA" --wait stop
fi
exec postgres -c 'listen_addresses=*'
"""
REDIS = """FROM localhost/debian
RUN apt-get -q update && apt-get install -qy --no-install-recommends redis-server && install -d -o redis /data
WORKDIR /data
"""
SIMULATORS = """FROM localhost/callarchive
USER root
COPY versions /tmp/
RUN pip install --quiet --no-cache-dir --constraint /tmp/versions 'callarchive[simulator]'
USER callarchive
"""
OVERRIDE = """\
services:
  simulators:
    image: localhost/callarchive-simulators
    hostname: simulators
    command: [python, -m, callarchive.simulator, --directory, /simulators, --host, simulators, --seed, "8",
              --last-day, "{last_day}", --sessions-per-day, "{sessions}"]
    volumes: ["../../simulators:/simulators"]
"""
BUCKET = """\
import boto3
boto3.client("s3", endpoint_url={0!r}, region_name="us-east-1").create_bucket(Bucket="kept")
"""
CONTENTS = """\
import json, sys
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.settings import load_settings
from callarchive.storage.stores.opening import open_store
settings = load_settings()
catalog = Catalog.open(settings.catalog.url, s3=settings.catalog.s3)
query = catalog.duckdb().sql
json.dump({
    "sessions": query("select session_id from sessions").fetchall(),
    "recordings": query("select recording_id, archive_status from recordings").fetchall(),
    "days": query("select call_date::varchar, count(*) from sessions group by 1 order by 1").fetchall(),
    "files": [o.path for o in open_store(settings.archive.url, s3=settings.archive.s3).list("") if o.path.endswith(".mp3")],
}, sys.stdout)
"""


class TrialError(Exception):
    """Something did not work as the documentation says."""


class Trial:
    """The containers of one trial.

    Attributes:
        directory: contains podman's storage, and `deploy/` with the configuration and the secrets.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started = time.monotonic()
        self.ports = {"UI_PORT": free_port(3000), "RECEIVER_PORT": free_port(8080)}
        (directory / "containers.conf").write_text(CONTAINERS.format(directory))
        (directory / "storage.conf").write_text(STORAGE.format(directory))
        self.environment = {
            **os.environ,
            **{name: str(port) for name, port in self.ports.items()},
            "CONTAINERS_CONF": str(directory / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
            "TMPDIR": str(directory),
        }
        last_day = datetime.now(UTC).date() - timedelta(days=3)  # everything is ready: some recordings take 30 hours
        self.world = Recipe(seed=8, last_day=last_day, sessions_per_day=SESSIONS_PER_DAY).world()
        self.days = [last_day - timedelta(days=back) for back in reversed(range(DAYS))]

    def run(self, *words: str | Path, text: str | None = None, check: bool = True) -> str:
        """Run a program with low priority, and return its standard output."""
        log = self.directory / "log"
        with log.open("a") as errors:
            print("$", *words, file=errors, flush=True)
            done = subprocess.run(
                ["nice", *words],
                env=self.environment,
                input=text or "",
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                check=False,
            )
            errors.write(done.stdout)
        if check and done.returncode:
            tail = "\n".join(log.read_text().splitlines()[-30:])
            raise TrialError(f"`{' '.join(map(str, words[:6]))} ...` ended with {done.returncode}:\n{tail}")
        return done.stdout

    def podman(self, *words: str | Path, text: str | None = None, check: bool = True) -> str:
        return self.run("podman", *words, text=text, check=check)

    def compose(self, *words: str) -> str:
        folder = self.directory / "deploy"
        files = [folder / "compose/compose.yaml", folder / "receiver/compose.yaml", folder / "compose/simulators.yaml"]
        options = [option for file in files for option in ("--file", str(file))]
        program = self.directory / "venv/bin/podman-compose"
        return self.run(program, "--in-pod", "false", "--project-name", "trial", *options, *words)

    def container(self, service: str) -> str:
        return f"trial_{service}_1"

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Print the step with its seconds, and with the remarks that are added to the list."""
        remarks: list[str] = []
        started = time.monotonic()
        yield remarks
        print(f"{time.monotonic() - started:5.0f} s  {name}{': ' if remarks else ''}{', '.join(remarks)}", flush=True)

    def wait(self, condition: Callable[[], Any], what: str, *, at_most_s: float) -> Any:
        """Return the condition's value as soon as it is true."""
        ends_at = time.monotonic() + at_most_s
        while not (value := condition()):
            if time.monotonic() > ends_at:
                raise TrialError(f"timed out after {at_most_s:g} s waiting for {what}")
            time.sleep(1)
        return value

    # Images

    def make_images(self) -> None:
        """Make the base images that are missing, and build the Containerfile."""
        with self.step("Debian's base system, by debootstrap") as remarks:
            if self._missing("localhost/debian"):
                with tempfile.TemporaryDirectory(dir=self.directory) as system:
                    self.run(
                        "debootstrap",
                        "--variant=minbase",
                        "--include=ca-certificates,python3-venv,tzdata",
                        DEBIAN,
                        system,
                    )
                    self.run("sh", "-c", f"tar -C {system} --exclude='*.deb' -c . | podman import - localhost/debian")
            remarks.append(self.podman("run", "--rm", "localhost/debian", "cat", "/etc/debian_version").strip())
        compose = (ROOT / "deploy/compose/compose.yaml").read_text()
        [python] = re.findall(r"^FROM (\S+)", (ROOT / "deploy/Containerfile").read_text(), flags=re.MULTILINE)
        bases = {python: PYTHON}
        for image in re.findall(r"image: (\S+/(?:postgres|redis):\S+)", compose):
            bases[image] = POSTGRESQL if "postgres" in image else REDIS
        with self.step("base images from Debian's packages") as remarks:
            for image, recipe in bases.items():
                if self._missing(image):
                    self._build(image, recipe)
            remarks += [self._version(python, "python", "--version")]
            remarks += [self._version(image, name, "--version") for image in bases for name in _server(image)]
        with self.step("callarchive's image, from deploy/Containerfile") as remarks:
            self.podman(
                "build", *_certificates(), "--file", ROOT / "deploy/Containerfile", "--tag", "callarchive", ROOT
            )
            remarks.append(
                f"{int(self.podman('image', 'inspect', '--format', '{{.Size}}', 'callarchive')) / 1e9:.2f} GB"
            )
        with self.step("the simulators' image"):
            self._build("localhost/callarchive-simulators", SIMULATORS)

    def _missing(self, image: str) -> bool:
        return not self.podman("images", "--quiet", image).strip()

    def _version(self, image: str, *words: str) -> str:
        return re.sub(
            r" \(Debian.*| sha=.*", "", self.podman("run", "--rm", "--entrypoint", words[0], image, *words[1:]).strip()
        )

    def _build(self, image: str, recipe: str) -> None:
        with tempfile.TemporaryDirectory(dir=self.directory) as folder:
            (Path(folder) / "Containerfile").write_text(recipe)
            (Path(folder) / "start-postgresql").write_text(START_POSTGRESQL)
            (Path(folder) / "start-postgresql").chmod(0o755)
            pinned = re.findall(
                r"^([^\s=\[]+)(?:\[.*?\])?(==[^\\\n]+)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE
            )
            (Path(folder) / "versions").write_text("".join(f"{name}{version}\n" for name, version in pinned))
            certificates = _certificates() if "pip" in recipe else ()
            self.podman("build", *certificates, "--tag", image, folder)

    # Containers

    def configure(self) -> None:
        """Start the simulators, and write the configuration and the secrets where the compose files expect them."""
        self.run(sys.executable, "-m", "venv", self.directory / "venv")
        self.run(self.directory / "venv/bin/pip", "install", "--quiet", PODMAN_COMPOSE)
        shutil.rmtree(self.directory / "deploy", ignore_errors=True)
        shutil.copytree(ROOT / "deploy", self.directory / "deploy")
        folder, simulators = self.directory / "deploy/compose", self.directory / "simulators"
        shutil.rmtree(simulators, ignore_errors=True)
        simulators.mkdir()
        os.chown(simulators, USER, USER)
        (folder / "simulators.yaml").write_text(OVERRIDE.format(last_day=self.days[-1], sessions=SESSIONS_PER_DAY))
        (folder / "config").mkdir()
        _write_secrets(folder / "secrets.env", {})
        self.compose("up", "--detach", "simulators")
        with suppress(TrialError):
            self.wait((simulators / "simulator.json").exists, "the simulators", at_most_s=120)
        if not (simulators / "simulator.json").exists():
            raise TrialError(f"the simulators did not start:\n{self.logs('simulators')}")
        values = dict(line.split("=", 1) for line in (simulators / ".env").read_text().split())
        password, queue_password, self.webhook_auth = (secrets.token_hex(16) for _ in range(3))
        _write_private(folder / "config/demo_s3.key", values.pop("DEMO_S3_API_KEY"))
        values |= {
            "POSTGRES_PASSWORD": password,
            "PGPASSWORD": password,
            "REDIS_PASSWORD": queue_password,
            "DAGSTER_POSTGRES_URL": f"postgresql://dagster:{password}@postgresql:5432/dagster",
            "DAGSTER_CELERY_BROKER_URL": f"redis://:{queue_password}@redis:6379/0",
            "DAGSTER_CELERY_BACKEND_URL": f"redis://:{queue_password}@redis:6379/1",
            "WEBHOOK_AUTH": self.webhook_auth,
        }
        _write_secrets(folder / "secrets.env", values)
        text = (simulators / "callarchive.toml").read_text()
        [endpoint] = re.findall(r'endpoint_url = "(.*)"', text)
        for name in ("archive", "catalog"):
            s3 = f's3 = {{ endpoint_url = "{endpoint}", region = "us-east-1" }}'
            text = text.replace(f'url = "file:///simulators/{name}"', f'url = "s3://kept/{name}"\n{s3}')
        text = text.replace("sqlite:///inbox.sqlite3", "postgresql://dagster@postgresql/dagster")
        hook = 'webhooks = { url = "https://hooks.example/webhooks/demo_s3", auth_header = { env = "WEBHOOK_AUTH" } }'
        text = text.replace('{ env = "DEMO_S3_API_KEY" }', f'{{ file = "demo_s3.key" }}\n{hook}')
        (folder / "config/callarchive.toml").write_text(f"{text}\n[dagster]\ndays_per_run = 1\n")
        shutil.copy(simulators / "known_hosts", folder / "config")
        shutil.copytree(simulators / "inbox", folder / "config/inbox")
        variables = [
            word
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
            for word in ("--env", f"{name}={values[name]}")
        ]
        self.podman(
            "exec",
            "--interactive",
            *variables,
            self.container("simulators"),
            "python",
            "-",
            text=BUCKET.format(endpoint),
        )

    def healthy(self, *services: str) -> None:
        """Wait until the health checks of the services pass: podman 4.3 without systemd runs them only on request."""
        for service in services:
            check = partial(self._succeeds, "podman", "healthcheck", "run", self.container(service))
            self.wait(check, f"the health check of {service}", at_most_s=180)

    def logs(self, service: str) -> str:
        """Return what the service logged."""
        words = ("podman", "logs", self.container(service))
        return subprocess.run(
            words, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
        ).stdout

    def _succeeds(self, *words: str) -> bool:
        return subprocess.run(words, env=self.environment, capture_output=True, check=False).returncode == 0

    def ask(self, query: str) -> Any:
        """Return Dagster's response to a GraphQL query."""
        url = f"http://127.0.0.1:{self.ports['UI_PORT']}/graphql"
        answer = requests.post(url, json={"query": query}, timeout=60).json()
        if "errors" in answer:
            raise TrialError(f"Dagster refused {query}: {answer['errors']}")
        return answer["data"]

    def runs(self) -> dict[str, str]:
        """Return the status of each run by its id."""
        found = self.ask("{ runsOrError { ... on Runs { results { runId status } } } }")["runsOrError"]["results"]
        return {run["runId"]: run["status"] for run in found}

    # The trial itself

    def backfill(self) -> str:
        """Start the backfill of all assets, and return its id."""
        nodes = self.ask("{ assetNodes { assetKey { path } isPartitioned isMaterializable } }")["assetNodes"]
        paths = [n["assetKey"]["path"] for n in nodes if n["isPartitioned"] and n["isMaterializable"]]
        selection = ", ".join(f"{{path: {json.dumps(path)}}}" for path in paths)
        days = json.dumps([str(day) for day in self.days])
        answer = self.ask(
            f"mutation {{ launchPartitionBackfill(backfillParams: {{assetSelection: [{selection}], partitionNames: {days}}})"
            " { __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"
        )["launchPartitionBackfill"]
        if "backfillId" not in answer:
            raise TrialError(f"Dagster did not start the backfill: {answer}")
        return str(answer["backfillId"])

    def kill_a_worker(self) -> str:
        """Kill the container of a worker while it works on a run, after another day is complete. Return the worker."""
        self.wait(lambda: "SUCCESS" in self.runs().values(), "the first day", at_most_s=300)

        def busy() -> str | None:
            started = [run for run, status in self.runs().items() if status == "STARTED"]
            for worker in ("worker-1", "worker-2"):
                if any(run in self.logs(worker) for run in started):
                    return worker
            return None

        worker = str(self.wait(busy, "a worker with a run", at_most_s=120))
        os.kill(int(self.podman("inspect", "--format", "{{.State.Pid}}", self.container(worker))), 9)
        return worker

    def finish(self, backfill: str) -> Counter[str]:
        """Wait for the end of the backfill, and return the runs by status."""
        query = f'{{ partitionBackfillOrError(backfillId: "{backfill}") {{ ... on PartitionBackfill {{ status }} }} }}'

        def ended() -> str | None:
            status = str(self.ask(query)["partitionBackfillOrError"]["status"])
            return None if status in ("REQUESTED", "QUEUED") else status

        status = self.wait(ended, "the backfill", at_most_s=900)
        if status != "COMPLETED_SUCCESS":
            raise TrialError(f"the backfill ended as {status}, with runs {self.runs()}")
        return Counter(self.runs().values())

    def post_event(self) -> int:
        """Post an event of the first account to the receiver, twice, and return the number of events in the inbox."""
        recording = next(r for r in self.world.recordings if r.subaccount_id == "demo_s3")
        url = f"http://127.0.0.1:{self.ports['RECEIVER_PORT']}/webhooks/demo_s3"
        for auth, expected in ((self.webhook_auth, 200), (self.webhook_auth, 200), ("wrong", 401)):
            answer = requests.post(url, json=recording_uploaded(recording), headers={"Authorization": auth}, timeout=30)
            if answer.status_code != expected:
                raise TrialError(f"the receiver returned {answer.status_code} instead of {expected}")
        words = (
            "psql",
            "--username",
            "dagster",
            "--no-align",
            "--tuples-only",
            "--command",
            "select count(*) from inbox_events",
        )
        return int(self.podman("exec", self.container("postgresql"), *words))

    def contents(self) -> dict[str, Any]:
        """Return what archive and catalog contain, as a worker sees it."""
        return dict(
            json.loads(self.podman("exec", "--interactive", self.container("worker-2"), "python", "-", text=CONTENTS))
        )

    def remove(self) -> dict[str, float]:
        """Stop and remove containers, volumes and networks. Return the seconds that each service took to stop."""
        took = {}
        for service in ("webserver", "daemon", "code", "worker-1", "worker-2", "receiver", "redis", "postgresql"):
            started = time.monotonic()
            self.podman("stop", self.container(service), check=False)
            took[service] = time.monotonic() - started
        self.compose("down", "--volumes", "--timeout", "5")
        return took


def differences(world: World, days: list[date], found: Mapping[str, Any]) -> list[str]:
    """Compare archive and catalog with the simulated calls, and return the differences in words."""
    now = datetime.now(UTC)
    sessions = [s for day in days for s in world.sessions_on(day) if s.exported or s.listed]
    archivable = {
        recording.recording_id
        for session in sessions
        if session.answer is Answer.RECORDINGS
        for recording in session.recordings
        if recording.file not in REJECTED and recording.ready(now)
    }
    archived = [i for i, status in found["recordings"] if status == "archived"]
    problems = []
    for name, wanted, ids in (
        ("session", {s.session_id for s in sessions}, [i for (i,) in found["sessions"]]),
        ("archived recording", archivable, archived),
    ):
        problems += [f"{name} {i} is missing" for i in sorted(wanted - set(ids))]
        problems += [f"{name} {i} is not one of the simulators'" for i in sorted(set(ids) - wanted)]
        problems += [f"{name} {i} is in the catalog {count} times" for i, count in Counter(ids).items() if count > 1]
    if len(found["files"]) != len(archived):
        problems.append(
            f"the archive has {len(found['files'])} mp3 files, the catalog {len(archived)} archived recordings"
        )
    return problems


def _server(image: str) -> tuple[str, ...]:
    return ("psql",) if "postgres" in image else ("redis-server",) if "redis" in image else ()


def _certificates() -> tuple[str, ...]:
    """Options that let pip trust the certificate authorities of this machine, for a proxy between it and the packages."""
    return ("--volume", "/etc/ssl/certs:/etc/ssl/certs:ro")


def _write_secrets(file: Path, values: Mapping[str, str]) -> None:
    _write_private(file, "".join(f"{name}={value}\n" for name, value in values.items()))


def _write_private(file: Path, text: str) -> None:
    """Write a file that only the user of the containers can read."""
    file.touch(mode=0o600)
    file.write_text(text)
    os.chown(file, USER, USER)


def try_deployment(trial: Trial) -> None:
    """Run the trial and print what happened."""
    versions = [trial.run(name, "--version").splitlines()[0].replace(" version", "") for name in ("podman", "runc")]
    print(", ".join((*versions, PODMAN_COMPOSE.replace("==", " "))))
    trial.make_images()
    with trial.step("simulators started, configuration written"):
        trial.configure()
    with trial.step("PostgreSQL and Redis healthy"):
        trial.compose("up", "--detach", "postgresql", "redis")
        trial.healthy("postgresql", "redis")
    with trial.step("webserver, code server and receiver healthy, daemon and two workers started"):
        trial.compose("up", "--detach")
        trial.healthy("code", "webserver", "receiver")
    started = time.monotonic()
    backfill = trial.backfill()
    with trial.step("worker killed (SIGKILL) while it archived a day") as remarks:
        remarks.append(trial.kill_a_worker())
    with trial.step("backfill complete") as remarks:
        runs = trial.finish(backfill)
        remarks += [f"{count} runs {status}" for status, count in sorted(runs.items())]
        remarks.append(f"{time.monotonic() - started:.0f} s in all")
    with trial.step("archive and catalog compared with the simulated calls") as remarks:
        found = trial.contents()
        if problems := differences(trial.world, trial.days, found):
            raise TrialError("\n".join(problems[:20]))
        statuses = Counter(status for _, status in found["recordings"])
        remarks += [
            f"{len(found['days'])} days",
            f"{len(found['sessions'])} sessions",
            f"{len(found['recordings'])} recordings",
        ]
        remarks.append(f"{statuses['archived']} archived, each once")
    if runs["FAILURE"] != 1 or runs["SUCCESS"] not in (DAYS - 1, DAYS):  # a day that was complete is not run again
        raise TrialError(f"expected {DAYS} successful runs and the killed one, found {dict(runs)}")
    with trial.step("webhook event posted twice to the receiver") as remarks:
        if (events := trial.post_event()) != 1:
            raise TrialError(f"the inbox has {events} events instead of one")
        remarks.append("one event in the inbox")
    with trial.step("everything stopped and removed") as remarks:
        remarks += [f"{service} {seconds:.1f} s" for service, seconds in trial.remove().items()]


def main(arguments: list[str] | None = None) -> int:
    """Run the trial and return the exit code: 0 if everything worked, 1 if not, 2 if its programs or rights are absent."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"Install what it needs: apt-get install --no-install-recommends {' '.join(PACKAGES)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--directory", type=Path, help="directory for podman's storage and the log (default: a temporary one)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the directory with the images, for the next trial")
    options = parser.parse_args(arguments)
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent or os.geteuid() != 0:
        need = f"{', '.join(absent)} not found: apt-get install --no-install-recommends {' '.join(PACKAGES)}"
        print(f"the deployment was not tried: {need if absent else 'run this as root'}", file=sys.stderr)
        return 2
    directory = (options.directory or Path(tempfile.mkdtemp(prefix="callarchive-deployment-"))).absolute()
    directory.mkdir(parents=True, exist_ok=True)
    trial = Trial(directory)
    try:
        try_deployment(trial)
    except (TrialError, ArchiveError, requests.RequestException) as err:
        print(f"failed: {err}\nAll output: {directory}/log", file=sys.stderr)
        trial.podman("rm", "--all", "--force", "--volumes", check=False)
        return 1
    if not options.keep:
        trial.podman("system", "reset", "--force")
        shutil.rmtree(directory)
    print(f"passed in {time.monotonic() - trial.started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

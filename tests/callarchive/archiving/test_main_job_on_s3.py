"""Archive and catalog both in S3: reports and behaviour are the same as on disk."""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pytest

from callarchive.catalog import schemas
from callarchive.cli.day_results import DaySummary, archive_day
from callarchive.custody.holds import Scope
from callarchive.planning.forecast.forecasting import forecast
from callarchive.removal.holds import Person, add_hold
from callarchive.simulator.s3 import REGION

Start = Callable[..., Any]
DAY = date(2026, 1, 5)
ACCOUNTS = ("demo_s3", "demo_sftp")
BUCKET = "our-archive"
ARCHIVE, CATALOG = f"s3://{BUCKET}/calls/archive", f"s3://{BUCKET}/calls/catalog"


@pytest.fixture
def trial(start_trial: Start) -> Any:
    """A day of two accounts whose archive and catalog are in a bucket of ours."""
    trial = start_trial(sessions_per_day=12)
    client = trial.simulator.s3.client
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    text = trial.config.read_text()
    for section, url in (("archive", ARCHIVE), ("catalog", CATALOG)):
        new = f'[{section}]\nurl = "{url}"\ns3 = {{ endpoint_url = "{trial.simulator.s3.endpoint_url}", region = "{REGION}" }}'
        head, _, rest = text.partition(f"[{section}]\n")
        text = f"{head}{new}\n{rest.partition(chr(10))[2]}"
    trial.config.write_text(text)
    return trial


def test_what_a_run_archives_under_a_hold_has_the_legal_hold_of_s3(trial: Any) -> None:
    client = trial.simulator.s3.client
    client.delete_bucket(Bucket=BUCKET)
    region = {"LocationConstraint": REGION}
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=region, ObjectLockEnabledForBucket=True)
    with trial.connections() as connections:
        add_hold(connections, Scope(subaccount_id="demo_s3"), reason="case 17", by=Person("ann"))
    trial.archive()
    held = {True: set[str](), False: set[str]()}
    for row in rows(trial, schemas.RECORDINGS):
        if row["archive_status"] == "archived":
            found = client.head_object(Bucket=BUCKET, Key=key_of(row["archive_uri"]))
            held[found.get("ObjectLockLegalHoldStatus") == "ON"].add(row["subaccount_id"])
    assert held == {True: {"demo_s3"}, False: {"demo_sftp"}}


def rows(trial: Any, table: schemas.Table) -> list[dict[str, Any]]:
    with trial.connections() as connections:
        found: list[dict[str, Any]] = connections.catalog.rows(table, DAY)
    return found


def key_of(uri: str) -> str:
    return uri.removeprefix(f"s3://{BUCKET}/")


def test_find_verify_status_doctor_and_forecast_work_on_s3_as_on_a_disk(trial: Any) -> None:
    client = trial.simulator.s3.client
    (summary,) = trial.archive()
    gone, flipped, sound = [row for row in rows(trial, schemas.RECORDINGS) if row["archive_status"] == "archived"][:3]
    found = trial.run("find", sound["recording_id"], "--json")
    assert found.returncode == 0, found.stderr
    (trace,) = json.loads(found.stdout)["found"]
    states = {recording["recording_id"]: recording["file_state"] for recording in trace["recordings"]}
    assert states[sound["recording_id"]] == "intact"
    assert sound["archive_uri"].startswith(f"{ARCHIVE}/{sound['subaccount_id']}/call_date={DAY}/")

    status = json.loads(trial.run("status", "--from", str(DAY), "--to", str(DAY), "--json").stdout)["status"]
    assert sum(day["recordings"].get("archived", 0) for day in status["days"]) == summary.recordings["archived"]
    assert status["never_archived"] == []
    doctor = trial.run("doctor", "--json")
    assert doctor.returncode == 0, doctor.stdout
    with trial.connections() as connections:
        total = forecast(connections, DAY, DAY).total
    assert total.figures["fetch_count"].value == 0
    assert total.figures["requests"].value == 0
    assert total.figures["recordings"].value == summary.recordings["archived"] + summary.recordings.get("rejected", 0)

    client.delete_object(Bucket=BUCKET, Key=key_of(gone["archive_uri"]))
    data = bytearray(client.get_object(Bucket=BUCKET, Key=key_of(flipped["archive_uri"]))["Body"].read())
    data[len(data) // 2] ^= 1
    client.put_object(Bucket=BUCKET, Key=key_of(flipped["archive_uri"]), Body=bytes(data))
    intruder = gone["archive_uri"].rpartition("/")[0] + "/intruder.mp3"
    client.put_object(Bucket=BUCKET, Key=key_of(intruder), Body=b"x")
    result = trial.run("verify")
    assert result.returncode == 1
    assert {tuple(line.split()[::2]) for line in result.stdout.splitlines()[:-1]} == {
        ("missing", gone["archive_uri"]),
        ("changed", flipped["archive_uri"]),
        ("extra", intruder),
    }
    before = {row["subject"]: row["state"] for row in rows(trial, schemas.RECONCILIATION)}
    (again,) = trial.archive()
    assert again.fetched_count == 1, "what was deleted, and nothing else"
    after = {row["subject"]: row["state"] for row in rows(trial, schemas.RECONCILIATION)}
    assert after == before | {intruder.removeprefix(f"{ARCHIVE}/"): "open"}


def test_two_runs_on_one_day_wait_for_each_other_and_fetch_everything_once(trial: Any) -> None:
    def run(_: int) -> DaySummary:
        with trial.connections() as connections:
            return archive_day(connections, DAY)

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(run, range(2))
    assert {one.fetched_count > 0, other.fetched_count > 0} == {True, False}
    assert (one.recordings, one.session_count, one.size_bytes) == (
        other.recordings,
        other.session_count,
        other.size_bytes,
    )
    keys = [row["recording_id"] for row in rows(trial, schemas.RECORDINGS)]
    assert len(keys) == len(set(keys)) == sum(one.recordings.values())
    left = trial.simulator.s3.client.list_objects_v2(Bucket=BUCKET, Prefix="calls/catalog/_locks/")
    assert "Contents" not in left, "both locks are free"


def through(trial: Any, endpoint: str, *sections: str) -> None:
    """These sections' stores are reached by another address."""
    lines, section = [], ""
    for line in trial.config.read_text().splitlines():
        section = line if line.startswith("[") else section
        moved = section in {f"[{name}]" for name in sections} and line.startswith("s3 =")
        lines.append(line.replace(trial.simulator.s3.endpoint_url, endpoint) if moved else line)
    trial.config.write_text("\n".join(lines))


@pytest.mark.parametrize(("section", "condition"), [("archive", "if-none-match"), ("catalog", "if-match")])
def test_a_store_that_ignores_conditions_is_a_configuration_error_and_nothing_is_overwritten(
    trial: Any, meddling_server: Callable[..., str], section: str, condition: str
) -> None:
    ignoring = meddling_server(trial.simulator.s3.endpoint_url, asked=lambda exchange: exchange.drop(condition))
    through(trial, ignoring, section)
    ran = trial.run("archive", "--day", str(DAY))
    assert ran.returncode == 2, ran.stderr
    url = {"archive": ARCHIVE, "catalog": CATALOG}[section]
    assert f"{url}: this store does not support conditional writes" in ran.stderr
    assert "docs/stores.md" in ran.stderr
    assert not [line for line in ran.stderr.splitlines() if "Traceback" in line]
    listed = trial.simulator.s3.client.list_objects_v2(Bucket=BUCKET, Prefix="calls/").get("Contents", ())
    assert not [entry["Key"] for entry in listed if entry["Key"].endswith(".mp3") or "/_locks/" in entry["Key"]]

    examined = json.loads(trial.run("doctor", "--json").stdout)["findings"]
    (finding,) = [finding for finding in examined if finding["link"] == f"{section}: write"]
    assert finding["verdict"] == "broken"
    assert "does not support conditional writes" in finding["detail"]


@pytest.mark.live
def test_commands_that_only_read_need_no_conditional_writes(trial: Any, meddling_server: Callable[..., str]) -> None:
    trial.archive()
    recording = next(row for row in rows(trial, schemas.RECORDINGS) if row["archive_status"] == "archived")
    written = []

    def watch(exchange: Any) -> None:
        exchange.drop("if-none-match", "if-match")
        if exchange.method in ("PUT", "DELETE"):
            written.append(exchange.path)

    through(trial, meddling_server(trial.simulator.s3.endpoint_url, asked=watch), "archive", "catalog")
    for words in (("find", recording["recording_id"]), ("verify",)):
        ran = trial.run(*words)
        assert ran.returncode == 0, ran.stderr + ran.stdout
        assert ("read without its lock" in ran.stderr) == (words == ("verify",))
    assert all("/_locks/trial-" in path for path in written)


def landing_through(trial: Any, endpoint: str) -> None:
    """The account's landing is reached by another address."""
    head, account, rest = trial.config.read_text().partition("[[accounts]]")
    trial.config.write_text(head + account + rest.replace(trial.simulator.s3.endpoint_url, endpoint))


def without_etags(exchange: Any) -> None:
    exchange.drop("etag")
    exchange.body = re.sub(rb"<ETag>.*?</ETag>", b"", exchange.body)


def test_recordings_that_only_their_size_confirms_are_said_to_be_so(
    trial: Any, meddling_server: Callable[..., str]
) -> None:
    landing_through(trial, meddling_server(trial.simulator.s3.endpoint_url, answered=without_etags))
    ran = trial.run("archive", "--day", str(DAY), "--ignore-checks")
    assert ran.returncode == 0, ran.stderr
    found = [row for row in rows(trial, schemas.RECORDINGS) if row["archive_status"] == "archived"]
    said = {
        account: {row["source_evidence"] for row in found if row["subaccount_id"] == account} for account in ACCOUNTS
    }
    assert said == {"demo_s3": {"size"}, "demo_sftp": {"ssh"}}
    read = sum(row["source_evidence"] == "size" for row in rows(trial, schemas.RECORDING_FILES))
    assert f"demo_s3, {DAY}: the store keeps no hash of {read} recordings" in ran.stderr
    one = next(row["recording_id"] for row in found if row["subaccount_id"] == "demo_s3")
    assert "only its size confirms the bytes" in trial.run("find", one, "--json").stdout

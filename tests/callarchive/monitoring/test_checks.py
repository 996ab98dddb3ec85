"""Each check passes on a sound day and fails on a day that is broken in its way."""

import copy
import io
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.schemas import Table
from callarchive.domain.evidence import Outcome
from callarchive.domain.models import Discrepancy
from callarchive.monitoring.checks import CHECKS, RECONCILIATION_CHECKS, CheckResult
from callarchive.monitoring.evaluation import run_checks
from callarchive.settings import CheckSettings, ReconciliationLimits, Settings

Row = dict[str, Any]
Day = dict[str, list[Row]]
DAY = date(2026, 11, 1)
NOW = datetime(2026, 11, 2, tzinfo=UTC)
SESSIONS = 12
TABLES = (
    schemas.SESSION_IDS,
    schemas.SESSION_PROBLEMS,
    schemas.RECORDING_METADATA,
    schemas.SESSIONS,
    schemas.RECORDINGS,
    schemas.RECONCILIATION,
    schemas.MISSING_SESSIONS,
)
NO_TOLERANCE = CheckSettings(
    max_failed_lookup_share=0, max_failed_recording_share=0, max_duration_mismatch_share=0, max_silent_share=0
)


def sound_day() -> Day:
    """Two accounts with twelve sessions each, an archived recording of 60 s in every one."""
    day: Day = {table.name: [] for table in TABLES}
    for account in ("acme_sg", "acme_th"):
        for number in range(SESSIONS):
            session = f"{number:08x}-0668-41ec-8c5e-fd3f1c2a9a11"
            recording = f"{number:08x}-0668-41ec-9ae2-ff0d2c1b7a22"
            ids = {"subaccount_id": account, "session_id": session}
            facts = {"call_duration_s": 61.0, "sources": ["files"]}
            day["session_ids"].append({**ids, **facts})
            day["sessions"].append({**ids, **facts, "lookup_status": "ok", "recording_count": 1, "looked_up_at": NOW})
            day["recording_metadata"].append({**ids, "recording_id": recording, "api_status": "UPLOAD_COMPLETED"})
            day["recordings"].append(
                {
                    **ids,
                    "recording_id": recording,
                    "api_status": "UPLOAD_COMPLETED",
                    "archive_status": "archived",
                    "duration_s": 60.0,
                    "duration_api_s": 60.0,
                    "duration_mismatch": False,
                }
            )
    return day


def write_by_hand(catalog: Catalog, table: Table, rows: list[Row]) -> None:
    """A partition that `replace_partition` would refuse: a check must not lean on its writer."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), buffer)
    catalog.store.replace(table.partition_path(DAY), buffer.getvalue())


def settings(limits: CheckSettings) -> Settings:
    return Settings.model_construct(checks=limits, accounts=())


def verdicts(
    tmp_path: Path, day: Day, *, limits: CheckSettings = NO_TOLERANCE, leave_out: Table | None = None
) -> dict[str, CheckResult]:
    catalog = Catalog.open(tmp_path)
    for table in TABLES:
        if table is not leave_out:
            write_by_hand(catalog, table, day[table.name])
    results = run_checks(catalog, DAY, settings(limits))
    return {result.name: result for result in results}


def test_a_check_without_an_answer_is_neither_passed_nor_failed(tmp_path: Path) -> None:
    day = sound_day()
    write_unknown(tmp_path, "landing_objects_known", "the listing never ended")
    result = verdicts(tmp_path, day)["landing_objects_known"]
    assert result.outcome is Outcome.NOT_CHECKED
    assert not result.passed
    assert not result.failed
    assert result.summary == "not checked: acme_sg: the listing never ended"


def test_a_failure_stays_a_failure_beside_unknowns(tmp_path: Path) -> None:
    day = sound_day()
    day["reconciliation"].append(discrepancy(1, Discrepancy.ORPHAN_OBJECT))
    write_unknown(tmp_path, "landing_objects_known", "the listing never ended")
    result = verdicts(tmp_path, day)["landing_objects_known"]
    assert result.outcome is Outcome.FAILED
    assert "the listing never ended" in result.summary


def test_a_day_without_a_table_has_not_passed_the_checks_on_it(tmp_path: Path) -> None:
    day = sound_day()
    results = verdicts(tmp_path, day, leave_out=schemas.RECONCILIATION)
    assert {name for name, result in results.items() if result.outcome is Outcome.NOT_CHECKED} == {
        check.name for check in RECONCILIATION_CHECKS.values()
    }


def test_an_account_that_could_not_be_archived_fails_its_check_and_leaves_the_others_unchecked(tmp_path: Path) -> None:
    day = sound_day()
    day["sessions"] = [row for row in day["sessions"] if row["subaccount_id"] == "acme_sg"]
    failure = {
        "subaccount_id": "acme_th",
        "step": "recording_metadata",
        "error_type": "UnavailableError",
        "reason": "no readable answer",
        "retryable": True,
        "exit_code": 1,
    }
    write_by_hand(Catalog.open(tmp_path), schemas.ACCOUNT_FAILURES, [failure])
    results = verdicts(tmp_path, day)
    assert results["accounts_archived"].outcome is Outcome.FAILED
    assert results["accounts_archived"].is_error
    assert "acme_th: no readable answer" in results["accounts_archived"].summary
    others = [result for name, result in results.items() if name != "accounts_archived"]
    assert {result.outcome for result in others} == {Outcome.NOT_CHECKED}
    assert all("acme_th" in result.summary for result in others)


def write_unknown(tmp_path: Path, question: str, reason: str) -> None:
    row = {"subaccount_id": "acme_sg", "question": question, "reason": reason}
    write_by_hand(Catalog.open(tmp_path), schemas.UNKNOWNS, [row])


def failing(tmp_path: Path, day: Day, *, limits: CheckSettings = NO_TOLERANCE) -> set[str]:
    return {name for name, result in verdicts(tmp_path, day, limits=limits).items() if not result.passed}


def test_a_sound_day_passes_every_check(tmp_path: Path) -> None:
    results = verdicts(tmp_path, sound_day())
    assert set(results) == {check.name for check in CHECKS}
    assert {name for name, result in results.items() if not result.passed} == set()
    assert all(result.examples == () for result in results.values())


def test_an_empty_day_passes_every_check(tmp_path: Path) -> None:
    assert failing(tmp_path, {table.name: [] for table in TABLES}) == set()


def test_a_summary_names_only_what_is_not_zero(tmp_path: Path) -> None:
    day = sound_day()
    sound = {name: result.summary for name, result in verdicts(tmp_path / "sound", day).items()}
    assert {name: text for name, text in sound.items() if re.search(r"\b0 [a-z]", text)} == {}
    assert sound["recordings_have_files"] == "no recording_without_file open (limit 0)"
    day["recordings"][3] |= {"archive_status": "missing", "error": "not found", "duration_s": None}
    lost = verdicts(tmp_path / "lost", day)["recordings_archived"]
    assert lost.summary == "1 missing of 24 recordings (4.2%, limit 0.0%)"


def lose_a_session(day: Day) -> None:
    del day["sessions"][3], day["recordings"][3], day["recording_metadata"][3]


def invent_a_session(day: Day) -> None:
    del day["session_ids"][3]


def repeat_a_session(day: Day) -> None:
    day["sessions"].append(day["sessions"][3])


def set_a_row_aside(day: Day) -> None:
    problem = {"subaccount_id": "acme_sg", "problem_number": 0, "source": "files", "file": "x.csv", "line": 3}
    day["session_problems"].append({**problem, "reason": "not a session id"})


def miss_a_session(day: Day) -> None:
    ids = {key: day["session_ids"][3][key] for key in ("subaccount_id", "session_id")}
    day["missing_sessions"].append({**ids, "source": "log_export", "reason": "an earlier run found it in this source"})


def fail_a_lookup(day: Day) -> None:
    day["sessions"][3].update(lookup_status="error", lookup_error="no answer")


def know_no_session_of_an_account(day: Day) -> None:
    for row in day["sessions"][SESSIONS:]:
        row.update(lookup_status="not_found", recording_count=0)
    del day["recordings"][SESSIONS:], day["recording_metadata"][SESSIONS:]


def lose_a_recording(day: Day) -> None:
    del day["recordings"][3]
    day["sessions"][3]["recording_count"] = 0


def invent_a_recording(day: Day) -> None:
    del day["recording_metadata"][3]


def miscount_a_session(day: Day) -> None:
    day["sessions"][3]["recording_count"] = 2


def repeat_a_recording(day: Day) -> None:
    day["recordings"].append(day["recordings"][3])
    day["sessions"][3]["recording_count"] = 2


def state(name: str) -> Callable[[Day], None]:
    def change(day: Day) -> None:
        day["recordings"][3].update(
            archive_status=name, error="why", duration_s=None, duration_mismatch=None, api_status="UNKNOWN"
        )

    change.__name__ = f"leave_a_recording_{name}"
    return change


def audio(**values: Any) -> Callable[[Day], None]:
    def change(day: Day) -> None:
        day["recordings"][3].update(values)

    change.__name__ = "_".join(f"{name}_{value}" for name, value in values.items())
    return change


def shorten_a_call(day: Day) -> None:
    day["sessions"][3]["call_duration_s"] = 50.0


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (lose_a_session, "every_session_accounted_for"),
        (invent_a_session, "every_session_accounted_for"),
        (repeat_a_session, "sessions_unique"),
        (set_a_row_aside, "source_rows_readable"),
        (miss_a_session, "sources_complete"),
        (fail_a_lookup, "lookups_succeeded"),
        (know_no_session_of_an_account, "accounts_known"),
        (lose_a_recording, "every_recording_accounted_for"),
        (invent_a_recording, "every_recording_accounted_for"),
        (miscount_a_session, "every_recording_accounted_for"),
        (repeat_a_recording, "recordings_unique"),
        *((state(name), "recordings_archived") for name in ("failed", "missing", "rejected", "not_uploaded")),
        (audio(duration_mismatch=True), "durations_plausible"),
        (audio(audio_issue="truncated"), "durations_plausible"),
        (audio(duration_s=90.0), "durations_plausible"),
        (audio(duration_s=0.0), "durations_plausible"),
        (audio(duration_s=-1.0), "durations_plausible"),
        (audio(duration_s=float("nan")), "durations_plausible"),
        (audio(duration_s=None), "durations_plausible"),
        (audio(duration_s=24 * 3600 + 1.0), "durations_plausible"),
        (shorten_a_call, "durations_plausible"),
        (audio(channels=1, silent_channels=[1]), "recordings_audible"),
        (audio(channels=2, silent_channels=[2]), "recordings_audible"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_day_broken_in_one_way_fails_exactly_that_check(
    tmp_path: Path, broken: Callable[[Day], None], check: str
) -> None:
    day = copy.deepcopy(sound_day())
    broken(day)
    assert failing(tmp_path, day) == {check}


@pytest.mark.parametrize(
    "harmless", [state("pending"), state("erased"), audio(duration_s=61.5), audio(duration_mismatch=None)]
)
def test_harmless_states_fail_nothing(tmp_path: Path, harmless: Callable[[Day], None]) -> None:
    day = sound_day()
    harmless(day)
    assert failing(tmp_path, day) == set()


def test_a_recording_may_exceed_its_call_by_a_tenth_or_by_the_tolerance(tmp_path: Path) -> None:
    day = sound_day()
    day["sessions"][3]["call_duration_s"] = 600.0
    day["recordings"][3].update(duration_s=659.0)
    day["sessions"][4]["call_duration_s"] = 3.0
    day["recordings"][4].update(duration_s=4.9)
    day["sessions"][5]["call_duration_s"] = None
    assert failing(tmp_path, day) == set()
    day["recordings"][3].update(duration_s=661.0)
    day["recordings"][4].update(duration_s=5.1)
    results = verdicts(tmp_path, day)
    assert results["durations_plausible"].numbers["longer_than_call"] == 2


@pytest.mark.parametrize(
    ("broken", "limit"),
    [
        (fail_a_lookup, "max_failed_lookup_share"),
        (state("failed"), "max_failed_recording_share"),
        (audio(duration_mismatch=True), "max_duration_mismatch_share"),
        (audio(channels=1, silent_channels=[1]), "max_silent_share"),
    ],
    ids=["lookups", "recordings", "durations", "silence"],
)
def test_a_share_at_its_limit_passes_and_one_above_it_fails(
    tmp_path: Path, broken: Callable[[Day], None], limit: str
) -> None:
    day = sound_day()
    broken(day)
    share = 1 / (2 * SESSIONS)
    assert failing(tmp_path, day, limits=NO_TOLERANCE.model_copy(update={limit: share})) == set()
    assert len(failing(tmp_path, day, limits=NO_TOLERANCE.model_copy(update={limit: share * 0.99}))) == 1


def test_impossible_durations_fail_at_any_limit(tmp_path: Path) -> None:
    day = sound_day()
    audio(duration_s=0.0)(day)
    generous = NO_TOLERANCE.model_copy(update={"max_duration_mismatch_share": 1.0})
    assert failing(tmp_path, day, limits=generous) == {"durations_plausible"}


def test_one_account_without_many_sessions_may_be_unknown(tmp_path: Path) -> None:
    day = sound_day()
    know_no_session_of_an_account(day)
    for name in ("sessions", "session_ids"):
        del day[name][SESSIONS + 9 :]
    assert failing(tmp_path, day) == set()


def test_only_checks_for_wrong_tables_are_blocking(tmp_path: Path) -> None:
    blocking = {name for name, result in verdicts(tmp_path, sound_day()).items() if result.check.blocking}
    assert blocking == {
        "every_session_accounted_for",
        "sessions_unique",
        "every_recording_accounted_for",
        "recordings_unique",
    }


def test_a_result_has_counts_and_examples(tmp_path: Path) -> None:
    day = sound_day()
    for row in day["recordings"]:
        row.update(archive_status="missing", error="not there", duration_s=None)
    result = verdicts(tmp_path, day)["recordings_archived"]
    assert (result.table, result.day) == (schemas.RECORDINGS, DAY)
    assert result.numbers == {"missing": 24, "share": 1.0}
    assert "24 missing" in result.summary
    assert len(result.examples) == 20
    assert result.examples[0] == "00000000-0668-41ec-9ae2-ff0d2c1b7a22: missing: not there"


def test_the_checks_of_one_table_can_run_alone(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path)
    for table in TABLES:
        write_by_hand(catalog, table, sound_day()[table.name])
    results = run_checks(catalog, DAY, settings(NO_TOLERANCE), table=schemas.RECORDINGS)
    assert [result.name for result in results] == [c.name for c in CHECKS if c.table is schemas.RECORDINGS]


def discrepancy(number: int, kind: Discrepancy, *, state: str = "open") -> Row:
    return {
        "subaccount_id": "acme_sg",
        "session_id": f"{number:08x}-0668-41ec-8c5e-fd3f1c2a9a11",
        "kind": kind.value,
        "subject": f"subject {number}",
        "reason": "why",
        "first_seen_at": NOW,
        "state": state,
    }


def test_every_kind_of_discrepancy_has_its_check_and_its_limit() -> None:
    assert set(RECONCILIATION_CHECKS) == set(Discrepancy)
    assert set(ReconciliationLimits.model_fields) == {kind.value for kind in Discrepancy}
    assert {check.name for check in RECONCILIATION_CHECKS.values()} == {
        check.name for check in CHECKS if check.table is schemas.RECONCILIATION
    }


@pytest.mark.parametrize("kind", Discrepancy)
def test_one_open_discrepancy_more_than_its_limit_fails_the_check_of_its_kind_alone(
    tmp_path: Path, kind: Discrepancy
) -> None:
    day = sound_day()
    day["reconciliation"] = [discrepancy(number, kind) for number in range(3)]
    day["reconciliation"].append(discrepancy(3, kind, state="resolved"))
    name = RECONCILIATION_CHECKS[kind].name

    def limited(limit: int | None) -> CheckSettings:
        limits = ReconciliationLimits(**{other.value: 0 for other in Discrepancy} | {kind.value: limit})
        return NO_TOLERANCE.model_copy(update={"reconciliation": limits})

    assert failing(tmp_path, day, limits=limited(2)) == {name}
    assert failing(tmp_path, day, limits=limited(3)) == set()
    result = verdicts(tmp_path, day, limits=limited(None))[name]
    assert result.passed
    connected = {"connected": 3} if kind is Discrepancy.SESSION_NOT_FOUND else {}
    assert result.numbers == {"open": 3, "resolved": 1} | connected
    assert result.examples == ("subject 0: why", "subject 1: why", "subject 2: why")
    assert f"3 {kind.value} open (no limit)" in result.summary


def test_sessions_of_calls_that_were_not_connected_may_be_unknown_to_8x8(tmp_path: Path) -> None:
    day = sound_day()
    for row, lasted_s in zip(day["sessions"][:3], (0.0, None, 61.0), strict=True):
        row["call_duration_s"] = lasted_s
    day["reconciliation"] = [discrepancy(number, Discrepancy.SESSION_NOT_FOUND) for number in range(3)]
    result = verdicts(tmp_path, day)["named_sessions_found"]
    assert (result.passed, result.numbers) == (False, {"open": 3, "resolved": 0, "connected": 1})
    day["sessions"][2]["call_duration_s"] = 0.0
    result = verdicts(tmp_path, day)["named_sessions_found"]
    assert (result.passed, result.numbers) == (True, {"open": 3, "resolved": 0, "connected": 0})


def answered(account: str, count: int, *, negative: int, day: date = DAY, at: datetime | None = None) -> list[Row]:
    """Sessions of connected calls; `negative` of them have no recording."""
    ended_at = datetime.combine(day, time(12), tzinfo=UTC)
    return [
        {
            "subaccount_id": account,
            "session_id": f"{day}-{number:04}",
            "ended_at": ended_at,
            "call_duration_s": 60.0,
            "lookup_status": ("no_recordings", "not_found")[number % 2] if number < negative else "ok",
            "looked_up_at": at or ended_at + timedelta(hours=24),
            "recording_count": int(number >= negative),
        }
        for number in range(count)
    ]


def usual(tmp_path: Path, today: list[Row], *, before: list[tuple[int, int]], account: str = "acme") -> CheckResult:
    """The check's result; `before` has sessions and negative answers of earlier days, the newest first."""
    catalog = Catalog.open(tmp_path)
    for back, (count, negative) in enumerate(before, start=1):
        earlier = DAY - timedelta(days=back)
        rows = answered(account, count, negative=negative, day=earlier)
        catalog.replace_partition(schemas.SESSIONS, earlier, rows)
    catalog.replace_partition(schemas.SESSIONS, DAY, today)
    results = run_checks(catalog, DAY, settings(CheckSettings()), table=schemas.SESSIONS)
    return next(result for result in results if result.name == "negative_answers_usual")


@pytest.mark.parametrize(
    ("today", "before", "passed"),
    [
        ((40, 30), [(40, 10)] * 10, False),
        ((40, 18), [(40, 10)] * 10, True),  # 20 points above
        ((20, 10), [(400, 100)] * 10, True),  # more than that, but no more than chance
        ((400, 190), [(400, 100)] * 10, False),
        ((40, 30), [(40, 30)] * 10, True),
        ((40, 30), [(40, 10)] * 5 + [(40, 30)] * 2 + [(40, 10)] * 3, True),  # weekends
        ((40, 30), [(40, 30)] + [(40, 10)] * 27, False),  # the second bad day
        ((40, 30), [(40, 30)] * 2 + [(40, 10)] * 26, False),
        ((40, 30), [(40, 30)] * 3 + [(40, 10)] * 25, True),
        ((40, 30), [(40, 10)] * 28 + [(40, 30)] * 20, False),  # too long ago
        ((40, 30), [(40, 10)], False),
        ((40, 30), [], True),  # a new account
        ((40, 30), [(19, 1)] * 5, True),  # too few sessions to compare with
        ((19, 19), [(40, 1)] * 10, True),
    ],
)
def test_far_more_negative_answers_than_usual_fail_a_check(
    tmp_path: Path, today: tuple[int, int], before: list[tuple[int, int]], passed: bool
) -> None:
    result = usual(tmp_path, answered("acme", today[0], negative=today[1]), before=before)
    assert result.passed is passed, result.summary
    assert len(result.examples) == (not passed)
    assert not passed or "no account with far more" in result.summary


def test_responses_within_the_grace_period_do_not_count(tmp_path: Path) -> None:
    early = datetime(2026, 11, 2, 11, 59, tzinfo=UTC)
    today = answered("acme", 40, negative=40, at=early)
    assert usual(tmp_path, today, before=[(40, 2)] * 5).passed


def test_accounts_are_compared_only_with_their_own_days(tmp_path: Path) -> None:
    today = answered("acme", 40, negative=40) + answered("other", 40, negative=0)
    assert usual(tmp_path, today, before=[(40, 2)] * 5, account="other").passed
    result = usual(tmp_path, today, before=[(40, 2)] * 5, account="acme")
    assert result.examples == ("acme: 40 of 40 sessions (100.0%); usual is 5.0% (from 5 earlier days)",)


def test_ten_connected_calls_without_any_recording_are_a_wrong_account(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path)

    def passes(rows: list[Row]) -> bool:
        catalog.replace_partition(schemas.SESSIONS, DAY, rows)
        results = run_checks(catalog, DAY, settings(CheckSettings()), table=schemas.SESSIONS)
        return next(result.passed for result in results if result.name == "accounts_known")

    assert not passes(answered("acme", 10, negative=10))
    assert passes(answered("acme", 9, negative=9))
    assert passes(answered("acme", 30, negative=29))
    assert passes(answered("acme", 10, negative=10, at=datetime(2026, 11, 2, 11, tzinfo=UTC)))
    assert passes(
        [row | {"call_duration_s": 0.0, "lookup_status": "no_recordings"} for row in answered("acme", 30, negative=30)]
    )

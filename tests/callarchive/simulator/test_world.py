"""The generated world: reproducible from its seed, and consistent with 8x8's documentation."""

import re
import uuid
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

import pytest

from callarchive.simulator.generation import OUTCOMES, generate_world
from callarchive.simulator.world import AccountPlan, Answer, FileState, World

FIRST, LAST = date(2026, 3, 2), date(2026, 3, 8)
EPOCH_1582 = datetime(1582, 10, 15, tzinfo=UTC)


def seconds_between_uuid_and(at: datetime, identifier: str) -> float:
    made_at = EPOCH_1582 + timedelta(microseconds=uuid.UUID(identifier).time / 10)
    return abs((made_at - at).total_seconds())


def test_the_same_arguments_give_the_same_world(world: World) -> None:
    again = generate_world(seed=1, accounts=world.accounts, first_day=FIRST, last_day=LAST, sessions_per_day=25)
    assert again == world


def test_another_seed_gives_another_world(world: World) -> None:
    other = generate_world(seed=2, accounts=world.accounts, first_day=FIRST, last_day=LAST, sessions_per_day=25)
    assert not {session.session_id for session in world.sessions} & {session.session_id for session in other.sessions}


def test_adding_days_or_accounts_does_not_change_the_others(world: World) -> None:
    longer = generate_world(
        seed=1,
        accounts=[*world.accounts, AccountPlan("third", "s3", "third-bucket")],
        first_day=FIRST,
        last_day=LAST + timedelta(days=1),
        sessions_per_day=25,
    )
    assert set(longer.sessions) > set(world.sessions)


def test_each_account_has_its_sessions_on_each_day(world: World) -> None:
    for offset in range(7):
        day = FIRST + timedelta(days=offset)
        assert len(world.sessions_on(day)) == 50
        assert len(world.sessions_on(day, subaccount_id="acme_sg")) == 25


def test_ids_are_unique_version_1_uuids_of_the_time_of_the_call(world: World) -> None:
    ids = [session.session_id for session in world.sessions] + [each.recording_id for each in world.recordings]
    assert len(set(ids)) == len(ids)
    assert {uuid.UUID(each).version for each in ids} == {1}
    assert {uuid.UUID(each).variant for each in ids} == {uuid.RFC_4122}
    assert max(seconds_between_uuid_and(each.started_at, each.session_id) for each in world.sessions) < 1
    assert max(seconds_between_uuid_and(each.started_at, each.recording_id) for each in world.recordings) < 1


def test_a_week_has_every_outcome_and_is_mostly_healthy(world: World) -> None:
    seen = Counter((each.status, each.file, each.ready_at is not None) for each in world.recordings)
    assert set(seen) == {(each.status, each.file, each.ready_after is not None) for each in OUTCOMES}
    healthy = sum(count for (_, file, _), count in seen.items() if file is FileState.WHOLE)
    assert healthy / seen.total() > 0.8


def test_shares_are_percentages() -> None:
    assert sum(OUTCOMES.values()) == 100


def test_a_week_has_every_response_of_the_api(world: World) -> None:
    assert {session.answer for session in world.sessions} == set(Answer)


def test_only_completed_sessions_are_recorded_and_some_of_them_are_not(world: World) -> None:
    counts = Counter((session.status == "COMPLETED", len(session.recordings)) for session in world.sessions)
    assert {key for key in counts if not key[0]} == {(False, 0)}
    assert {number for completed, number in counts if completed} == {0, 1, 2}


def test_a_recording_is_within_its_call(world: World) -> None:
    for session in world.sessions:
        for recording in session.recordings:
            ended_at = recording.started_at + timedelta(seconds=recording.duration_s)
            assert session.started_at < recording.started_at
            assert ended_at < session.ended_at + timedelta(seconds=2)


def test_legs_add_up(world: World) -> None:
    for session in world.sessions:
        assert [leg.direction for leg in session.legs] == ["inbound", "outbound"][: len(session.legs)]
        assert session.started_at == session.legs[0].initiated_at
        for leg in session.legs:
            answered = leg.status == "COMPLETED"
            assert (leg.connected_at is not None) == answered
            assert (leg.duration_s > 0) == answered
            assert leg.source.digits.startswith(leg.source.country_code)


def test_sessions_that_begin_just_before_midnight_have_their_second_leg_after_it(world: World) -> None:
    split = [
        session
        for session in world.sessions
        if len(session.legs) == 2 and session.legs[0].initiated_at.date() < session.legs[1].initiated_at.date()
    ]
    assert split


def test_days_are_cut_in_the_time_zone_even_where_clocks_change() -> None:
    zone = ZoneInfo("Europe/London")
    autumn = generate_world(
        seed=3,
        accounts=[AccountPlan("uk", "s3", "uk-bucket")],
        first_day=date(2026, 10, 25),  # 25 hours long
        last_day=date(2026, 10, 25),
        sessions_per_day=60,
        timezone="Europe/London",
    )
    local = [session.started_at.astimezone(zone) for session in autumn.sessions]
    assert {at.date() for at in local} == {date(2026, 10, 25)}
    assert local == sorted(local, key=lambda at: at.astimezone(UTC))
    assert len(autumn.sessions_on(date(2026, 10, 25))) == 60


@pytest.mark.parametrize("subaccount_id", ["acme_sg", "b&b.asia"])
def test_paths_have_raw_colons_and_urls_have_encoded_ones(world: World, subaccount_id: str) -> None:
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    for session in world.sessions_of(subaccount_id):
        for each in session.recordings:
            tail = f"{session.session_id}/{each.recording_id}_{time}.mp3"
            assert re.fullmatch(rf"(\d{{4}}-\d\d-\d\d/)?{tail}", each.path)
            if each.external_file_url is not None:
                assert ":" not in urlsplit(each.external_file_url).path
                assert re.search(rf"/{tail}$", unquote(each.external_file_url))


def test_layouts_determine_date_folders(world: World) -> None:
    dated = {
        account.layout: {
            each.path.count("/") for s in world.sessions_of(account.subaccount_id) for each in s.recordings
        }
        for account in world.accounts
    }
    assert dated == {"mixed": {1, 2}, "dated": {2}}


def test_some_date_folders_differ_from_the_utc_day_in_the_name(world: World) -> None:
    dated = [each for each in world.recordings if each.path.count("/") == 2]
    assert any(each.path[:10] != each.started_at.date().isoformat() for each in dated)


def test_some_listed_sessions_are_only_in_the_files(world: World) -> None:
    kinds = {(session.exported, session.listed) for session in world.sessions_of("b&b.asia")}
    assert kinds == {(True, False), (True, True), (False, True)}
    assert {(session.exported, session.listed) for session in world.sessions_of("acme_sg")} == {(True, False)}


def test_reprs_have_no_phone_numbers(world: World) -> None:
    digits = {leg.destination.digits for session in world.sessions for leg in session.legs}
    text = repr(world)
    assert not [number for number in digits if number in text]

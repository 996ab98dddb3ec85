import dagster as dg
import pytest

from assets.failures import ends_batch, errors_as_failures, failure, failure_of_days
from callarchive.domain import errors


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (errors.UnavailableError("no answer"), True),
        (errors.ExportFailedError("the job failed"), True),
        (errors.AccessDeniedError("401"), False),
        (errors.HostKeyError("changed"), False),
        (errors.ConfigurationError("bad key"), False),
        (errors.StoreError("disk full"), False),
        (errors.SourceError("no file"), False),
    ],
)
def test_only_transient_errors_are_retried(error: errors.ArchiveError, retried: bool) -> None:
    assert failure(error).allow_retries is retried


def test_a_failure_has_the_message_of_the_error() -> None:
    shown = failure(errors.AccessDeniedError("8x8 does not accept the key of acme_sg"))
    assert (shown.description or "").splitlines()[0] == "8x8 does not accept the key of acme_sg"
    assert str(shown.metadata["next_step"].value) in (shown.description or "")
    assert shown.metadata["error"].value == "AccessDeniedError"


def test_the_causes_of_an_error_stay_out_of_dagsters_database() -> None:
    error = errors.AccessDeniedError("the store refuses")
    error.__cause__ = OSError("https://bucket.example/?X-Amz-Signature=abc")
    with pytest.raises(dg.Failure) as caught, errors_as_failures():
        raise error
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None


def test_errors_of_other_kinds_pass_unchanged() -> None:
    with pytest.raises(ZeroDivisionError), errors_as_failures():
        _ = 1 // 0


def test_the_failure_of_one_day_has_cause_place_and_next_step_as_text_and_as_json() -> None:
    shown = failure_of_days(
        {"2026-01-05": errors.SourceError("no file")}, step="session_ids", day_count=1, done_count=0
    )
    step = "correct what the message names, then run the failed days again."
    assert shown.description == f"2026-01-05: no file\nNext step: {step}"
    place = {"day": "2026-01-05", "step": "session_ids", "cause": "no file", "next_step": step, "retryable": False}
    assert shown.metadata["failed_days"].value == [place]


def test_the_failure_of_a_batch_counts_days_done_failed_and_not_tried() -> None:
    failed = {"2026-01-05": errors.SourceError("no file"), "2026-01-06": errors.UnavailableError("no answer")}
    shown = failure_of_days(failed, step="session_ids", day_count=10, done_count=3)
    first, *days, last, _, later = (shown.description or "").splitlines()
    assert later.startswith("Next step: run the failed days again later")
    assert first == "2 of 10 days failed, 5 were not tried."
    assert days == ["2026-01-05: no file", "2026-01-06: no answer"]
    assert last == "This step keeps the other 3."


def test_the_failure_of_a_bad_day_reports_that_the_other_days_continued() -> None:
    shown = failure_of_days(
        {"2026-01-05": errors.SourceError("no file")}, step="session_ids", day_count=3, done_count=2
    )
    assert (shown.description or "").splitlines()[:3] == [
        "1 of 3 days failed, 0 were not tried.",
        "2026-01-05: no file",
        "All steps of the run are done for the other 2.",
    ]


def test_a_batch_is_retried_only_if_that_can_help_every_failed_day() -> None:
    passing, lasting = errors.UnavailableError("no answer"), errors.SourceError("no file")
    assert failure_of_days({"a": passing}, step="session_ids", day_count=2, done_count=1).allow_retries
    assert not failure_of_days(
        {"a": passing, "b": lasting}, step="session_ids", day_count=2, done_count=0
    ).allow_retries


def test_an_outage_a_refusal_and_a_full_disk_end_a_batch_and_a_bad_day_does_not() -> None:
    assert ends_batch(errors.UnavailableError(""))
    assert ends_batch(errors.AccessDeniedError(""))
    assert ends_batch(errors.StoreError(""))
    assert not ends_batch(errors.SourceError(""))
    assert not ends_batch(errors.ExportFailedError(""))

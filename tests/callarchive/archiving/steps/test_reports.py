from datetime import date

from callarchive.archiving.steps.reports import StepReport
from callarchive.catalog import schemas
from callarchive.domain.errors import AccountFailure, UnavailableError

DAY = date(2026, 11, 28)


def test_a_line_says_what_was_downloaded_and_what_was_not_archived() -> None:
    counts = {"archived": 35, "not_uploaded": 1, "failed": 0, "fetched": 4, "fetched_bytes": 1_234_567, "unchanged": 31}
    assert StepReport(schemas.RECORDING_FILES, DAY, 36, counts).line == (
        "2026-11-28: 36 recordings, 31 already archived, 4 downloaded (1.2 MB), 1 not uploaded"
    )


def test_a_line_names_accounts_that_failed() -> None:
    failure = AccountFailure.of("acme_sg", "session_ids", UnavailableError("no answer"))
    assert StepReport(schemas.SESSION_IDS, DAY, 1, {"files": 1}, (failure,)).line == (
        "2026-11-28: 1 session, 1 files, failed for acme_sg"
    )


def test_a_line_of_statistics_counts_rows() -> None:
    assert StepReport(schemas.STATUS_STATS, DAY, 10).line == "2026-11-28: 10 rows"

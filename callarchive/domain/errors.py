"""The errors that callarchive raises. Those of libraries are translated where they occur, with `from err`."""

from collections.abc import Sequence
from dataclasses import dataclass

from callarchive.domain.foreign_text import cleaned_lines


class ArchiveError(Exception):
    """The base of all errors of callarchive.

    Messages quote servers, paths and values, and end up in rows, logs and alerts: `str` cleans them.
    """

    retryable = False  # whether the same call may succeed later without a change
    exit_code = 1  # of the command line when this error ends the run

    def __str__(self) -> str:
        return cleaned_lines(super().__str__())


class ConfigurationError(ArchiveError):
    """The configuration has an unknown key, a missing one, a bad value, or a store that cannot be used."""

    exit_code = 2


class RefusedError(ArchiveError):
    """A permission, a host key or a hold forbids it; a retry does not help."""

    exit_code = 3


class AccessDeniedError(RefusedError):
    """The API or a store rejects our credentials, or they have expired."""


class RetainedError(RefusedError):
    """A legal hold or a retention of Object Lock keeps an object, so it was not erased."""


class HostKeyError(RefusedError):
    """An SFTP server presented an unknown key, or another than the pinned one. No credentials were sent."""


@dataclass(frozen=True, slots=True)
class AccountFailure:
    """The error that ended an account's step, which writes the table `step`, in a run."""

    subaccount_id: str
    step: str
    error_type: str
    reason: str
    retryable: bool
    exit_code: int

    @classmethod
    def of(cls, subaccount_id: str, step: str, error: ArchiveError) -> "AccountFailure":
        """Return the failure for an error that ended an account's step."""
        return cls(subaccount_id, step, type(error).__name__, str(error), error.retryable, error.exit_code)

    @property
    def line(self) -> str:
        """The account, and the reason, which may begin with it too."""
        return f"{self.subaccount_id}: {self.reason.removeprefix(f'account {self.subaccount_id}: ')}"

    def row(self) -> dict[str, object]:
        """Return it as a row of `account_failures`."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class AccountsFailedError(ArchiveError):
    """Accounts of a day failed; the others, if there are any, were archived and published."""

    def __init__(self, failures: Sequence[AccountFailure]) -> None:
        super().__init__("; ".join(failure.line for failure in failures))
        self.failures = tuple(failures)
        self.retryable = all(failure.retryable for failure in failures)
        self.exit_code = max(failure.exit_code for failure in failures)


class UnavailableError(ArchiveError):
    """The API, a landing, the archive or the catalog could not be reached within the deadline."""

    retryable = True


class RejectedRequestError(UnavailableError):
    """A store rejects a request and would reject it again: a disabled KMS key, a service that is not S3."""

    retryable = False


class ArchiveDeniedError(AccessDeniedError):
    """The archive's own store rejects our credentials, so no recording can be archived."""


class ArchiveUnavailableError(UnavailableError):
    """The archive's own store cannot be reached, so no recording can be archived."""


class AnswerError(ArchiveError):
    """A response could not be parsed."""

    retryable = True


class ExportError(ArchiveError):
    """A log export failed."""

    retryable = True


class ExportFailedError(ExportError):
    """8x8 reports that the export job failed."""


class ExportCancelledError(ExportError):
    """8x8 reports that the export job was cancelled, by somebody else: we only cancel jobs that we abandon."""


class ExportServerError(ExportError):
    """8x8 reports that an internal error ended the export job."""


class ExportExpiredError(ExportError):
    """The export's files can no longer be downloaded."""


class SourceError(ArchiveError):
    """A session source cannot be read, so the day's sessions are unknown."""


class InvalidIdError(ArchiveError):
    """A string is not a valid id."""


class ObjectNotFoundError(ArchiveError):
    """The object does not exist."""


class NotLookedIntoError(ArchiveError):
    """An object was not found, and not every place where it may be could be listed, so it may still exist."""


class TransferError(ArchiveError):
    """A recording's bytes were too few, too many, too slow, or not those that the store describes."""

    retryable = True


class ColdObjectError(TransferError):
    """The object is in an archive storage class of S3, such as GLACIER, and must be restored before it can be read."""

    retryable = False


class StoreError(ArchiveError):
    """A write or a deletion failed, mostly in the archive or the catalog: disk full, I/O error, read-only."""


class DamagedTableError(StoreError):
    """The file of a partition is damaged."""


class AlreadyExistsError(StoreError):
    """A write-once name is taken."""


class LedgerError(ArchiveError):
    """The end of the ledger is not intact, so that nothing can be appended, or the ledger contradicts itself."""


class NotAudioError(ArchiveError):
    """The bytes are no mp3 audio: empty, a web page, another format, or no two frames in a row."""

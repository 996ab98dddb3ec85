"""The error tree: every error that this program raises on purpose.

Library errors (requests, paramiko, boto3, obstore, OSError) are translated where they occur, with `from err`.
An error that concerns one recording or one session becomes a row; an error that concerns the run ends it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from callarchive.domain.foreign_text import cleaned_lines


class ArchiveError(Exception):
    """Something that callarchive could not do.

    Messages quote servers, paths and values, and become rows, log lines and alerts: `str` gives them cleaned.

    Attributes:
        retryable: whether the same call may succeed later without anyone changing anything.
        exit_code: what the command line exits with when this error ends the run.
    """

    retryable = False
    exit_code = 1

    def __str__(self) -> str:
        return cleaned_lines(super().__str__())


class ConfigurationError(ArchiveError):
    """The configuration names an unknown key, lacks one, holds a bad value, or names a store that cannot be used."""

    exit_code = 2


class RefusedError(ArchiveError):
    """Somebody said no, and asking again will not help: a permission, a host key, a hold."""

    exit_code = 3


class AccessDeniedError(RefusedError):
    """The API or a store does not accept our credentials, or they have expired."""


class HostKeyError(RefusedError):
    """An SFTP server showed a key that is unknown or differs from the pinned one. No credentials were sent."""


@dataclass(frozen=True, slots=True)
class AccountFailure:
    """Why a run of a day could not archive an account.

    Attributes:
        step: name of the table whose step failed.
        error_type: name of the error's class.
        reason: its message.
        retryable, exit_code: as of `ArchiveError`.
    """

    subaccount_id: str
    step: str
    error_type: str
    reason: str
    retryable: bool
    exit_code: int

    @classmethod
    def of(cls, subaccount_id: str, step: str, error: ArchiveError) -> "AccountFailure":
        """Return what is kept of the error that ended an account's step."""
        return cls(subaccount_id, step, type(error).__name__, str(error), error.retryable, error.exit_code)

    def row(self) -> dict[str, object]:
        """Return it as a row of `account_failures`."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class AccountsFailedError(ArchiveError):
    """Some accounts could not be archived on a day; the others were, and their rows are published.

    Attributes:
        failures: one for each account.
    """

    def __init__(self, failures: Sequence[AccountFailure]) -> None:
        super().__init__("; ".join(f"{failure.subaccount_id}: {failure.reason}" for failure in failures))
        self.failures = tuple(failures)
        self.retryable = all(failure.retryable for failure in failures)
        self.exit_code = max(failure.exit_code for failure in failures)


class UnavailableError(ArchiveError):
    """The API, a landing, the archive or the catalog could not be reached within the deadline."""

    retryable = True


class ArchiveDeniedError(AccessDeniedError):
    """The archive's own store does not accept our credentials: no recording can be kept."""


class ArchiveUnavailableError(UnavailableError):
    """The archive's own store cannot be reached: no recording can be kept."""


class AnswerError(ArchiveError):
    """An answer arrived and could not be understood."""

    retryable = True


class ExportError(ArchiveError):
    """A log export did not give its rows."""

    retryable = True


class ExportFailedError(ExportError):
    """8x8 says that the export job failed."""


class ExportCancelledError(ExportError):
    """8x8 says that the export job was cancelled: by somebody else, we cancel only what we abandon."""


class ExportServerError(ExportError):
    """8x8 says that an internal error ended the export job."""


class ExportExpiredError(ExportError):
    """The export's files can no longer be downloaded."""


class SourceError(ArchiveError):
    """A session source cannot be read, so the day's sessions are not known."""


class InvalidIdError(ArchiveError):
    """A text that was given as an id is not one."""


class ObjectNotFoundError(ArchiveError):
    """There is no object at that place."""


class NotLookedIntoError(ArchiveError):
    """An object was not found, and not every place where it may lie could be looked into: whether it is there is not known."""


class TransferError(ArchiveError):
    """A recording's bytes did not arrive as promised: too few, too many, too slow, or not what the store says it holds."""

    retryable = True


class StoreError(ArchiveError):
    """The archive or the catalog could not take a write: disk full, I/O error, read-only."""


class AlreadyExistsError(StoreError):
    """A write-once name is taken."""


class NotAudioError(ArchiveError):
    """The bytes hold no mp3 audio: nothing at all, a web page, another format, or no two frames in a row."""

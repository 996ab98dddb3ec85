"""Three-valued findings: `Present`, `Absent` or `Unknown`.

A refusal, a timeout or an unreadable response is `Unknown`. It is a type without a truth value, so that no caller can
mistake it for "absent" or "passed" by leaving out a case.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, NoReturn, TypeVar

T = TypeVar("T")


class _Finding:
    """A finding without a truth value: `if finding:` would silently count `Unknown` as one of the others."""

    __slots__ = ()

    def __bool__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} has no truth value: compare with Present, Absent and Unknown")


@dataclass(frozen=True, slots=True)
class Present(_Finding, Generic[T]):
    """It exists, and `value` describes it."""

    value: T


@dataclass(frozen=True, slots=True)
class Absent(_Finding):
    """It does not exist. `proof` is the end of a sentence: "HEAD answered 404"."""

    proof: str


@dataclass(frozen=True, slots=True)
class Unknown(_Finding):
    """It could not be determined whether it exists. `reason` ends a sentence: "sftp://h/lost+found: permission denied"."""

    reason: str


Evidence = Present[T] | Absent | Unknown


class Outcome(StrEnum):
    """The outcome of a check. `NOT_CHECKED`: it could not be evaluated, so it neither passed nor failed."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_CHECKED = "not_checked"

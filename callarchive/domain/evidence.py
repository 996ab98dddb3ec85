"""What a run found out about a thing: it is present, it is absent, or it could not be found out.

A refusal, a timeout or an unreadable answer is `Unknown`. It is a type of its own, without a truth value, so that no caller
can take it for "absent" or for "passed" by leaving out a case. Listings, object facts, answers and checks use these types.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, NoReturn, TypeVar

T = TypeVar("T")


class _Finding:
    """Has no truth value: `if finding:` would put `Unknown` on one side without anybody having chosen it."""

    __slots__ = ()

    def __bool__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} has no truth value: compare with Present, Absent and Unknown")


@dataclass(frozen=True, slots=True)
class Present(_Finding, Generic[T]):
    """The thing is there, and `value` describes it."""

    value: T


@dataclass(frozen=True, slots=True)
class Absent(_Finding):
    """The thing is not there.

    Attributes:
        proof: what proves it, as the end of a sentence: "HEAD answered 404".
    """

    proof: str


@dataclass(frozen=True, slots=True)
class Unknown(_Finding):
    """Whether the thing is there could not be found out.

    Attributes:
        reason: why not, as the end of a sentence: "sftp://h/lost+found: permission denied".
    """

    reason: str


Evidence = Present[T] | Absent | Unknown


class Outcome(StrEnum):
    """The outcome of a check. `NOT_CHECKED`: what it asks could not be found out; it is neither passed nor failed."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_CHECKED = "not_checked"

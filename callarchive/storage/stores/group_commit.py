"""Group commit: threads that make files durable at about the same time share one sync of the file system.

A sync of the whole file system promises what an fsync of each file and of each folder would, and costs about as much as one
of them, however many files wait for it. What is written and named is in `local_staging`, the sync itself in `syncing`.
"""

from collections.abc import Callable
from threading import Lock


class Commit:
    """One file on its way to being durable under its name.

    Args:
        give_name: called when the file's bytes are durable. Raises OSError if the file cannot have the name.
        take_name_back: called when the name could not be made durable.
    """

    __slots__ = ("_turn", "error", "give_name", "is_settled", "take_name_back")

    def __init__(self, *, give_name: Callable[[], None], take_name_back: Callable[[], None]) -> None:
        self.give_name = give_name
        self.take_name_back = take_name_back
        self.error: BaseException | None = None
        self.is_settled = False
        self._turn = Lock()
        self._turn.acquire()

    def settle(self, error: BaseException | None = None) -> None:
        """Whoever waits for it goes on."""
        self.error = error
        self.is_settled = True
        self._turn.release()

    def lead(self) -> None:
        """Whoever waits for it leads the next rounds."""
        self._turn.release()

    def wait(self) -> None:
        """Returns when it is settled, or when it is to lead."""
        self._turn.acquire()


class GroupCommit:
    """Commits files in rounds, led by one of the threads that wait. Thread-safe.

    In a round the file system is synced once. That makes durable both the bytes that came since the last round and the names
    that were given at its end, so a file takes two rounds, and many share each.

    Args:
        sync: all that was written and named before the call is durable when it returns. Raises OSError.
    """

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._changing = Lock()
        self._is_led = False
        self._arrived: list[Commit] = []
        self._named: list[Commit] = []

    def commit(self, commit: Commit) -> None:
        """The file's bytes, which were written, and its name are durable.

        Raises:
            OSError: of `give_name`, or of the sync, whoever's file it was that could not be written: the file has no name then.
        """
        with self._changing:
            self._arrived.append(commit)
            leads = not self._is_led
            self._is_led = True
        if not leads:
            commit.wait()
        if not commit.is_settled:
            try:
                while not commit.is_settled:
                    self._round()
            finally:
                self._hand_over()
        if commit.error is not None:
            raise commit.error

    def _round(self) -> None:
        with self._changing:
            arrived, self._arrived = self._arrived, []
        named, self._named = self._named, []
        try:
            self._sync()
        except BaseException as err:
            for commit in named:
                commit.take_name_back()
            for commit in (*named, *arrived):
                commit.settle(err)
            if not isinstance(err, OSError):
                raise
            return
        for commit in named:
            commit.settle()
        for commit in arrived:
            try:
                commit.give_name()
            except BaseException as err:
                commit.settle(err)
            else:
                self._named.append(commit)

    def _hand_over(self) -> None:
        """Another of the waiting leads from here on, if there are any."""
        with self._changing:
            waiting = self._named or self._arrived
            self._is_led = bool(waiting)
            if waiting:
                waiting[0].lead()

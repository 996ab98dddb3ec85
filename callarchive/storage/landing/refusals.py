"""Parts of a landing that refuse access: each is logged once, and distinguished from a refused landing."""

import logging
import math
import time
from collections.abc import Iterable
from itertools import islice
from threading import Lock

from callarchive.domain.errors import AccessDeniedError, ArchiveError
from callarchive.domain.evidence import Evidence, Present, Unknown
from callarchive.storage.landing import Gap, Landing

log = logging.getLogger(__name__)

_DENIED_WITHOUT_A_READ = 5
"""After this many refused objects and none read, another object decides whether the credentials are the cause."""
_CHECKED_FOR_S = 10.0
"""How long a landing counts as reachable after a check: many recordings may be refused at once."""
_SAMPLE_CHUNKS = 4
_LINES_MAX = 20
_FOLDERS_MAX = 100


class Refusals:
    """The refusals of a landing during an account's day. Thread-safe."""

    def __init__(self, landing: Landing, *, subaccount_id: str) -> None:
        self._landing = landing
        self._subaccount_id = subaccount_id
        self._lock = Lock()
        self._gaps: dict[str, Gap] = {}
        self._refused: list[str] = []
        self._checking = Lock()
        self._checked_at = -math.inf
        self._others_refused: bool | None = None

    def judge(self, err: ArchiveError, gaps: Iterable[Gap], *, denied_without_a_read: int) -> None:
        """Add the gaps if the refusal is limited to them.

        Args:
            denied_without_a_read: number of refused recordings while none could be read; else 0.

        Raises:
            ArchiveError: the whole landing refuses access or is unreachable, or another object cannot be read either.
        """
        with self._checking:
            if time.monotonic() - self._checked_at > _CHECKED_FOR_S:
                self._landing.check()
                self._checked_at = time.monotonic()
            if denied_without_a_read >= _DENIED_WITHOUT_A_READ:
                if self._others_refused is None:
                    self._others_refused = self._is_sample_refused()
                if self._others_refused:
                    raise AccessDeniedError(f"{self._landing.uri}: no object can be read: {err}")
        # If several possible places of a recording's file are refused, only the likeliest is logged.
        for gap in {_name_of(gap): gap for gap in reversed(list(gaps))}.values():
            self.add(gap)

    def add(self, gap: Gap) -> None:
        """Add a gap."""
        with self._lock:
            self._gaps.setdefault(gap.folder, gap)

    def add_refused(self, err: AccessDeniedError) -> None:
        """Add a refusal of an object that was found."""
        with self._lock:
            self._refused.append(str(err))

    def log(self) -> None:
        """Log a line for each place and each refused object, 20 of each at most, and forget them.

        Places below a refused folder share its line: the landing is asked about these folders.
        """
        with self._lock:
            gaps, self._gaps = list(self._gaps.values()), {}
            refused, self._refused = self._refused, []
        for reason in refused[:_LINES_MAX]:
            log.warning("%s: %s", self._subaccount_id, reason)
        if len(refused) > _LINES_MAX:
            log.warning("%s: %d more objects were refused", self._subaccount_id, len(refused) - _LINES_MAX)
        if not gaps:
            return
        counts: dict[Gap, int] = {}
        for place in _places(gaps, self._landing):
            counts[place] = counts.get(place, 0) + 1
        for place, count in list(counts.items())[:_LINES_MAX]:
            below = f" (where {count} objects were looked for)" if count > 1 else ""
            log.warning("%s: %s could not be looked into%s: %s", self._subaccount_id, place.uri, below, place.reason)
        if len(counts) > _LINES_MAX:
            log.warning("%s: %d more places could not be looked into", self._subaccount_id, len(counts) - _LINES_MAX)

    def _is_sample_refused(self) -> bool:
        """Return whether a sample object of the landing is refused."""
        try:
            sample = self._landing.sample()
            if not isinstance(sample, Present):
                return False
            with self._landing.open(sample.value.path) as download:
                for _ in islice(download, _SAMPLE_CHUNKS):
                    pass
        except AccessDeniedError:
            return True
        except ArchiveError as err:
            log.info("%s: no other object could be read: %s", self._landing.uri, err)
        return False


def _places(gaps: list[Gap], landing: Landing) -> list[Gap]:
    """Return for each gap the outermost refused folder that contains it, or the gap itself."""
    known = {gap.folder: gap for gap in gaps}
    folders = {folder for gap in gaps for folder in _folders_above(gap.folder)}
    asked = sorted(folders - known.keys(), key=lambda folder: (folder.count("/"), folder))[:_FOLDERS_MAX]
    findings: dict[str, Evidence[str]] = {}
    if asked:
        try:
            findings = landing.existing_folders(asked)
        except ArchiveError as err:
            log.debug("%s: folders were not looked at: %s", landing.uri, err)
    for folder, finding in findings.items():
        if isinstance(finding, Unknown):
            uri = landing.uri_of(folder)
            known[folder] = Gap(folder, uri, finding.reason.removeprefix(f"{uri}: "))
    return [next((known[above] for above in _folders_above(gap.folder) if above in known), gap) for gap in gaps]


def _name_of(gap: Gap) -> str:
    """Return the file's name if the gap is a recording's file, else the folder."""
    name = gap.folder.rpartition("/")[2]
    return name if name.lower().endswith(".mp3") else gap.folder


def _folders_above(path: str) -> list[str]:
    """Return the path's parent folders, outermost first, without the landing's root."""
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]

"""Files of session ids."""

import hashlib
from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True)
class IdFile:
    """A file of session ids in a listing. `state` changes when its bytes may have changed."""

    day: date
    path: str
    state: str
    modified_at: datetime

    @property
    def name(self) -> str:
        """A short hash of the path, the same in every process."""
        return hashlib.sha256(self.path.encode()).hexdigest()[:16]

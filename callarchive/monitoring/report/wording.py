"""What the report calls the states of calls: a label, a colour, what each means, and what can still be done."""

from dataclasses import dataclass
from enum import StrEnum

from callarchive.domain.models import ArchiveStatus
from callarchive.monitoring.states import COLOURS


class CallState(StrEnum):
    """The state of a call: that of its recordings, the worst one if there are several, or why none is known."""

    ARCHIVED = ArchiveStatus.ARCHIVED.value
    NOT_INTACT = "not_intact"
    MISSING = ArchiveStatus.MISSING.value
    NOT_UPLOADED = ArchiveStatus.NOT_UPLOADED.value
    REJECTED = ArchiveStatus.REJECTED.value
    FAILED = ArchiveStatus.FAILED.value
    PENDING = ArchiveStatus.PENDING.value
    ERASED = ArchiveStatus.ERASED.value
    NOT_RECORDED = "not_recorded"
    UNKNOWN = "unknown"
    UNCLEAR = "unclear"
    NOT_CONNECTED = "not_connected"


@dataclass(frozen=True)
class Wording:
    """How the report explains a state. remedy is empty where nothing is to be done."""

    label: str
    colour: str
    meaning: str
    remedy: str = ""


_SUPPORT = (
    "The team that runs callarchive can ask 8x8's support for it: callarchive status --support-text writes the message."
)

WORDINGS = {
    CallState.ARCHIVED: Wording(
        "Recording kept",
        COLOURS[ArchiveStatus.ARCHIVED],
        "Every recording that 8x8 lists for the call was downloaded, checked and stored in the archive.",
    ),
    CallState.NOT_INTACT: Wording(
        "Stored file missing or changed",
        "#1d1d2b",
        "The recording was archived, but today its file is missing, or its bytes are not those that were archived.",
        "Restore the file from a backup of the archive, and find out who or what changed it: callarchive verify lists all"
        " such files.",
    ),
    CallState.MISSING: Wording(
        "Not delivered",
        COLOURS[ArchiveStatus.MISSING],
        "8x8 says that it delivered the recording, but it did not arrive in our storage.",
        f"Ask soon: 8x8 keeps recordings for a limited time. {_SUPPORT}",
    ),
    CallState.NOT_UPLOADED: Wording(
        "8x8 could not deliver it",
        COLOURS[ArchiveStatus.NOT_UPLOADED],
        "8x8 reports that it failed to process or deliver the recording, or does not know its state.",
        f"Ask soon: 8x8 may still have the audio, or may never have had it. {_SUPPORT}",
    ),
    CallState.REJECTED: Wording(
        "Delivered, but not audio",
        COLOURS[ArchiveStatus.REJECTED],
        "A file arrived, but it is not a sound recording: it is empty, a web page or another kind of file. It is kept apart.",
        "Ask 8x8 to deliver the recording again. The team that runs callarchive sees what arrived: callarchive find ID.",
    ),
    CallState.FAILED: Wording(
        "Download failed",
        COLOURS[ArchiveStatus.FAILED],
        "The recording is there, but copying it into the archive failed.",
        "The next run of that day tries again: callarchive archive --day DAY.",
    ),
    CallState.PENDING: Wording(
        "Not ready yet",
        COLOURS[ArchiveStatus.PENDING],
        "8x8 is still processing or delivering the recording.",
        "Wait: later runs of that day look for it again. If it is older than a day, ask 8x8's support.",
    ),
    CallState.ERASED: Wording(
        "Erased on request",
        COLOURS[ArchiveStatus.ERASED],
        "The recording was erased on request. It cannot be restored.",
    ),
    CallState.NOT_RECORDED: Wording(
        "Connected, no recording at 8x8",
        "#b5548a",
        "The call was connected, but 8x8 lists no recording of it.",
        "8x8 may list it later, within about a day of the call. After that, ask 8x8 whether recording was switched on.",
    ),
    CallState.UNKNOWN: Wording(
        "Unknown: 8x8 gave no answer",
        "#5b6b7a",
        "8x8 gave no usable answer about the call, so it is unknown whether it has a recording that is not in the archive.",
        "Run that day again: callarchive archive --day DAY.",
    ),
    CallState.UNCLEAR: Wording(
        "No recording; unknown whether connected",
        "#8fa3b0",
        "8x8 lists no recording, and no source says whether anybody answered the call.",
    ),
    CallState.NOT_CONNECTED: Wording(
        "Not answered, nothing to record",
        "#d5d9e2",
        "8x8 lists no recording, and the call was not connected: busy, not answered, canceled or failed.",
    ),
}
"""By state, in the order of the chart."""

LACKING = (
    CallState.NOT_INTACT,
    CallState.MISSING,
    CallState.NOT_UPLOADED,
    CallState.REJECTED,
    CallState.FAILED,
    CallState.PENDING,
    CallState.ERASED,
    CallState.NOT_RECORDED,
)
"""The states of calls that should have a recording and do not, the worst first."""

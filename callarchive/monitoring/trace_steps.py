"""The links of a session's chain, from who named it to the checks of its day: what each holds, and whether it does.

Pure functions over rows of the catalog and what was found of the files; gathering them is in `passport`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from callarchive.catalog.rows import Row
from callarchive.domain.plurals import many


class LinkState(StrEnum):
    """How a link is.

    WAITING is what time may still mend; ABSENT is a link that this chain does without, such as events where no receiver runs.
    """

    HOLDS = "holds"
    WAITING = "waiting"
    BROKEN = "broken"
    ABSENT = "absent"


@dataclass(frozen=True)
class Link:
    """One link: its name, how it is, a sentence, and the facts behind it."""

    name: str
    state: LinkState
    told: str
    facts: Mapping[str, Any] = field(default_factory=dict)


_FACTS_OF_CALL = (
    "started_at",
    "ended_at",
    "session_status",
    "call_count",
    "call_duration_s",
    "price",
    "price_currency",
    "source_number",
    "destination_number",
)
_NOT_UPLOADED = frozenset({"PROCESSING_FAILED", "UPLOAD_FAILED", "UNKNOWN"})
_WITHOUT_BYTES = {
    "pending": LinkState.WAITING,
    "missing": LinkState.BROKEN,
    "not_uploaded": LinkState.BROKEN,
}


def session_links(
    session: Row, *, events: Sequence[Row], answer: str | None, inbox_error: str | None = None
) -> Iterator[Link]:
    """Sources, events and 8x8's answer.

    Args:
        session: a row of `sessions`.
        events: what the inbox holds of the session, oldest first.
        answer: 8x8's last answer as it came, where one is kept.
        inbox_error: why the inbox could not be asked; null where it could.
    """
    sources = list(session["sources"] or ())
    yield Link(
        "named by",
        LinkState.HOLDS if sources else LinkState.BROKEN,
        ", ".join(sources) or "no source names the session any more",
        _present(session, _FACTS_OF_CALL),
    )
    yield events_link(events, inbox_error=inbox_error)
    status = session["lookup_status"]
    told = {
        "ok": f"8x8 names {session['recording_count']} recordings",
        "no_recordings": "8x8 knows the session and names no recording",
        "not_found": "8x8 does not know the session",
    }.get(status, f"8x8 gave no usable answer: {session['lookup_error']}")
    facts = {"looked_up_at": session["looked_up_at"], "answer": answer}
    broken = status in ("error", "not_found")
    yield Link("8x8's answer", LinkState.BROKEN if broken else LinkState.HOLDS, told, facts)


def events_link(events: Sequence[Row], *, inbox_error: str | None = None) -> Link:
    """What the inbox holds, which may be nothing: events are lost, and not every account has a receiver."""
    if inbox_error is not None:
        return Link("events", LinkState.ABSENT, f"the inbox could not be asked: {inbox_error}")
    if not events:
        return Link("events", LinkState.ABSENT, "the inbox holds none")
    deliveries = sum(event["delivery_count"] for event in events)
    told = f"{many(len(events), 'event', 'events')}, delivered {many(deliveries, 'time', 'times')}"
    return Link("events", LinkState.HOLDS, told, {"event": list(events)})


def recording_links(recording: Row, *, versions: Sequence[Row], call_duration_s: float | None) -> Iterator[Link]:
    """8x8's word, the object, the transfer, the file, its audio, the durations and later versions of one recording.

    Args:
        recording: a row of `recordings` with `file_state` and what `recording_files` adds.
        versions: path, hash and state of every version that is kept, oldest first.
    """
    yield _status_link(recording)
    yield from _file_links(recording)
    if recording["archive_status"] == "archived":
        yield _audio_link(recording)
        yield _durations_link(recording, call_duration_s)
    if len(versions) > 1:
        bad = [row for row in versions if row["state"] != "intact"]
        state = LinkState.BROKEN if bad else LinkState.HOLDS
        yield Link("later versions", state, f"{len(versions)} versions are kept", {"version": list(versions)})


def checks_link(failed: Mapping[str, str], *, run: int) -> Link:
    """The checks of the day. Those that fail need not concern this session, so they break nothing here.

    Args:
        failed: the summary of every check that did not pass, by its name: it failed, or was not checked.
        run: how many were run.
    """
    if not failed:
        return Link("checks of the day", LinkState.HOLDS, f"all {run} passed")
    told = f"{len(failed)} of {run} did not pass on that day, which need not concern this session"
    return Link("checks of the day", LinkState.HOLDS, told, dict(failed))


def reconciliation_link(rows: Sequence[Row]) -> Link:
    """What the day's reconciliation has open of this session."""
    open_rows = [row for row in rows if row["state"] == "open"]
    if not open_rows:
        return Link("reconciliation", LinkState.HOLDS, "nothing is open")
    told = "; ".join(f"{row['kind']}: {row['reason']}" for row in open_rows)
    return Link(
        "reconciliation", LinkState.BROKEN, told, {"open since": min(row["first_seen_at"] for row in open_rows)}
    )


def broken_at(links: Sequence[Link]) -> str | None:
    """The first link that does not hold, in words; null when all do."""
    for link in links:
        if link.state in (LinkState.BROKEN, LinkState.WAITING):
            return f"{link.name}: {link.told}"
    return None


def _status_link(recording: Row) -> Link:
    status = recording["api_status"]
    state = LinkState.HOLDS
    if status == "PROCESSING":
        state = LinkState.WAITING
    elif status in _NOT_UPLOADED and recording["archive_status"] != "archived":
        state = LinkState.BROKEN
    facts = _present(recording, ("api_status_raw", "external_file_url", "started_at", "started_at_source"))
    return Link("8x8's status", state, str(status), facts)


def _file_links(recording: Row) -> Iterator[Link]:
    status = recording["archive_status"]
    object_facts = _present(
        recording, ("source_uri", "source_size_bytes", "source_etag", "source_modified_at", "source_evidence")
    )
    if status in _WITHOUT_BYTES:
        yield Link("object in the landing", _WITHOUT_BYTES[status], f"{status}: {recording['error']}", object_facts)
        return
    by_size = recording.get("source_evidence") == "size"
    told = (
        "was found and read; only its size confirms the bytes, for the store keeps no hash"
        if by_size
        else "was found and read"
    )
    yield Link("object in the landing", LinkState.HOLDS, told, object_facts)
    if status == "erased":
        yield Link("file in the archive", LinkState.ABSENT, "erased", _present(recording, ("error",)))
        return
    if status != "archived":
        facts = _present(recording, ("quarantine_uri",))
        yield Link("transfer", LinkState.BROKEN, f"{status}: {recording['error']}", facts)
        return
    yield Link("transfer", LinkState.HOLDS, f"{recording['size_bytes']} bytes", _present(recording, ("archived_at",)))
    intact = recording["file_state"] == "intact"
    yield Link(
        "file in the archive",
        LinkState.HOLDS if intact else LinkState.BROKEN,
        "its hash is the one of its transfer" if intact else f"the archived file is {recording['file_state']}",
        _present(recording, ("archive_uri", "size_bytes", "sha256")),
    )


def _audio_link(recording: Row) -> Link:
    facts = _present(recording, ("duration_s", "frame_count", "bitrate_kbps", "sample_rate_hz", "channels"))
    issue = recording["audio_issue"]
    if issue is not None:
        return Link("audio", LinkState.BROKEN, f"audio is {issue}: {recording['audio_issue_detail']}", facts)
    return Link("audio", LinkState.HOLDS, f"{recording['duration_s']:.1f} s can be heard", facts)


def _durations_link(recording: Row, call_duration_s: float | None) -> Link:
    facts = _present(recording, ("duration_s", "duration_api_s", "duration_event_s"))
    if call_duration_s is not None:
        facts["call_duration_s"] = call_duration_s
    if recording["duration_mismatch"]:
        told = ", ".join(f"{name} {seconds:g}" for name, seconds in facts.items())
        return Link("durations", LinkState.BROKEN, f"they disagree: {told}", facts)
    told = "they agree" if recording["duration_mismatch"] is not None else "8x8 tells none to compare with"
    return Link("durations", LinkState.HOLDS, told, facts)


def _present(row: Row, names: Sequence[str]) -> dict[str, Any]:
    return {name: row[name] for name in names if row.get(name) is not None}

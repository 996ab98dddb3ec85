"""What `callarchive erase` prints: a plan, or what was erased, and what is out of its reach."""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from callarchive.cli.output import Output
from callarchive.domain.plurals import many, size_text

if TYPE_CHECKING:
    from callarchive.removal.erasing import Done, Order
    from callarchive.removal.plan import Planned

_OUT_OF_REACH = (
    "8x8's own copy: ask 8x8 to delete it",
    "backups and replicas of the archive, the catalog and the inbox: delete or expire them",
    "evidence files, reports and exports that were given away: ask for them back",
    "id files, databases and logs of your own systems that name the session",
)


def show_plan(
    output: Output, plans: "list[Planned]", earlier: list[str], *, begun_count: int, out_of_reach: Collection[str]
) -> None:
    """Print what a dry run found; `earlier` says of ids that they were erased before."""
    left = [*_uris(plans), *sorted(out_of_reach)]
    if output.json:
        output.print_json(
            {
                "dry_run": True,
                "would_erase": [_plan_document(plan) for plan in plans],
                "already_erased": earlier,
                "begun": begun_count,
                "out_of_reach": [*left, *_OUT_OF_REACH],
            }
        )
        return
    for plan in plans:
        _print_plan(output, plan)
    for text in earlier:
        output.print_text(text)
    if not plans and not earlier:
        output.print_text("no session has this number")
    if begun_count:
        output.print_text(f"{many(begun_count, 'erasure was', 'erasures were')} begun and will be continued first")
    _print_out_of_reach(output, left)
    output.print_text("Nothing was changed.")


def _plan_document(plan: "Planned") -> dict[str, Any]:
    shown = {name: getattr(plan, name) for name in plan.__dataclass_fields__}
    shown["holds"] = [{"hold": one.hold_id, "scope": str(one.scope), "reason": one.reason} for one in plan.holds]
    return shown


def _print_plan(output: Output, plan: "Planned") -> None:
    output.print_text(
        f"{plan.subaccount_id}, {plan.call_date}: {many(len(plan.session_ids), 'session', 'sessions')},"
        f" {many(len(plan.recording_ids), 'recording', 'recordings')},"
        f" {many(plan.file_count, 'file', 'files')} ({size_text(plan.size_bytes)}),"
        f" {many(plan.event_count, 'event', 'events')}"
    )
    for session_id in plan.session_ids:
        output.print_text(f"  session {session_id}")
    for recording_id in plan.recording_ids:
        output.print_text(f"  recording {recording_id}")
    rows = ", ".join(f"{count} of {table}" for table, count in plan.rows.items())
    output.print_text(f"  rows: {rows or 'none'}")
    for one in plan.holds:
        output.print_text(f"  held by {one.hold_id} ({one.scope}): {one.reason}")


def _uris(plans: "Iterable[Planned]") -> list[str]:
    return [f"{uri}: --delete-at-landing deletes it" for plan in plans for uri in plan.landing_uris]


def show_done(
    output: Output, order: "Order", done: "list[Done]", earlier: list[str], more: set[str], *, is_number: bool
) -> None:
    """Print what was erased, and what is out of reach: also `more`."""
    uris = [] if order.delete_at_landing else [uri for item in done for uri in item.landing_uris]
    left = [f"{uri}: the object that 8x8 pushed; delete it there" for uri in uris] + sorted(more)
    if output.json:
        erased = [
            {
                "erasure": item.erasure.erasure_id,
                "subaccount_id": item.erasure.subaccount_id,
                "call_date": item.erasure.call_date,
                "session_ids": sorted(item.erasure.session_ids),
                "recording_ids": sorted(item.erasure.recording_ids),
                "files": item.file_count,
                "redacted_entries": item.entry_count,
                "at": item.erasure.at,
            }
            for item in done
        ]
        output.print_json({"erased": erased, "already_erased": earlier, "out_of_reach": [*left, *_OUT_OF_REACH]})
        return
    for item in done:
        output.print_text(
            f"erased: {item.erasure.subaccount_id}, {item.erasure.call_date}:"
            f" {many(len(item.erasure.session_ids), 'session', 'sessions')},"
            f" {many(len(item.erasure.recording_ids), 'recording', 'recordings')},"
            f" {many(item.file_count, 'file', 'files')},"
            f" {many(item.entry_count, 'entry', 'entries')} of the ledger redacted ({item.erasure.erasure_id})"
        )
    for text in earlier:
        output.print_text(text)
    if not done and not earlier:
        output.print_text("no session has this number" if is_number else "nothing was begun")
    if done:
        _print_out_of_reach(output, left)
    for text in [] if done else sorted(more):
        output.print_text(text)


def _print_out_of_reach(output: Output, left: list[str]) -> None:
    output.print_text("Out of reach:")
    for text in (*left, *_OUT_OF_REACH):
        output.print_text(f"  {text}")

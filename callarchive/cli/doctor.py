"""`callarchive doctor`: check the set-up."""

import typer

from callarchive.cli.output import Output


def doctor(context: typer.Context) -> None:
    """Checks the whole chain, from 8x8's configuration to the catalog, and says what to do where a link is broken.

    API keys, what 8x8 was told, the destination with the pushed credentials, webhooks, the receiver, landings, host keys, id
    files, the inbox, archive and catalog, disk space, the clock. Ends with the likeliest cause, the next command, and
    what could not be checked. Exits 1 if a link is broken. Run it after every change of the configuration.

    \b
    Example:
        callarchive doctor
    """
    from callarchive.archiving.connections import Connections
    from callarchive.monitoring.doctor import Verdict, conclusion, examine, likely_cause

    output: Output = context.obj
    with Connections(output.settings()) as connections:
        findings = list(examine(connections))
    if output.json:
        output.print_json(
            {"findings": findings, "likely_cause": likely_cause(findings), "conclusion": conclusion(findings)}
        )
    else:
        rows = [(f.verdict.value, f.link, f.detail, f.advice) for f in findings]
        output.print_table("Doctor", ("verdict", "link", "finding", "what to do"), rows)
        for line in conclusion(findings):
            output.print_text(line)
    if any(finding.verdict is Verdict.BROKEN for finding in findings):
        raise typer.Exit(1)

"""`callarchive doctor`: check the setup."""

import typer

from callarchive.cli.output import Output


def doctor(context: typer.Context) -> None:
    """Check the whole setup, from 8x8's configuration to the catalog, and suggest how to fix what is broken.

    Checks API keys, the push configuration at 8x8, the push destination and its credentials, webhooks, the receiver,
    landings, host keys, session files, the inbox, archive and catalog, disk space and the clock. Ends with the likely cause,
    the next command, and what could not be checked. Exits with 1 if a check failed. Run it after each configuration change.

    \b
    Example:
        callarchive doctor
    """
    check_setup(context.obj)


def check_setup(output: Output) -> None:
    """Print the findings about the configuration and what to do. Exit with 1 if a check failed."""
    from callarchive.monitoring.doctor import Verdict, conclusion, examine, likely_cause

    with output.connections() as connections:
        findings = list(examine(connections))
    if output.json:
        output.print_json(
            {"findings": findings, "likely_cause": likely_cause(findings), "conclusion": conclusion(findings)}
        )
    else:
        rows = [(f.verdict.value, f.link, f.detail, f.advice) for f in findings]
        output.print_table("Doctor", ("verdict", "check", "finding", "what to do"), rows)
        for line in conclusion(findings):
            output.print_text(line)
    broken = [f"{finding.link}: {finding.detail}" for finding in findings if finding.verdict is Verdict.BROKEN]
    if broken:
        output.print_quiet_error("; ".join(broken))
        raise typer.Exit(1)

"""`callarchive webhooks serve`: the receiver of webhook events."""

from typing import Annotated

import typer

from callarchive.cli.output import Output


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", help="Port to listen on; 0 takes a free one.", min=0, max=65535)
    ] = 8080,
) -> None:
    """Receives webhook events of all accounts at /webhooks/SUBACCOUNT_ID and keeps them in the inbox.

    Answers 200 when an event is durable. /healthz tells whether the inbox takes events, /metrics what was counted. Stops
    cleanly at SIGTERM or Ctrl-C. TLS is up to a proxy before it: name it in receiver.trusted_proxies.

    \b
    Example:
        callarchive webhooks serve --host 127.0.0.1 --port 8080
    """
    from callarchive.events.receiver.serving import serve as serve_events

    output: Output = context.obj
    serve_events(output.settings(), host=host, port=port)

"""Run `callarchive` in forks of a process that has imported it: each would take 0.6 s of processor time for its imports.

A command is a process of its own, with its own environment, output, signals and exit code. The requests on the socket whose
number is the only argument: words, environment and folder as JSON, with descriptors for stdout, stderr and the state, which is
the process id and then the exit code, a line each.
"""

import contextlib
import importlib
import json
import os
import pkgutil
import socket
import sys

from callarchive.cli import main, prepare_process


def import_everything() -> None:
    prepare_process()
    libraries = (
        "boto3",
        "paramiko",
        "pyarrow.compute",
        "pyarrow.parquet",
        "rich.progress",
        "typer.rich_utils",
        "uvicorn",
    )
    for name in libraries:
        importlib.import_module(name)
    for room in ("archiving", "catalog", "cli", "events", "monitoring", "planning", "sources", "storage", "voice_api"):
        package = importlib.import_module(f"callarchive.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def serve(requests: socket.socket) -> tuple[list[str], dict[str, str], str, int, int] | None:
    """Return, in a new process, what it is to run, and `None` in this one when the other side is closed."""
    message = b"-"
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG if message else 0)[0]:
                pass
        if not message:
            return None
        message, received, _, _ = socket.recv_fds(requests, 1 << 20, 3)
        if not message:
            continue
        out, err, state = received
        if not os.fork():  # waits for the command, so that others can begin
            requests.close()
            command = os.fork()
            if not command:
                os.close(state)
                words, environment, folder = json.loads(message)
                return words, environment, folder, out, err
            os.write(state, b"%d\n" % command)
            os.write(state, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(command, 0)[1]))
            os._exit(0)
        for descriptor in received:
            os.close(descriptor)


if __name__ == "__main__":
    import_everything()
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    if request is not None:
        words, environment, folder, out, err = request
        os.chdir(folder)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["callarchive", *words]
        main()

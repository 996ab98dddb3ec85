"""`python -m callarchive.simulator.moto_process HOST PORT`: moto's S3 server in its own process, until its standard input ends.

Two moto servers in one process would share their buckets, and moto would compete with the program under test for the GIL.
Standard input ends when the parent closes it or dies.
"""

import logging
import os
import sys


def main() -> None:
    """Serve S3, and write the port to standard output once the server is ready."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # it logs every request to stderr
    server = ThreadedMotoServer(sys.argv[1], int(sys.argv[2]), verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the parent reads only the port
    sys.stdin.buffer.read()
    os._exit(0)  # without waiting for the threads of open requests


if __name__ == "__main__":
    main()

"""`python -m callarchive.simulator.moto_process PORT`: moto's S3 in a process of its own, until its standard input ends.

moto keeps one memory a process, so two servers in one process would share their buckets; and it would take turns with
the program under test for the interpreter. Its input ends when its parent closes it or dies, however that happens.
"""

import logging
import os
import sys


def main() -> None:
    """Writes the port to standard output once requests are answered."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # it tells of every request on stderr
    server = ThreadedMotoServer("127.0.0.1", int(sys.argv[1]), verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads on
    sys.stdin.buffer.read()
    os._exit(0)  # its requests' threads would be waited for


if __name__ == "__main__":
    main()

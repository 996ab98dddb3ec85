"""The content of landings: the bytes of a recording, and pushing those that are due.

The servers are in `s3` and `sftp`. Their libraries are in the optional extra `simulator` and are imported when a server starts.
"""

import contextlib
import importlib
import socket
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from callarchive.domain.errors import ArchiveError, ConfigurationError
from callarchive.simulator.audio import break_recording, make_recording
from callarchive.simulator.world import AccountPlan, FileState, Recording, World


def require(*modules: str) -> None:
    """Import these modules of the extra. Raise ConfigurationError with the command to install it."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as err:
            raise ConfigurationError(
                f"the simulator needs {module}, which is not installed: pip install 'callarchive[simulator]'"
            ) from err


def object_bytes(recording: Recording) -> bytes:
    """Return the bytes of a recording's file in the landing."""
    whole = make_recording(shape=recording.shape, duration_s=recording.duration_s, seed=recording.audio_seed)
    return whole if recording.file is FileState.WHOLE else break_recording(whole, recording.file.value)


def push_due(
    world: World,
    landing: str,
    push: Callable[[AccountPlan, Recording], None],
    *,
    now: datetime,
    exclude: Collection[str],
    threads: int,
) -> list[str]:
    """Push the recordings that are ready to the landings of that kind (`s3` or `sftp`), and return their ids."""
    accounts = {account.subaccount_id: account for account in world.accounts if account.landing == landing}
    due = [
        recording
        for recording in world.recordings
        if recording.subaccount_id in accounts and recording.has_file(now) and recording.recording_id not in exclude
    ]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda recording: push(accounts[recording.subaccount_id], recording), due))
    return [recording.recording_id for recording in due]


def free_port(wanted: int = 0) -> int:
    """Return the wanted port of the loopback interface if it is free, else another free one."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # like the servers
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise ArchiveError("this machine has no free port")

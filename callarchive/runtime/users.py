"""Who runs this process."""

import os
import pwd


def current_user() -> str:
    """Return the operating system's user, whatever the environment says."""
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # a container's user may have no name
        return str(number)

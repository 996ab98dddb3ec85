"""Landings on SFTP servers."""

from callarchive.runtime.memory import without

with without("invoke"):  # for conditions in ~/.ssh/config, which is not read here; half of the time of this import
    import paramiko  # noqa: F401

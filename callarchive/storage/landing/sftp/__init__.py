"""Landings on SFTP servers."""

from callarchive.runtime.memory import without

with without("invoke"):  # for conditions in ~/.ssh/config, which is not read here; half of the time of this import
    from paramiko import config

if config.invoke_import_error is not None:  # paramiko keeps the error, which would keep all that its callers refer to
    config.invoke_import_error.__traceback__ = None

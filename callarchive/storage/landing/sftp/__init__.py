"""Landings on SFTP servers."""

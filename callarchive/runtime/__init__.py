"""Threads, retries, memory, temporary folders and time zone data."""

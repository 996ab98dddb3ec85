"""API responses stored per day: lookups, and the files of the log export."""

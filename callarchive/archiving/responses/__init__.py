"""API responses kept for each day: lookups, and files of the log export."""

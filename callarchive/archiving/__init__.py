"""One day: its steps, the transforms between tables, kept API responses, and the archive of recordings."""

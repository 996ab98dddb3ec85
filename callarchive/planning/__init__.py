"""Which days to run, and what they will cost."""

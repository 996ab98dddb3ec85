"""Which days to run, and forecasts of volume, time and cost."""

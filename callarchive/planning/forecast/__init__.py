"""Forecasts of a range of days: sessions, API calls, recordings, bytes, hours of audio, cost and time.

They come from what can be counted (`archived_days`, `landing_days`) and from archived days nearby (`history`). 8x8's API is
not called, and no recording is read.
"""

"""What archiving a range of days will be: sessions, calls of 8x8's API, recordings, bytes, hours of audio, cost and time.

Told from what can be counted (`archived_days`, `landing_days`) and from the archived days around (`history`); `forecasting`
puts them together, `spending` adds what they take. `keeping` keeps a forecast and `comparing` holds it to what came.
8x8's API is never asked, and no recording is read.
"""

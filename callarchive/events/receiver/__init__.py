"""The receiver of 8x8's webhook events: HTTP in, durable inbox, HTTP out.

`app` responds to requests, `admission` decides who may send, `writer` commits events in batches, `connections` limits the open
ones, `metrics` counts, `serving` runs all of it until it is stopped.
"""

"""The receiver of 8x8's webhook events: HTTP in, durable inbox, HTTP out.

`app` answers requests, `admission` says who may send, `writer` makes events durable many at a time, `metrics` counts, `serving`
runs all of it until it is told to stop.
"""

"""Webhook events of 8x8: `receiver` accepts them, `inbox` keeps them until their days have ingested them."""

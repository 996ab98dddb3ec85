"""A corpus of mp3s: from public packages' test data, and made by encoders. The walk is compared with three decoders on it."""

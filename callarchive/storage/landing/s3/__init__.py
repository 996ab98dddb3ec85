"""Landings in S3 buckets."""

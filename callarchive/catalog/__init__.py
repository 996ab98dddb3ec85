"""Schemas, Parquet partitions, and rows to and from models."""

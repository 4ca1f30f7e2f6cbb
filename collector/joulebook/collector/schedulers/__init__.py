"""Schedulers that a collector asks about jobs, beside ingest: one file each, and none is needed."""

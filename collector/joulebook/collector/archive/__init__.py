"""Readings and books as Parquet that other programs read as it stands."""

"""Backups of a collector's books, taken while it runs, and verified by the books themselves when restored."""

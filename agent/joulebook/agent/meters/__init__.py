"""Meters: one file a power source."""

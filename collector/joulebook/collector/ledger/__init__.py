"""The books: pure functions from readings to accounts."""

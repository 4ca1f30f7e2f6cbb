"""Simulated nodes whose every joule is known, for tests and benchmarks."""

"""The way out: HTTP and gRPC over the queries, health, and the page."""

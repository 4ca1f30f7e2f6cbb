"""Applications that frameworks start themselves, and marked processes: each is one job of the node."""

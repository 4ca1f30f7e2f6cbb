"""What joulebook costs, measured beside its peers in one run."""

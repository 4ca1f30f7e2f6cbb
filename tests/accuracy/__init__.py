"""How right the books are: simulated machines of known truth, the real ledger, and the peers' formulas beside it."""

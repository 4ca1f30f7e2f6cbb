"""How right the books are: machines of known truth, the real ledger, and the peers' formulas beside it."""

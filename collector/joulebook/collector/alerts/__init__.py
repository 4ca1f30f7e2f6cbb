"""Rules over the ledger and the samples, the life of alerts, and their delivery."""

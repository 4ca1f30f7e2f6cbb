"""The collector: takes Reports, books every joule, stores, answers."""

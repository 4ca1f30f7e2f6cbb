"""What is no time series, where the store keeps time series only: one protocol, one file a keeper."""

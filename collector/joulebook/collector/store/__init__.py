"""Where the readings and the books are kept: one protocol, one file a store."""

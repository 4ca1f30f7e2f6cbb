"""How an embedded store's tables became what they are: numbered steps. A released one never changes."""

"""The way in: decode, check, commit in groups, acknowledge."""

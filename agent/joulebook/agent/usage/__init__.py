"""Use of the node: one file a source."""

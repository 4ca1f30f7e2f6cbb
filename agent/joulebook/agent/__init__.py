"""The agent: measures one node and streams what it measured."""
